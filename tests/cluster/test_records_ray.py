"""cluster/records_ray.py: byte for byte what the loaders write, whatever is lost while it works."""

import json
import os
import re
import signal
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from conftest import prepared, run
from PIL import Image

pytest.importorskip("ray")

from on_nodes import contents, end, kill_a_worker, nodes, start, wait_for
from pyarrow import fs
from ray.cluster_utils import Cluster

SCRIPT = "records_ray.py"
# Much to decode for few records, so that there is a middle.
SPARSE = ("--patch-size", 32, "--stride", 300, "--group-by", ".*")


@pytest.fixture(scope="module")
def cluster(long: bool) -> Iterator[Cluster]:
    """Two nodes, which have the keys of the store."""
    if not long:
        pytest.skip("with --long: starts of Ray and TensorFlow")
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        os.environ.setdefault(name, "test")
    with nodes(2) as made:
        yield made


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """40 pairs in data/, of which one is bad, one small, and one has no partner."""
    folder = tmp_path_factory.mktemp("pictures")
    (folder / "data/deeper").mkdir(parents=True)
    rng = np.random.default_rng(0)
    for number in range(40):
        size = (30, 40) if number == 5 else (1500, 1200)
        rough = Image.fromarray(rng.integers(0, 256, (8, 10), dtype=np.uint8))
        picture = rough.resize(size, Image.Resampling.BICUBIC)
        place = folder / "data" / ("deeper" if number % 2 else "") / f"picture {number}"
        picture.save(f"{place}.png", compress_level=1)
        picture.save(f"{place}.jpg", quality=20 + number)
    bad = folder / "data/deeper/picture 7.jpg"
    bad.write_bytes(bad.read_bytes()[:900])
    (folder / "data/picture 8.png").unlink()
    return folder


class Store:
    """An S3 of this machine."""

    def __init__(self, url: str) -> None:
        self.url = url
        self._system = fs.S3FileSystem(endpoint_override=url, allow_bucket_creation=True)
        self._system.create_dir("bucket")

    def put(self, folder: Path, to: str) -> None:
        here = fs.LocalFileSystem()
        fs.copy_files(str(folder), to, source_filesystem=here, destination_filesystem=self._system)

    def write(self, path: str, data: bytes) -> None:
        with self._system.open_output_stream(path) as file:
            file.write(data)

    def contents(self, folder: str) -> dict[str, bytes]:
        """{path in the folder: bytes}."""
        found = self._system.get_file_info(fs.FileSelector(folder, recursive=True))
        paths = [info.path for info in found if info.type == fs.FileType.File]
        return {path[len(folder) + 1 :]: self._system.open_input_stream(path).read() for path in paths}


@pytest.fixture(scope="module")
def store(cluster: Cluster) -> Iterator[Store]:
    server = pytest.importorskip("moto.server", reason="tests/requirements-long.txt").ThreadedMotoServer(
        port=0
    )
    server.start()
    yield Store(f"http://127.0.0.1:{server.get_host_and_port()[1]}")
    server.stop()


def parts_of(folder: Path) -> list[Path]:
    return sorted(folder.glob("part_*.json"))


def said(text: str) -> list[str]:
    """The lines of a script in any order, without those of progress."""
    return sorted(line for line in text.splitlines() if not re.match(r"\d+/\d+ (images|files), ", line))


# records_ray.py on an engine that is played: last work first, and twice, as where a machine is lost that had done
# it. Ray itself is at work in test_correct_ray.py, and here with --long.
WITHOUT_RAY = """
import contextlib
from cluster import on_ray


def through(rows, worker, arguments, cores=1, on_gpus=True, given_up=None):
    for row in reversed(rows):
        worker(*arguments)(row)
        yield worker(*arguments)(row)


on_ray.joined = lambda address: contextlib.nullcontext()
on_ray.through = through
"""


def test_work_in_any_order_and_twice_is_the_loaders(pictures: Path, tmp_path: Path) -> None:
    options = ("data", tmp_path / "set", "--recursive", *SPARSE)
    expected = run("load_train_data.py", pictures, *options, status=1)
    (tmp_path / "set").rename(tmp_path / "expected")
    printed = run(*prepared(WITHOUT_RAY, "cluster/records_ray.py"), pictures, *options, status=1)
    check_the_same(printed.out, expected.out, tmp_path)


def check_the_same(out: str, expected: str, folder: Path) -> None:
    assert "left out: deeper/picture 7" in out and "skipped, smaller than 32x32: 1 (deeper/picture 5)" in out
    assert said(out) == said(expected)
    assert contents(folder / "set") == contents(folder / "expected")
    assert sorted(path.name for path in folder.iterdir()) == ["expected", "set"]


def test_a_worker_killed_in_the_middle(cluster: Cluster, pictures: Path, tmp_path: Path) -> None:
    options = ("data", tmp_path / "set", "--recursive", *SPARSE)
    expected = run("load_train_data.py", pictures, *options, status=1)
    (tmp_path / "set").rename(tmp_path / "expected")
    process = start(SCRIPT, pictures, *options, "--address", cluster.address)
    wait_for(lambda: parts_of(tmp_path / ".set.parts"), process)
    kill_a_worker(cluster.head_node)
    out, _ = end(process, 1)
    check_the_same(out, expected.out, tmp_path)


def test_stopped_and_killed_it_goes_on(cluster: Cluster, pictures: Path, tmp_path: Path) -> None:
    """Over an older set, which stays until the new one is whole."""
    options = ("data", tmp_path / "set", "--recursive", "--quality", 10, 30, *SPARSE)
    parts = tmp_path / ".set.parts"
    run("load_train_data.py", pictures, *options)
    (tmp_path / "set").rename(tmp_path / "expected")
    run("load_train_data.py", pictures, "data", tmp_path / "set", *SPARSE, status=0)
    older = contents(tmp_path / "set")
    process = start(SCRIPT, pictures, *options, "--address", cluster.address)
    wait_for(lambda: parts_of(parts), process)
    process.send_signal(signal.SIGTERM)
    _, err = end(process, 143)
    assert "stopped by SIGTERM" in err and "the same command goes on" in err and err.count("\n") == 2
    kept = {path: path.stat().st_mtime_ns for path in parts_of(parts)}
    process = start(SCRIPT, pictures, *options, "--address", cluster.address)
    wait_for(lambda: len(parts_of(parts)) > len(kept), process)
    process.kill()
    process.communicate()
    assert kept == {path: path.stat().st_mtime_ns for path in kept}
    assert contents(tmp_path / "set") == older
    end(start(SCRIPT, pictures, *options, "--address", cluster.address), 0)
    assert contents(tmp_path / "set") == contents(tmp_path / "expected")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["expected", "set"]


def test_in_a_store_and_after_a_kill_among_its_last_moves(
    cluster: Cluster, pictures: Path, tmp_path: Path, store: Store
) -> None:
    options = ("data", "tfrecords/train", "--recursive", *SPARSE)
    expected = run("load_train_data.py", pictures, "data", tmp_path / "train", *options[2:], status=1)
    store.put(pictures / "data", "bucket/work/data")
    folder = "bucket/work/tfrecords"
    store.write(f"{folder}/.train.parts/set/split.json", b"as a run leaves it that was killed there")
    for name in ("train_1.tfrecords", "train_2.tfrecords"):
        store.write(f"{folder}/train/{name}", b"of a set with more files")
    address = f"s3://bucket/work?endpoint_override={store.url}"
    out, _ = end(start(SCRIPT, address, *options, "--address", cluster.address), 1)
    out = out.replace("s3://bucket/work/tfrecords", str(tmp_path))
    locks = f"{tmp_path / 'train'}: a store knows no locks; let no second run write there"
    assert said(out) == said(f"{expected.out}{locks}")
    there = store.contents(folder)
    assert set(there) == {"train/train_1.tfrecords", "train/split.json"}
    assert there["train/train_1.tfrecords"] == (tmp_path / "train/train_1.tfrecords").read_bytes()
    told, wanted = (
        json.loads(text) for text in (there["train/split.json"], (tmp_path / "train/split.json").read_bytes())
    )
    assert told == {**wanted, "folders": ["s3://bucket/work/data"]}


def test_a_node_lost_in_the_middle(cluster: Cluster, pictures: Path, tmp_path: Path) -> None:
    options = ("data", tmp_path / "set", "--recursive", *SPARSE, "--all")
    expected = run("load_val_data.py", pictures, *options, status=1)
    (tmp_path / "set").rename(tmp_path / "expected")
    process = start(SCRIPT, pictures, *options, "--set", "val", "--address", cluster.address)
    (other,) = cluster.worker_nodes
    wait_for(lambda: parts_of(tmp_path / ".set.parts"), process)
    cluster.remove_node(other, allow_graceful=False)
    out, _ = end(process, 1)
    assert said(out) == said(expected.out)
    assert contents(tmp_path / "set") == contents(tmp_path / "expected")
