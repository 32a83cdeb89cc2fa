"""Importing does nothing, --help loads nothing, and every script runs where a system has less than Linux."""

import ast
import importlib.util
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from conftest import ROOT, TRAINING, Printed, Records, prepared, run
from PIL import Image

MODULES = sorted(f"car.{path.stem}" for path in (ROOT / "car").glob("*.py") if path.stem != "__init__")
LIBRARY = ["car", *MODULES, "model_car", "car_ds_loader"]
SCRIPTS = ["load_train_data", "load_val_data", "read_tfrecord", "train_car", "run_car_images"]
COMPUTES = {
    *(
        "car.chroma_net",
        "car.fast_conv",
        "car.records",
        "car.shares",
        "car.training_step",
        "car.training_run",
        "car.workers",
    ),
    *("model_car", "car_ds_loader"),
}

# Prints what of the process an import has changed. What numpy, Pillow, TensorFlow and Keras do is theirs: they
# are loaded first, each of those that the module loads.
CHANGES = """
import importlib, json, logging, os, signal, sys, warnings
sys.path.insert(0, {root!r})
for name in {before!r}:
    importlib.import_module(name)
import PIL.Image

def state():
    return {{
        "environment": dict(os.environ),
        "signals": [str(signal.getsignal(number)) for number in (signal.SIGINT, signal.SIGTERM)],
        "filters": [str(entry) for entry in warnings.filters],
        "descriptors": sorted(os.listdir("/proc/self/fd")),
        "pixels": PIL.Image.MAX_IMAGE_PIXELS,
        "loggers": {{name: getattr(logger, "level", 0) for name, logger in logging.root.manager.loggerDict.items()}},
        "hooks": [str(hook) for hook in (sys.excepthook, sys.unraisablehook, sys.stdout, sys.stderr)],
        "folder": os.getcwd(),
    }}

before = state()
importlib.import_module({name!r})
after = state()
print(json.dumps([name for name in before if before[name] != after[name]]))
print(json.dumps(sorted(set(sys.modules) & {{"tensorflow", "numpy"}})))
"""


def in_a_process(code: str, folder: Path, fresh: bool) -> list[str]:
    """What code prints in a process of its own; not fresh: in one that has TensorFlow loaded."""
    (folder / "code.py").write_text(code)
    return run(str(folder / "code.py"), cwd=folder, fresh=fresh).out.splitlines()


def theirs(name: str) -> list[str]:
    """The libraries of others that a module imports, itself or through ours."""
    seen, waiting, found = set(), [name], set()
    while waiting:
        module = waiting.pop()
        if module in seen:
            continue
        seen.add(module)
        spec = importlib.util.find_spec(module)
        assert spec is not None and spec.origin is not None
        for node in ast.parse(Path(spec.origin).read_text()).body:  # at the top alone: what an import runs
            names = []
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom) and node.module == "car":
                names = [f"car.{alias.name}" for alias in node.names]
            elif isinstance(node, ast.ImportFrom) and node.module:
                names = [node.module]
            waiting += [other for other in names if other.startswith("car.") or other in LIBRARY + SCRIPTS]
            found |= {
                other for other in names if not other.startswith("car") and other not in LIBRARY + SCRIPTS
            }
    return sorted(found - {"__future__"})


@pytest.mark.parametrize("name", LIBRARY)
def test_importing_does_nothing(name: str, tmp_path: Path) -> None:
    before = theirs(name)
    code = CHANGES.format(root=str(ROOT), before=before, name=name)
    changed, loaded = (json.loads(line) for line in in_a_process(code, tmp_path, name not in COMPUTES))
    assert changed == []
    assert ("tensorflow" in loaded) == bool({"tensorflow", "keras"} & set(before)) == (name in COMPUTES)


def test_what_the_shell_asks_needs_neither_numpy_nor_tensorflow(tmp_path: Path) -> None:
    """--help and a wrong argument: by what is loaded, as the time depends on the machine (benchmarks/speed.py)."""
    code = """
import importlib, sys
sys.path.insert(0, {root!r})
for name in {scripts!r}:
    for arguments in (["--help"], ["--version"], [], [".", "--no-such-option"]):
        try:
            importlib.import_module(name).main(arguments)
        except SystemExit as ended:
            print(name, arguments, ended.code, file=sys.stderr)
print(*sorted({{"tensorflow", "keras", "numpy", "PIL", "rich"}} & set(sys.modules)), file=sys.stderr)
"""
    done = subprocess.run(
        [sys.executable, "-c", code.format(root=str(ROOT), scripts=SCRIPTS)],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        timeout=60,
    )
    assert done.returncode == 0 and done.stderr.splitlines()[-1] == "", done.stderr
    for name in SCRIPTS:
        for arguments, status in (
            (["--help"], 0),
            (["--version"], 0),
            ([], 2),
            ([".", "--no-such-option"], 2),
        ):
            assert f"{name} {arguments} {status}" in done.stderr
    assert done.stdout.count("1.0.0") == len(SCRIPTS)


def test_a_users_own_script_beside_ours_keeps_its_ctrl_c(tmp_path: Path) -> None:
    """It lies in a folder with the suite on its path, imports all of it, and answers SIGINT as Python does."""
    script = tmp_path / "mine.py"
    script.write_text(
        f"import signal, sys; sys.path.insert(0, {str(ROOT)!r})\n"
        # A shell's background job, in which these tests may run, is started with it ignored.
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        "import os, model_car, car_ds_loader, run_car_images, train_car\n"
        "try:\n    os.kill(os.getpid(), signal.SIGINT)\n    import time; time.sleep(9)\n"
        "except KeyboardInterrupt:\n    print('mine')\n"
    )
    done = subprocess.run([sys.executable, script], capture_output=True, text=True, timeout=120)
    assert (done.returncode, done.stdout) == (0, "mine\n")


# What Windows lacks, gone before anything of the suite is loaded.
LESS = """
sys.modules["fcntl"] = None
for name in ("O_NOFOLLOW", "pread"):
    delattr(os, name)
"""


def test_every_script_where_a_system_has_less(records: Records, tmp_path: Path) -> None:
    """No fcntl, no O_NOFOLLOW, no pread: load, look, train two steps, correct; and one run at a time holds."""

    def with_less(script: str, *args: object) -> Printed:
        return run(*prepared(LESS, script), tmp_path, *args)

    data = tmp_path / "data"
    data.mkdir()
    for number in range(3):
        name = f"series_000_slice_00{number}"
        for kind in ("jpg", "bmp"):
            (data / f"{name}.{kind}").write_bytes((records.folder / f"data/{name}.{kind}").read_bytes())
    every = ("--group-by", ".*")
    for which in ("train", "val"):
        printed = with_less(f"load_{which}_data.py", "data", which, *every)
        assert "1 of 3 images used" in printed.out and printed.err == ""
    assert "all whole" in with_less("read_tfrecord.py", "train").out
    options = [2 if value == 12 else value for value in TRAINING[2:]]
    with_less("train_car.py", "log", "train", "val", *options)
    with_less("run_car_images.py", "log", "data", "results", "--luma-only")
    assert len(list((tmp_path / "results").glob("*_car.bmp"))) == 3
    assert not list(tmp_path.rglob("*.lock*")) and not list(tmp_path.rglob("*.holder"))
    run("run_car_images.py", tmp_path, "log", "data", "as usual", "--luma-only")
    for path in (tmp_path / "as usual").glob("*.bmp"):
        np.testing.assert_array_equal(
            np.asarray(Image.open(path)), np.asarray(Image.open(tmp_path / "results" / path.name))
        )
