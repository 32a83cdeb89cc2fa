"""The code itself, by the tools of pyproject.toml; and the package that pip makes of it."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import ROOT

from car import cli

COMMANDS = {"car-load-train", "car-load-val", "car-records", "car-train", "car-correct"}


@pytest.mark.parametrize("command", ["ruff check", "ruff format --check --diff", "mypy"])
def test_the_code_is_clean(command: str) -> None:
    if command == "mypy" and sys.version_info < (3, 11):
        pytest.skip("NumPy 2.2, the last one for Python 3.10, has other types")
    done = subprocess.run([sys.executable, "-m", *command.split()], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def test_each_module_knows_only_those_above_it() -> None:
    linter = Path(sys.executable).with_name("lint-imports")
    done = subprocess.run([linter, "--no-cache"], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0 and "2 kept, 0 broken" in done.stdout, done.stdout + done.stderr


def test_pip_installs_commands_and_weights(tmp_path: Path) -> None:
    """Without what it needs, which this environment has; run from a folder that has no `pretrained`."""
    kept = shutil.ignore_patterns(".*", "build", "*.egg-info", "__pycache__", "work", "results")
    source = shutil.copytree(ROOT, tmp_path / "source", ignore=kept)  # as pip leaves its build in there
    pip = f"-m pip install -q --no-deps --target {tmp_path / 'there'} {source}".split()
    subprocess.run([sys.executable, *pip], check=True, timeout=120)
    assert {path.name for path in (tmp_path / "there/bin").iterdir()} == COMMANDS
    (about,) = (tmp_path / "there").glob("car_suite-*.dist-info")
    assert (about / "licenses/LICENSE").read_text().startswith("MIT License")
    assert f"\nversion: {cli.VERSION}\n" in (ROOT / "CITATION.cff").read_text()
    environment = {**os.environ, "PYTHONPATH": str(tmp_path / "there")}
    (tmp_path / "data").mkdir()
    (tmp_path / "data/camera.jpg").write_bytes((ROOT / "samples/camera.jpg").read_bytes())
    command = [str(tmp_path / "there/bin/car-correct"), ".", "pretrained", "data", "results", "--report"]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0 and str(tmp_path / "there/car/pretrained") in done.stdout, done.stderr
    assert (tmp_path / "results/camera_car.bmp").stat().st_size > 512 * 512
    assert "<script>" in (tmp_path / "results/index.html").read_text(encoding="utf-8")
