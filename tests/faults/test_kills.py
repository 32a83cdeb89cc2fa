"""kill -9 at random moments: the same command started again ends with what an undisturbed run gives."""

import csv
import io
import os
import shutil
from pathlib import Path
from types import SimpleNamespace

import numpy as np
from conftest import TRAINING, start
from processes import contents, kill_often, to_its_end, together
from warm import Process

from car.journal import Journal

JOURNAL = (".car_results.jsonl",)
# All results were made by one set of settings.
SETTINGS = (
    "version",
    "weights",
    "--strength",
    "--ensemble",
    "--ignore-header",
    "--ignore-history",
    "--luma-only",
    "--overlap",
)


def kill_loader(script: str, which: str, records: SimpleNamespace, folder: Path, kills: int) -> None:
    expected = contents(records.folder / "tfrecords" / which)

    def begin() -> Process:
        return start(script, records.folder, "data", folder / which)

    def check() -> None:
        assert contents(folder / which) == expected
        assert [path.name for path in folder.iterdir()] == [which]
        shutil.rmtree(folder / which)

    folder.mkdir()
    kill_often(begin, folder / f".{which}.lock.holder", check, kills, seed=len(script))


def test_loaders(records: SimpleNamespace, tmp_path: Path, long: bool) -> None:
    kills = 50 if long else 2
    together(
        lambda: kill_loader("load_train_data.py", "train", records, tmp_path / "1", kills),
        lambda: kill_loader("load_val_data.py", "val", records, tmp_path / "2", kills),
    )


def test_loader_killed_between_its_two_renamings(records: SimpleNamespace, tmp_path: Path) -> None:
    """No random kill meets this moment: the older set is set aside, the new one whole but not in its place."""
    expected = contents(records.folder / "tfrecords/val")
    shutil.copytree(records.folder / "tfrecords/val", tmp_path / ".val.old")
    shutil.copytree(records.folder / "tfrecords/val", tmp_path / ".val.partial")
    to_its_end("load_val_data.py", records.folder, "data", tmp_path / "val")
    assert contents(tmp_path) == {f"val/{name}": content for name, content in expected.items()}


def kill_training(trained: SimpleNamespace, log: Path, kills: int) -> None:
    whole = contents(trained.log)

    def begin() -> Process:
        return start("train_car.py", trained.folder, log, *TRAINING)

    def check() -> None:
        result = contents(log)
        for name in ("losses.csv", "losses.png", "settings.json", "split.json", "model_checkpoint.json"):
            assert result[name] == whole[name], name
        weights, expected = (np.load(folder / "model_checkpoint.npz") for folder in (log, trained.log))
        assert set(weights) == set(expected)
        for name in expected:
            np.testing.assert_array_equal(weights[name], expected[name], err_msg=name)
        assert "state/step_12.npz" in result and len(os.listdir(log / "state")) == 2
        others = {name for name in result if not name.startswith(("state/", "tensorboard/"))}
        assert others == {name for name in whole if not name.startswith(("state/", "tensorboard/"))}
        shutil.rmtree(log)

    kill_often(begin, log / ".car.lock.holder", check, kills, seed=1)


def told_in(figures: bytes) -> list[dict[str, str]]:
    """The rows of a figures.csv without the seconds, which differ each time."""
    return [{**row, "seconds": ""} for row in csv.DictReader(io.StringIO(figures.decode()))]


def kill_correction(trained: SimpleNamespace, folder: Path, kills: int) -> None:
    """Half of the starts with --skip-existing, figures in the CSV, sheets beside the results."""
    command = ("run_car_images.py", trained.folder, "log", "data")
    options = ("--compare", "--conv", "direct", "--luma-only")
    to_its_end(*command, folder / "whole", *options)
    whole, results, begun = contents(folder / "whole", JOURNAL), folder / "results", 0
    told = told_in(whole.pop("figures.csv"))

    def begin() -> Process:
        nonlocal begun
        begun += 1
        return start(*command, results, *options, *["--skip-existing"] * (begun % 2))

    def check() -> None:
        # The journal has the order of what was done, and knows every file.
        there = contents(results, JOURNAL)
        assert told_in(there.pop("figures.csv")) == told and there == whole
        journal = Journal(results, 1, 1, {})
        for name in whole:
            journal.check_replaceable(results / name)
        assert len(journal.differences(results / name for name in whole)) == len(SETTINGS)
        shutil.rmtree(results)

    kill_often(begin, results / ".car_1_of_1.lock.holder", check, kills, seed=2)


def test_training_and_correction(trained: SimpleNamespace, tmp_path: Path, long: bool) -> None:
    kills = 50 if long else 2
    together(
        lambda: kill_training(trained, tmp_path / "log", kills),
        lambda: kill_correction(trained, tmp_path, kills),
    )
