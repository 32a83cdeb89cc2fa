"""Two runs into one folder at once: the second refuses, naming the first; shards run side by side."""

import os
import shlex
import signal
import socket
from pathlib import Path
from types import SimpleNamespace

from conftest import TRAINING, start
from processes import contents, end, to_its_end, wait_until
from warm import Process


def refused(first: Process, folder: Path, script: str, *args: object) -> None:
    """A second start ends with 1 and names the first, which is paused."""
    told = to_its_end(script, *args, status=1).err
    named = f"{folder} is in use by process {first.pid} on {socket.gethostname()}: "
    assert named in told and shlex.join(map(str, args[:4])) in told


def test_one_training_in_a_log(trained: SimpleNamespace, tmp_path: Path) -> None:
    command = ("train_car.py", trained.folder, tmp_path / "log", *TRAINING)
    first = start(*command)
    assert wait_until((tmp_path / "log/settings.json").exists, first)
    first.send_signal(signal.SIGSTOP)
    try:
        refused(first, tmp_path / "log", *command)
    finally:
        first.kill()
        first.communicate()
    assert (tmp_path / "log/.car.lock").exists()  # and yet no lock: test_kills.py starts on such folders


def test_one_loader_in_a_set_of_records(records: SimpleNamespace, tmp_path: Path) -> None:
    command = ("load_train_data.py", records.folder, "data", tmp_path / "set", "--quality", *range(1, 100))
    first = start(*command)
    assert wait_until(lambda: any(tmp_path.glob(".set.partial/*.tfrecords")), first)
    first.send_signal(signal.SIGSTOP)
    try:
        refused(first, tmp_path / "set", "load_val_data.py", *command[1:])
        assert (tmp_path / ".set.partial").is_dir()  # the first's own, not cleared away by the second
    finally:
        first.kill()
        first.communicate()


def test_shards_side_by_side(trained: SimpleNamespace, tmp_path: Path) -> None:
    command = ("run_car_images.py", trained.folder, "log", "data", tmp_path / "results", "--luma-only")
    first = start(*command, "--shard", "1/2")
    assert wait_until(lambda: any(tmp_path.glob("results/*.bmp")), first)
    first.send_signal(signal.SIGSTOP)
    try:
        # One by one: two that are refused may each be named to the other.
        for options in (("--shard", "1/2"), ("--shard", "1/3"), ()):
            refused(first, tmp_path / "results", *command, *options)
        to_its_end(*command, "--shard", "2/2")
    finally:
        first.send_signal(signal.SIGCONT)
    end(first)
    assert len(contents(tmp_path / "results")) == 18 + 2 + 2  # figures and journals
    assert os.path.exists(tmp_path / "results/figures_2_of_2.csv")
