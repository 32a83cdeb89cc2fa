"""Disk full, read-only results, folders that vanish: one line naming the path, and what was there is still there."""

import functools
import shutil
import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest
from conftest import TRAINING, prepared, start
from processes import contents, end, to_its_end, together, wait_until

Mount = Callable[[str], Path]


@pytest.fixture
def mount(tmp_path: Path) -> Iterator[Mount]:
    """A function that mounts a tmpfs of a size and returns its folder."""
    mounted = []

    def at(size: str) -> Path:
        folder = tmp_path / f"disk of {size}"
        folder.mkdir()
        done = subprocess.run(
            ["mount", "-t", "tmpfs", "-o", f"size={size}", "none", folder], capture_output=True
        )
        if done.returncode:
            pytest.skip(f"no right to mount a small disk: {done.stderr.decode().strip()}")
        mounted.append(folder)
        return folder

    yield at
    for folder in mounted:
        subprocess.run(["umount", "-l", folder], check=True)


def limit(size: int) -> str:
    """Code after which no file may grow beyond size bytes, as by `ulimit -f`."""
    return f"import resource\nresource.setrlimit(resource.RLIMIT_FSIZE, ({size}, {size}))"


def test_disk_full_for_a_loader(records: SimpleNamespace, mount: Mount) -> None:
    disk = mount("5m")  # a set has 3
    to_its_end("load_val_data.py", records.folder, "data", disk / "val", "--patch-size", 256)
    before = contents(disk)
    told = to_its_end("load_val_data.py", records.folder, "data", disk / "val", status=1).err
    assert f"{disk / 'val'}: " in told and "No space left on device" in told
    assert contents(disk) == before and [path.name for path in disk.iterdir()] == ["val"]


def test_disk_full_for_the_correction(trained: SimpleNamespace, mount: Mount) -> None:
    disk = mount("1m")  # three of the 18 results, of 256 KB each
    told = to_its_end("run_car_images.py", trained.folder, "log", "data", disk / "results", status=1)
    assert f"{disk}/results/series_" in told.err and "No space left on device" in told.err
    assert "left out" not in told.out  # a full disk is no bad image
    results = contents(disk / "results")
    assert all(len(content) == 263222 for name, content in results.items() if name.endswith(".bmp"))
    assert [name for name in results if name.startswith(".")] == [".car_results.jsonl"]


@pytest.mark.parametrize("size", ["400k", "900k", "1600k"])
def test_disk_full_for_a_training(trained: SimpleNamespace, mount: Mount, size: str) -> None:
    """At the weights, at the state, which TensorFlow writes, and later."""
    disk = mount(size)
    told = to_its_end("train_car.py", trained.folder, disk / "log", *TRAINING, status=1).err
    assert f"{disk}/log" in told and "No space left on device" in told
    assert not any(path.name.endswith(".partial") for path in (disk / "log").iterdir())


def test_a_limit_on_files(trained: SimpleNamespace, tmp_path: Path) -> None:
    """`ulimit -f`, in all the scripts that write."""
    folder = trained.folder
    cases: list[tuple[int, Path, tuple[object, ...]]] = [
        (100_000, tmp_path / "set", ("load_train_data.py", folder, "data", tmp_path / "set")),
        (400_000, tmp_path / "log", ("train_car.py", folder, tmp_path / "log", *TRAINING)),
        (100_000, tmp_path / "results", ("run_car_images.py", folder, "log", "data", tmp_path / "results")),
        (
            9_000,
            tmp_path / "s.png",
            ("read_tfrecord.py", folder, "tfrecords/val", "--sheet", tmp_path / "s.png"),
        ),
    ]

    def fail(size: int, path: Path, command: tuple[object, ...]) -> None:
        script, *args = command
        told = to_its_end(*prepared(limit(size), str(script)), *args, status=1).err
        assert str(path) in told and "File too large" in told

    together(*(functools.partial(fail, *case) for case in cases))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["log", "results"]
    assert not any(name.startswith(".") or name.endswith(".bmp") for name in contents(tmp_path / "results"))


def test_a_disk_that_is_read_only(trained: SimpleNamespace, mount: Mount) -> None:
    disk = mount("30m")
    shutil.copytree(trained.folder / "tfrecords/val", disk / "val")
    shutil.copytree(trained.log, disk / "log")
    (disk / "results").mkdir()
    (disk / "results/mine.txt").write_text("mine")
    before = contents(disk)
    subprocess.run(["mount", "-o", "remount,ro", disk], check=True)

    def fail(script: str, *args: object) -> None:
        told = to_its_end(script, trained.folder, *args, status=1).err
        assert str(disk) in told and "Read-only file system" in told

    together(
        lambda: fail("load_val_data.py", "data", disk / "val"),
        lambda: fail("train_car.py", disk / "log", *TRAINING),
        lambda: fail("run_car_images.py", "log", "data", disk / "results"),
        lambda: to_its_end("read_tfrecord.py", trained.folder, disk / "val"),  # reading is all that it does
    )
    assert contents(disk) == before


def test_folders_that_vanish(trained: SimpleNamespace, tmp_path: Path) -> None:
    """Paused, robbed of its folder, and let go on, each script names it and ends."""

    def vanish(gone: Path, moment: Callable[[], bool], *command: object) -> None:
        script, *args = command
        process = start(str(script), *args)
        assert wait_until(moment, process)
        process.send_signal(signal.SIGSTOP)
        gone.rename(gone.with_name(f"{gone.name} elsewhere"))
        process.send_signal(signal.SIGCONT)
        told = end(process, status=1)
        assert str(gone) in told.err
        assert not gone.exists()

    data, log, results = tmp_path / "data", tmp_path / "log", tmp_path / "results"
    shutil.copytree(trained.folder / "data", data)
    shutil.copytree(trained.folder / "data", tmp_path / "data2")
    quality = ("--all", "--quality", *range(1, 100))
    partial = tmp_path / ".set.partial/train_1.tfrecords"
    correct = ("run_car_images.py", trained.folder, "log")
    together(
        lambda: vanish(log, (log / "losses.csv").exists, "train_car.py", trained.folder, log, *TRAINING),
        lambda: vanish(results, lambda: any(results.glob("*.bmp")), *correct, "data", results),
        lambda: vanish(data, lambda: any(tmp_path.glob("r2/*.bmp")), *correct, data, tmp_path / "r2"),
        lambda: vanish(
            tmp_path / "data2", partial.exists, "load_train_data.py", tmp_path, "data2", "set", *quality
        ),
    )
    assert not (tmp_path / "set").exists() and not partial.parent.exists()
