"""The code itself: ruff's rules and layout (ruff.toml), mypy's strict types (mypy.ini)."""

import subprocess
import sys

import pytest
from conftest import ROOT


@pytest.mark.parametrize("command", ["ruff check", "ruff format --check --diff", "mypy"])
def test_the_code_is_clean(command: str) -> None:
    done = subprocess.run([sys.executable, "-m", *command.split()], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
