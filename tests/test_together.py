"""Training by several processes or replicas: each reads its share alone, and the losses are those of one."""

import functools
import json
import os
import signal
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

import numpy as np
import pytest
import tensorflow as tf
from conftest import prepared, run, start
from reference import Array, read_records, write_patches
from test_train import free_port, losses
from warm import Process

import car_ds_loader
from car import records, shares
from car.errors import UserError

Found = TypeVar("Found")

COUNTS = (20, 7, 17)  # records of the files; 44 patches, so that 16 steps of 8 go over two epochs' ends
SIDE = 16
STEPS = 16
OPTIONS = (
    *("train", "val", "--residual", "--learning-rate", 1e-4, "--steps", STEPS, "--batch-size", 8),
    *("--val-every", 1, "--val-patches", 8, "--conv", "direct", "--augment"),
)


def write_set(folder: Path, counts: tuple[int, ...], side: int = SIDE) -> None:
    rng = np.random.default_rng(len(counts))
    folder.mkdir()
    for number, count in enumerate(counts, start=1):
        bmp = rng.integers(0, 246, (count, side, side))
        write_patches(folder / f"{folder.name}_{number}.tfrecords", bmp + rng.integers(0, 10, bmp.shape), bmp)


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A working folder with train/ and val/, small records of another program."""
    folder = tmp_path_factory.mktemp("together")
    write_set(folder / "train", COUNTS)
    write_set(folder / "val", (12,))
    return folder


def companies(count: int) -> list[shares.Company]:
    """The processes of a cluster as threads of this one."""
    said, all_there = [b""] * count, threading.Barrier(count, timeout=60)

    def exchange(number: int, mine: bytes) -> list[bytes]:
        said[number] = mine
        all_there.wait()
        of_all = list(said)
        all_there.wait()
        return of_all

    return [shares.Company(n, count, functools.partial(exchange, n)) for n in range(count)]


def by_each(count: int, work: Callable[[shares.Company], Found]) -> list[Found]:
    """What work gives in each process of so many."""
    with ThreadPoolExecutor(count) as pool:
        return list(pool.map(work, companies(count)))


# ---- the read-through ----------------------------------------------------------------------


@pytest.mark.parametrize("count", [1, 2, 4])
def test_what_all_have_checked_is_what_one_checks(work: Path, count: int) -> None:
    """To the last bit, as the MSE stands in the settings of a run that may go on with more processes."""
    found = by_each(count, lambda company: shares.read_through(work / "train", company))
    assert found == [records.check_records(work / "train")] * count


def test_all_records_are_cut_into_equal_runs() -> None:
    for sizes in ((200, 70, 170), (10,), (95, 30, 0, 10), (1000,)):
        for count in (1, 2, 3, 4, 7, 20):
            runs = [shares.pieces_of(sizes, 10, number, count) for number in range(count)]
            read = [(p.file, place) for pieces in runs for p in pieces for place in range(p.start, p.stop)]
            assert sorted(read) == [(f, place) for f, size in enumerate(sizes) for place in range(size)]
            assert sum(piece == (2, 0, 0) for pieces in runs for piece in pieces) == (0 in sizes)
            if all(size and size % 10 == 0 for size in sizes):
                most = -(-sum(sizes) // 10 // count)
                assert all(sum(p.stop - p.start for p in pieces) <= 10 * most for pieces in runs)


def damaged(path: Path, fault: str) -> None:
    data = bytearray(path.read_bytes())
    frame = len(data) // 20
    if fault == "content":
        data[13 * frame + 600] ^= 1
    elif fault == "length":
        data[13 * frame + 1] ^= 1
    elif fault == "cut":
        del data[-7:]
    path.write_bytes(data if fault != "empty" else b"")


@pytest.mark.parametrize(
    "fault, told",
    [("content", "record 14: "), ("length", "record 14: "), ("cut", "record 20: "), ("empty", "")],
)
def test_a_damaged_file_is_named_by_who_finds_it_and_ends_the_others(
    tmp_path: Path, fault: str, told: str
) -> None:
    write_set(tmp_path / "train", COUNTS)
    damaged(tmp_path / "train/train_1.tfrecords", fault)

    def line(company: shares.Company) -> str:
        with pytest.raises(UserError) as caught:
            shares.read_through(tmp_path / "train", company)
        return str(caught.value)

    said = by_each(4, line)
    finder = [number for number, line in enumerate(said) if "train_1.tfrecords" in line]
    if fault == "empty":  # as the first record is that of the file, all find it
        assert finder == [0, 1, 2, 3] and all("holds no records" in line for line in said)
        return
    assert len(finder) == 1 and told in said[finder[0]]
    assert sum(f"process {finder[0]} of the cluster has ended with a fault" in line for line in said) == 3


def test_records_of_several_lengths_are_read_whole_by_each_and_it_is_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_set(tmp_path / "train", (20,))
    path = tmp_path / "train/train_1.tfrecords"
    written = list(read_records(path))
    with tf.io.TFRecordWriter(str(path)) as writer:  # a feature more, of several lengths
        for number, record in enumerate(written):
            example = tf.train.Example.FromString(record)
            example.features.feature["name"].bytes_list.value.append(b"n" * (number % 3))
            writer.write(example.SerializeToString())
    found = by_each(3, lambda company: shares.read_through(tmp_path / "train", company))
    assert found == [records.check_records(tmp_path / "train")] * 3 and found[0].frame == 0
    assert "each process reads all of them" in capsys.readouterr().out
    asked: list[tf.distribute.InputContext | None] = []

    def batches(share: tf.distribute.InputContext | None) -> tf.data.Dataset:
        asked.append(share)
        return tf.data.Dataset.range(3)

    car_ds_loader.distributed(tf.distribute.get_strategy(), 3, found[0], batches)
    assert asked == [None]


# ---- the batches ---------------------------------------------------------------------------


def shared_batches(found: records.RecordSet, processes: int, replicas: int, first: int, steps: int) -> Array:
    """The jpg patches of each replica of each process: [steps, batch, side, side, 1], put together again."""
    parts = []
    for number in range(processes):
        share = tf.distribute.InputContext(processes, number, replicas)
        batches = car_ds_loader.training_batches(found, 12, 5, first, car_ds_loader.ALL_TURNS, share)
        mine = np.stack([jpg for jpg, _ in batches.take(steps * replicas // processes).as_numpy_iterator()])
        assert mine.shape[1] == 12 // replicas
        parts.append(mine.reshape(steps, 12 // processes, *mine.shape[2:]))
    return np.concatenate(parts, axis=1)


@pytest.mark.parametrize("processes, replicas", [(4, 4), (2, 6)])
@pytest.mark.parametrize("first", [0, 5])
def test_the_shares_of_all_are_the_batches_of_one(
    work: Path, processes: int, replicas: int, first: int
) -> None:
    """Over three epochs' ends, flips and turns the same, also where a run goes on."""
    found = records.check_records(work / "train")
    whole = car_ds_loader.training_batches(found, 12, 5, first, car_ds_loader.ALL_TURNS).take(12)
    wanted = np.stack([jpg for jpg, _ in whole.as_numpy_iterator()])
    np.testing.assert_array_equal(shared_batches(found, processes, replicas, first, 12), wanted)


def bytes_read() -> int:
    """By this process, from files and the cache of the system alike."""
    return int(Path("/proc/self/io").read_text().split()[1])


@pytest.mark.skipif(not Path("/proc/self/io").exists(), reason="Linux counts there what a process reads")
def test_a_process_reads_its_share_and_no_record_twice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_set(tmp_path / "train", (1500, 900, 1600), 32)
    size = sum(path.stat().st_size for path in (tmp_path / "train").iterdir())
    before = bytes_read()
    found = by_each(4, lambda company: shares.read_through(tmp_path / "train", company))[0]
    # Twice: the frames are followed first. By all four together; the rest is buffers at the ends of pieces.
    assert 2 * size <= bytes_read() - before < 2.5 * size

    places: list[int] = []
    read_at = car_ds_loader.read_at

    def note(some: Array) -> Array:
        places.extend(some)
        return some

    def watched(found: records.RecordSet, wanted: tf.Tensor) -> tf.Tensor:
        noted = tf.numpy_function(note, [wanted], tf.int64)
        return read_at(found, tf.ensure_shape(noted, wanted.shape))

    monkeypatch.setattr(car_ds_loader, "read_at", watched)
    for number in range(4):
        batches = car_ds_loader.training_batches(
            found, 400, 0, 0, share=tf.distribute.InputContext(4, number, 4)
        )
        before, done = bytes_read(), len(places)
        for _ in zip(range(10), batches, strict=False):  # an epoch
            pass
        read = len(places) - done
        assert 1000 <= read < 1900 and bytes_read() - before < 1.1 * size * read / 4000
        del places[done + 1000 :]  # those of the next epoch, read ahead
    assert sorted(places) == list(range(4000))


# ---- the losses ----------------------------------------------------------------------------


def begin(work: Path, log: str, jobs: dict[str, int]) -> list[Process]:
    """Start every process of a cluster; jobs: {"worker": number, ...}."""
    cluster = {job: [f"127.0.0.1:{free_port()}" for _ in range(count)] for job, count in jobs.items()}
    return [
        start(
            "train_car.py",
            work,
            log,
            *OPTIONS,
            env={**os.environ, "TF_CONFIG": of_task(cluster, job, number)},
        )
        for job, listed in cluster.items()
        for number in range(len(listed))
    ]


def of_task(cluster: dict[str, list[str]], job: str, number: int) -> str:
    return json.dumps({"cluster": cluster, "task": {"type": job, "index": number}})


@pytest.fixture(scope="module")
def alone(work: Path) -> Path:
    """The log of the same training by one process."""
    run("train_car.py", work, "alone", *OPTIONS)
    return work / "alone"


def test_four_processes_one_killed_and_two_elsewhere_end_as_one_alone(work: Path, alone: Path) -> None:
    """The losses of every step, over epochs' ends; the two are a chief and a worker at other addresses."""
    log = work / "log"
    processes = begin(work, "log", {"worker": 4})
    while not (log / "state/step_4.npz").exists():
        assert all(process.poll() is None for process in processes), [p.communicate() for p in processes]
        time.sleep(0.005)
    processes.pop(2).send_signal(signal.SIGKILL)
    for process in processes:
        _, said = process.communicate(timeout=60)
        assert (
            process.returncode == 1 and "start all of them again" in said and len(said.splitlines()) == 1
        ), said
    before = losses(log)
    assert 4 <= before[-1, 0] < STEPS
    np.testing.assert_allclose(before, losses(alone)[: len(before)], rtol=1e-5)

    again = begin(work, "log", {"chief": 1, "worker": 1})
    told = [process.communicate(timeout=200) for process in again]
    assert [process.returncode for process in again] == [0, 0], told
    assert "going on after step" in told[0][0]
    np.testing.assert_allclose(losses(log), losses(alone), rtol=1e-5)


# Before the script: two logical devices, and a strategy over them.
REPLICAS = """
import functools
import tensorflow as tf
(cpu,) = tf.config.list_physical_devices("CPU")
tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
tf.distribute.MirroredStrategy = functools.partial(tf.distribute.MirroredStrategy, ["CPU:0", "CPU:1"])
"""


def test_two_replicas_of_one_machine_have_the_losses_of_one(work: Path, alone: Path) -> None:
    """Logical devices in the place of GPUs; they must be there before TensorFlow computes anything."""
    run(*prepared(REPLICAS, "train_car.py"), work, "replicas", *OPTIONS)
    np.testing.assert_allclose(losses(work / "replicas"), losses(alone), rtol=1e-5)
