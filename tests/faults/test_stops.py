"""Ctrl-C and SIGTERM: the scripts end after the step or image in hand, and say how to go on."""

import functools
import os
import signal
import subprocess
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
from conftest import TRAINING, Trained, start
from PIL import Image
from processes import answers_signals, contents, end, to_its_end, together, wait_until


def test_loader_leaves_the_older_set(records: SimpleNamespace, tmp_path: Path) -> None:
    to_its_end("load_train_data.py", records.folder, "data", tmp_path / "set", "--patch-size", 64)
    older = contents(tmp_path)
    again = ("data", tmp_path / "set", "--quality", *range(1, 100))
    process = start("load_train_data.py", records.folder, *again)
    assert wait_until(lambda: any(tmp_path.glob(".set.partial/*.tfrecords")), process)
    process.send_signal(signal.SIGINT)
    told = end(process, 130, lines=2).err
    assert told.splitlines()[0].endswith("ending after this image; once more to end now")
    assert "stopped by Ctrl-C" in told and "is as it was" in told and "starts again" in told
    assert contents(tmp_path) == older and len(list(tmp_path.iterdir())) == 1


def test_training_goes_on_after_sigterm(trained: SimpleNamespace, tmp_path: Path) -> None:
    log = tmp_path / "log"
    process = start("train_car.py", trained.folder, log, *TRAINING)
    assert wait_until((log / "losses.csv").exists, process)
    process.send_signal(signal.SIGTERM)
    told = end(process, 143).out
    assert "the same command goes on from there" in told
    assert not (log / ".car.lock").exists()
    told = to_its_end("train_car.py", trained.folder, log, *TRAINING).out
    assert "going on after step" in told
    assert (log / "losses.csv").read_bytes() == (trained.log / "losses.csv").read_bytes()


def test_correction_goes_on_with_skip_existing(trained: SimpleNamespace, tmp_path: Path) -> None:
    command = ("run_car_images.py", trained.folder, "log", "data", tmp_path / "results", "--luma-only")
    process = start(*command)
    assert wait_until(lambda: any(tmp_path.glob("results/*.bmp")), process)
    process.send_signal(signal.SIGINT)
    told = end(process, 130, lines=2)
    assert "ending after this image" in told.err
    assert "stopped by Ctrl-C; with --skip-existing the same command goes on" in told.err
    done = [path for path in (tmp_path / "results").iterdir() if path.suffix == ".bmp"]
    assert 0 < len(done) < 18 and f"corrected {len(done)} of 18" in told.out
    with open(tmp_path / "results/figures.csv") as file:
        assert len(file.readlines()) == 1 + len(done)  # what was done has its figures
    again = to_its_end(*command, "--skip-existing").out
    assert f"corrected {18 - len(done)} of 18" in again and f"{len(done)} were there already" in again
    assert len(list((tmp_path / "results").iterdir())) == 18 + 2  # figures.csv and the journal


def test_a_second_ctrl_c_ends_at_once(trained: Trained, tmp_path: Path) -> None:
    """Amid an image that takes a minute: the first is answered while the nets work, the second ends it."""
    (tmp_path / "data").mkdir()
    Image.linear_gradient("L").resize((8000, 8000)).save(tmp_path / "data/large.jpg", quality=20)
    results = tmp_path / "results"
    process = start(
        "run_car_images.py", tmp_path, trained.log, "data", results, "--conv", "direct", fresh=True
    )
    assert wait_until((results / ".car_1_of_1.lock.holder").exists, process)
    time.sleep(2)
    began = time.monotonic()
    assert isinstance(process, subprocess.Popen) and process.stderr is not None
    process.send_signal(signal.SIGINT)
    assert "ending after this image; once more to end now" in process.stderr.readline()
    process.send_signal(signal.SIGINT)
    assert "stopped by Ctrl-C at once" in end(process, 130).err
    assert time.monotonic() - began < 10 and os.listdir(results) == []


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_during_the_start(
    trained: SimpleNamespace, tmp_path: Path, number: signal.Signals, long: bool
) -> None:
    """At any moment of the import, the check of the records, the making of the net: one line, nothing left."""

    def stop(moment: float, script: str, *args: object) -> None:
        process = start(script, trained.folder, *args, fresh=True)
        assert wait_until(lambda: answers_signals(process), process)
        time.sleep(moment)
        process.send_signal(number)
        told = end(process, 128 + number)
        assert told.err.startswith(f"{script}: stopped by ") and not told.out.count("stopped")

    for moment in [0.3 * i for i in range(1, 8)] if long else [1.0]:
        together(
            functools.partial(stop, moment, "load_train_data.py", "data", tmp_path / "set"),
            functools.partial(stop, moment, "train_car.py", tmp_path / "log", *TRAINING),
            functools.partial(stop, moment, "run_car_images.py", "log", "data", tmp_path / "results"),
            functools.partial(stop, moment, "read_tfrecord.py", "tfrecords/train"),
        )
        assert not any(tmp_path.rglob("*.lock")) and not any(tmp_path.rglob("*.partial"))
