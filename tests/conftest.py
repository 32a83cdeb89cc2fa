"""What the tests share: running scripts as users do, a folder of CT-like slices, its records, a short training."""

import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))


def run(script, *args, status=0, **options):
    """Run a script of the suite from the shell; check its exit status; return stdout and stderr as .out and .err."""
    done = subprocess.run(
        [sys.executable, ROOT / script, *map(str, args)],
        capture_output=True,
        text=True,
        timeout=300,
        **options,
    )
    assert done.returncode == status, f"{script} ended with {done.returncode}\n{done.stdout}\n{done.stderr}"
    assert "Traceback" not in done.stderr, done.stderr
    return SimpleNamespace(out=done.stdout, err=done.stderr)


@pytest.fixture(scope="session")
def work(tmp_path_factory):
    """A working folder with CT-like slices: 6 series of 3 slices in data/."""
    folder = tmp_path_factory.mktemp("work")
    run("samples/make_ct_slices.py", folder / "data", "--series", 6, "--slices", 3)
    return folder


@pytest.fixture(scope="session")
def records(work):
    """The same working folder, with tfrecords/train and tfrecords/val; .train and .val are what the loaders printed."""
    train = run("load_train_data.py", work, "data", "tfrecords/train")
    val = run("load_val_data.py", work, "data", "tfrecords/val")
    return SimpleNamespace(folder=work, train=train.out, val=val.out)


# A rate at which 12 steps go straight down: at ten times this the first steps are chaotic.
TRAINING = (
    *("tfrecords/train", "tfrecords/val", "--residual", "--learning-rate", 1e-4),
    *("--steps", 12, "--batch-size", 8, "--val-every", 4, "--val-patches", 64),
    *("--conv", "direct"),  # quicker to compile; one test holds the fast form against it
)


@pytest.fixture(scope="session")
def trained(records):
    """The same working folder, with log/ from a training of 12 steps."""
    printed = run("train_car.py", records.folder, "log", *TRAINING)
    return SimpleNamespace(folder=records.folder, log=records.folder / "log", out=printed.out)
