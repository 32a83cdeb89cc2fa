"""What the tests share: running scripts as users do, a folder of CT-like slices, its records, a short training."""

import importlib
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from warm import Process, Warm

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))


WARM = Warm()


class Printed(NamedTuple):
    """What a script wrote to stdout and stderr."""

    out: str
    err: str


class Records(NamedTuple):
    """A working folder with tfrecords/train and tfrecords/val, and what the loaders printed."""

    folder: Path
    train: str
    val: str


class Trained(NamedTuple):
    """A working folder with a log folder from a training, and what it printed."""

    folder: Path
    log: Path
    out: str


def run(script: str | Path, *args: object, status: int = 0, timeout: float = 300, **options: Any) -> Printed:
    """Run a script of the suite as from the shell; check its exit status. options: of start."""
    process = start(script, *args, **options)
    try:
        out, err = process.communicate(timeout=timeout)
    finally:
        process.kill()
    assert process.returncode == status, f"{script} ended with {process.returncode}\n{out}\n{err}"
    assert "Traceback" not in err, err
    return Printed(out, err)


def start(script: str | Path, *args: object, fresh: bool = False, **options: Any) -> Process:
    """Start a script of the suite as from the shell; what it prints can be read in the end.

    fresh: in a process of its own, whatever the options (of subprocess.Popen).
    """
    command = [str(ROOT / script), *map(str, args)]
    if WARM.allowed and not fresh and not options.keys() - {"cwd", "env"}:
        return WARM.start(command, str(options.get("cwd", Path.cwd())), options.get("env", os.environ))
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True, "errors": "replace"}
    return subprocess.Popen([sys.executable, *command], **{**pipes, **options})


# A program that prepares what a script then finds; the script is its first argument.
PREPARED = """
import os, runpy, sys
sys.argv.pop(0)
sys.path[0] = {root!r}
{code}
sys.path[0] = os.path.dirname(sys.argv[0])
runpy.run_path(sys.argv[0], run_name="__main__")
"""


def prepared(code: str, script: str) -> tuple[Path, Path]:
    """What run and start take in the place of a script, so that this code runs before it."""
    descriptor, program = tempfile.mkstemp(".py", dir=WARM.folder)
    with open(descriptor, "w") as file:
        file.write(PREPARED.format(root=str(ROOT), code=code))
    return Path(program), ROOT / script


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--long",
        action="store_true",
        help="faults/, cluster/, test_walks.py: the figures of the docs, not CI's short form",
    )


def pytest_configure(config: pytest.Config) -> None:
    WARM.allowed &= not config.getoption("--long")


def pytest_unconfigure() -> None:
    WARM.end()


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers(config: pytest.Config) -> int:
    """Two at a time; with --long, whose tests measure and print, one by one."""
    return 0 if config.getoption("--long") else 2


@pytest.fixture(scope="session")
def long(request: pytest.FixtureRequest) -> bool:
    """Whether --long was given."""
    return bool(request.config.getoption("--long"))


@pytest.fixture(scope="session")
def work(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A working folder with CT-like slices: 6 series of 3 slices in data/."""
    folder = tmp_path_factory.mktemp("work")
    run("samples/make_ct_slices.py", folder / "data", "--series", 6, "--slices", 3)
    return folder


@pytest.fixture(scope="session")
def records(work: Path) -> Records:
    """The same working folder, with records of its slices."""
    train = run("load_train_data.py", work, "data", "tfrecords/train")
    val = run("load_val_data.py", work, "data", "tfrecords/val")
    return Records(work, train.out, val.out)


@pytest.fixture
def refused(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., str]:
    """The function (script, *arguments) -> what is said to stderr when these arguments end it with 2."""

    def said(script: str, *args: object) -> str:
        module = importlib.import_module(script.removesuffix(".py"))
        monkeypatch.setattr(sys, "argv", [script])
        manual = ("",) if script.startswith("load_") else ()
        with pytest.raises(SystemExit) as ended:
            module.arguments(*manual, list(map(str, args)))
        assert ended.value.code == 2
        return capsys.readouterr().err

    return said


# A rate at which 12 steps go straight down: at ten times this the first steps are chaotic.
TRAINING = (
    *("tfrecords/train", "tfrecords/val", "--residual", "--learning-rate", 1e-4),
    *("--steps", 12, "--batch-size", 8, "--val-every", 4, "--val-patches", 64),
    *("--conv", "direct"),  # quicker to compile; one test holds the fast form against it
)


@pytest.fixture(scope="session")
def reported(records: Records) -> Path:
    """The same working folder, with log_of_page/, such a training with --report, and a page of its records."""
    run("train_car.py", records.folder, "log_of_page", *TRAINING, "--report")
    run("read_tfrecord.py", records.folder, "tfrecords/train", "--report", "records_page")
    return records.folder


@pytest.fixture(scope="session")
def trained(records: Records) -> Trained:
    """The same working folder, with log/ from a training of 12 steps."""
    printed = run("train_car.py", records.folder, "log", *TRAINING)
    return Trained(records.folder, records.folder / "log", printed.out)
