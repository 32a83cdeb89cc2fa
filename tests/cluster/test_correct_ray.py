"""cluster/correct_ray.py: what the script makes, to the byte, whatever is lost while it works."""

import csv
import io
import json
import os
import pickle
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import ROOT, prepared, run
from PIL import Image

pytest.importorskip("ray")


from on_nodes import contents, end, kill_a_worker, nodes, start, wait_for
from ray.cluster_utils import Cluster

NUMBER = 24
JOURNAL, ROWS = ".car_results.jsonl", "figures.csv"
OPTIONS = ("pretrained", "photographs", "corrected", "--recursive", "--format", "png")


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    with nodes(2) as made:
        yield made


@pytest.fixture(scope="module")
def expected(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tree of photographs, of which one is bad and some have a clean partner, as the script corrects it."""
    folder = tmp_path_factory.mktemp("photographs")
    rng = np.random.default_rng(3)
    for number in range(NUMBER):
        place = folder / "photographs" / ("" if number % 3 else "deeper/still")
        place.mkdir(parents=True, exist_ok=True)
        rough = Image.fromarray(rng.integers(0, 256, (6, 8, 3), np.uint8))
        picture = rough.resize((104, 72), Image.Resampling.BICUBIC)
        picture.save(place / f"picture {number}.jpg", quality=10 + 3 * number)
        os.utime(place / f"picture {number}.jpg", (1e9 + number, 1e9 + number))
        if number % 8 == 0:
            picture.save(place / f"picture {number}.bmp")
    (folder / "photographs/deeper/bad.jpg").write_bytes(b"no picture")
    run("run_car_images.py", folder, *OPTIONS, status=1)
    return folder


@pytest.fixture
def folder(expected: Path, tmp_path: Path) -> Path:
    """A working folder with the same photographs and no results."""
    (tmp_path / "photographs").symlink_to(expected / "photographs")
    return tmp_path


def results_in(folder: Path) -> list[Path]:
    return list((folder / "corrected").rglob("*_car.png"))


def told(files: dict[str, bytes]) -> tuple[dict[str, bytes], list[list[str]], list[str]]:
    """Results; rows without their seconds; lines of the journal, in no order."""
    table = list(csv.reader(io.StringIO(files[ROWS].decode())))
    place = table[0].index("seconds")
    rows = [row[:place] + row[place + 1 :] for row in table]
    results = {name: content for name, content in files.items() if name not in (JOURNAL, ROWS)}
    return results, rows, sorted(files[JOURNAL].decode().splitlines())


def check_the_same(made: dict[str, bytes], expected: Path) -> None:
    results, rows, lines = told(made)
    results_of_script, rows_of_script, lines_of_script = told(contents(expected / "corrected"))
    assert results == results_of_script
    assert rows == rows_of_script
    assert lines == lines_of_script


# ---- folders -------------------------------------------------------------------------------


def test_a_node_is_lost_in_the_middle(cluster: Cluster, expected: Path, folder: Path) -> None:
    lost = cluster.add_node(num_cpus=1, object_store_memory=100 * 2**20)
    process = start("correct_ray.py", folder, *OPTIONS, "--address", cluster.address)
    wait_for(lambda: len(results_in(folder)) > 2, process)
    cluster.remove_node(lost, allow_graceful=False)
    kill_a_worker(cluster.head_node)
    out, err = end(process, 1)
    assert (
        not err
        and f"corrected {NUMBER} of {NUMBER + 1} images into {folder / 'corrected'}, left out 1" in out
    )
    assert "deeper/bad.jpg: is not a JPEG" in out and "raylet" not in out
    check_the_same(contents(folder / "corrected"), expected)
    times = [path.stat().st_mtime for path in sorted(results_in(folder), key=number_of)]
    assert times == [1e9 + number for number in range(NUMBER)]
    assert not (folder / "corrected/.car_results_handed_in").exists()


def number_of(path: Path) -> int:
    return int(re.findall(r"\d+", path.name)[0])


def test_killed_and_stopped_it_goes_on(long: bool, cluster: Cluster, expected: Path, folder: Path) -> None:
    """What a killed run wrote is known as ours, and a user's file that lies there stays."""
    if not long:
        pytest.skip("with --long: three starts of Ray and TensorFlow")
    own = folder / "corrected/picture 23_car.png"
    own.parent.mkdir()
    own.write_bytes(b"the user's own")
    command = (folder, *OPTIONS, "--address", cluster.address)
    process = start("correct_ray.py", *command)
    wait_for(lambda: len(results_in(folder)) > 3, process)
    process.kill()
    process.communicate()
    journal = folder / "corrected" / JOURNAL
    process = start("correct_ray.py", *command, "--skip-existing")
    wait_for(lambda: journal.exists() and '"run": 2' in journal.read_text(), process)
    process.send_signal(signal.SIGTERM)
    _, err = end(process, 143)
    assert "with --skip-existing the same command goes on" in err
    process = start("correct_ray.py", *command, "--skip-existing")
    out, _ = end(process, 1)
    assert "picture 23_car.png is in" in out and "not written by this suite" in out
    assert int(re.findall(r"(\d+) were there already", out)[0]) > 0
    assert own.read_bytes() == b"the user's own"
    made = contents(folder / "corrected")
    rows = {row[0]: row for row in told(made)[1]}
    assert rows["picture 23"][1] == "left out" and len(rows) == NUMBER + 2
    del made["picture 23_car.png"]
    results_of_script = told(contents(expected / "corrected"))[0]
    del results_of_script["picture 23_car.png"]
    assert told(made)[0] == results_of_script
    noted = [json.loads(line).get("file") for line in told(made)[2]]
    assert set(filter(None, noted)) == set(results_of_script)


def test_on_this_machine_alone_from_any_folder(long: bool, expected: Path, folder: Path) -> None:
    """Without --address."""
    if not long:
        pytest.skip("with --long: a start of Ray and TensorFlow more")
    printed = run("cluster/correct_ray.py", folder, *OPTIONS, status=1, cwd=folder)
    assert f"corrected {NUMBER} of {NUMBER + 1} images" in printed.out
    check_the_same(contents(folder / "corrected"), expected)


def test_a_fault_of_a_worker_names_the_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not the scratch folder, which the user never sees."""
    from pyarrow import fs

    from cluster import on_ray, storage

    place = tmp_path / "nowhere/a.png"
    (tmp_path / "a.png").write_bytes(b"content")

    def work(row: on_ray.Row) -> None:
        systems = {storage.LOCAL: fs.LocalFileSystem()}
        storage.put(systems, tmp_path / "a.png", storage.Address(storage.LOCAL, str(place)))

    telling = on_ray.Telling(None, lambda: work)
    monkeypatch.setattr(telling, "_begin", lambda number: None)
    made, fault = pickle.loads(telling({"number": b"0"})["told"])
    assert made is None and isinstance(fault, FileNotFoundError) and fault.filename == str(place)


ENDING = """
import os, sys

sys.path.insert(0, {root!r})
from cluster import on_ray


class Ending:
    def __call__(self, row):
        if row["work"] == b"2":
            os._exit(1)  # as where the system ends a process that takes all memory
        return {{"made": row["work"]}}


with on_ray.joined({address!r}):
    rows = [{{"work": b"%d" % number}} for number in range(6)]
    ways = on_ray.through(rows, Ending, [], given_up=lambda number: {{"made": b"%d given up" % number}})
    print(sorted(row["made"].decode() for row in ways))
    print(*on_ray.through(rows, Ending, []))
"""


def test_work_that_ends_each_process_is_given_up(long: bool, cluster: Cluster, tmp_path: Path) -> None:
    """The rest is done; and where the caller has no word for it, one line says it."""
    if not long:
        pytest.skip("with --long: ten starts of processes of Ray")
    script = tmp_path / "script.py"
    script.write_text(ENDING.format(root=str(ROOT), address=cluster.address))
    done = subprocess.run([sys.executable, script], capture_output=True, text=True, timeout=200)
    assert done.stdout.splitlines() == ["['0', '1', '2 given up', '3', '4', '5']"], done.stderr
    assert done.stderr.splitlines()[-1].endswith(
        "Lost: 4 processes ended with the same work in hand, as if it took all memory"
    )


def test_two_thousand_pictures_on_three_nodes(long: bool, tmp_path: Path) -> None:
    """A node removed after 500 results, a process killed after 1,000, five bad pictures."""
    if not long:
        pytest.skip("with --long: ten minutes")
    (tmp_path / "photographs").mkdir()
    rng = np.random.default_rng(4)
    for number in range(2000):
        rough = Image.fromarray(rng.integers(0, 256, (4, 6, 3), np.uint8))
        file = tmp_path / f"photographs/{number}.jpg"
        rough.resize((64, 48), Image.Resampling.BICUBIC).save(file, quality=10 + number % 80)
    for number in range(5):
        (tmp_path / f"photographs/bad {number}.jpg").write_bytes(b"no picture")
    run("run_car_images.py", tmp_path, *OPTIONS, status=1, timeout=3600)
    (tmp_path / "corrected").rename(tmp_path / "by the script")
    with nodes(3) as three:
        process = start("correct_ray.py", tmp_path, *OPTIONS, "--address", three.address)
        wait_for(lambda: len(results_in(tmp_path)) > 500, process)
        three.remove_node(three.list_all_nodes()[-1], allow_graceful=False)
        wait_for(lambda: len(results_in(tmp_path)) > 1000, process)
        kill_a_worker(three.head_node)
        out, _ = end(process, 1, patience=3600)
    assert "corrected 2000 of 2005 images" in out and "left out 5" in out
    assert told(contents(tmp_path / "corrected")) == told(contents(tmp_path / "by the script"))


# correct_ray.py on an engine that is played, where a picture ends each process that has it in hand. The first
# attempt at its block got as far as writing the others: what is there of them is ours.
WITHOUT_RAY = """
import contextlib, pickle
from cluster import on_ray


def through(rows, worker, arguments, cores, given_up):
    work = worker(*arguments)
    for number, row in enumerate(rows):
        block = pickle.loads(row["block"])
        rest = [item for item in block.items if item.picture.name != "picture 7.jpg"]
        if len(rest) == len(block.items):
            yield work(row)
        else:
            print("lost:", len(block.items), flush=True)
            work({"block": pickle.dumps(block._replace(items=rest))})
            yield given_up(number)


on_ray.joined = lambda address: contextlib.nullcontext()
on_ray.processes = lambda cores: (1, {})
on_ray.through = through
"""


def test_a_picture_that_takes_its_process_with_it_is_left_out_alone(expected: Path, folder: Path) -> None:
    """Its block is done again picture by picture."""
    printed = run(*prepared(WITHOUT_RAY, "cluster/correct_ray.py"), folder, *OPTIONS, status=1).out
    assert re.findall(r"lost: (\d+)", printed) == ["3", "1"]
    assert "picture 7.jpg: its process ended each time with it in hand" in printed
    assert f"corrected {NUMBER - 1} of {NUMBER + 1} images" in printed and "left out 2" in printed
    made, script = told(contents(folder / "corrected")), told(contents(expected / "corrected"))
    del script[0]["picture 7_car.png"]
    assert made[0] == script[0]
    assert made[2] == [line for line in script[2] if "picture 7.jpg" not in line]


def test_what_cannot_be_asked_for(folder: Path) -> None:
    for option in (("--dry-run",), ("--shard", "1/2")):
        printed = run("cluster/correct_ray.py", folder, *OPTIONS, *option, status=2)
        assert f"argument {option[0]}: only of run_car_images.py" in printed.err
    printed = run("cluster/correct_ray.py", folder, "pretrained", "nowhere", "corrected", status=2)
    assert "there is no folder and no file" in printed.err
    printed = run("cluster/correct_ray.py", folder, *OPTIONS, "--address", "127.0.0.1:1", status=1)
    assert printed.err.startswith("correct_ray.py: the cluster at 127.0.0.1:1 cannot be joined")
    assert printed.err.count("\n") == 1
    printed = run("cluster/correct_ray.py", "nowhere://bucket", *OPTIONS, status=1)
    assert "nowhere://bucket/" in printed.err and printed.err.count("\n") == 1


# ---- stores --------------------------------------------------------------------------------

Environ = dict[str, Any]
Answer = Callable[..., Iterable[bytes]]


class Moody:
    """A store before whose answers some requests fail, wait, or find nothing."""

    def __init__(self, answer: Answer) -> None:
        self._answer, self.requests, self.failed = answer, 0, 0
        self.vanished = ""  # of paths that end so nothing is there when they are read

    def __call__(self, environ: Environ, begin: Callable[..., object]) -> Iterable[bytes]:
        self.requests += 1
        time.sleep(0.02)
        path, method = environ["PATH_INFO"], environ["REQUEST_METHOD"]
        if self.requests % 5 == 0:
            self.failed += 1
            begin("503 Slow Down", [("Content-Type", "text/plain")])
            return [b"slow down"]
        if self.vanished and path.endswith(self.vanished) and method in ("GET", "HEAD"):
            begin("404 Not Found", [("Content-Type", "application/xml")])
            return [b"<Error><Code>NoSuchKey</Code></Error>"]
        return self._answer(environ, begin)


@pytest.fixture
def store(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[Moody, str]]:
    """A store of objects on this machine, and its port."""
    server = pytest.importorskip("moto.server", reason="tests/requirements-long.txt")
    serving = pytest.importorskip("werkzeug.serving")
    moody = Moody(server.DomainDispatcherApplication(server.create_backend_app))
    made = serving.make_server("127.0.0.1", 0, moody, threaded=True)
    threading.Thread(target=made.serve_forever, daemon=True).start()
    for name, value in (("ACCESS_KEY_ID", "a"), ("SECRET_ACCESS_KEY", "b"), ("DEFAULT_REGION", "us-east-1")):
        monkeypatch.setenv(f"AWS_{name}", value)
    yield moody, f"endpoint_override=127.0.0.1:{made.server_port}&scheme=http"
    made.shutdown()


def test_a_store_that_is_slow_and_fails(
    long: bool, store: tuple[Moody, str], expected: Path, tmp_path: Path
) -> None:
    if not long:
        pytest.skip("with --long: two runs that wait for the store")
    from pyarrow import fs

    moody, where = store
    system, _ = fs.FileSystem.from_uri(f"s3://bucket?{where}&allow_bucket_creation=true")
    system.create_dir("bucket")
    fs.copy_files(str(expected / "photographs"), "bucket/work/photographs", destination_filesystem=system)
    moody.vanished = "picture 5.jpg"
    printed = run("cluster/correct_ray.py", f"s3://bucket/work?{where}", *OPTIONS, status=1)
    moody.vanished = ""
    assert moody.failed > 20
    assert "picture 5.jpg: cannot be read: it went away" in printed.out
    assert (
        f"corrected {NUMBER - 1} of {NUMBER + 1} images into s3://bucket/work/corrected, left out 2"
        in printed.out
    )
    fs.copy_files("bucket/work/corrected", str(tmp_path / "made"), source_filesystem=system)
    made, script = told(contents(tmp_path / "made")), told(contents(expected / "corrected"))
    gone = script[0].pop("picture 5_car.png")
    assert gone and made[0] == script[0]
    assert [row for row in made[1] if row[0] != "picture 5"] == [
        row for row in script[1] if row[0] != "picture 5"
    ]
    # What failed is done by the next run, and nothing else.
    printed = run(
        "cluster/correct_ray.py", f"s3://bucket/work?{where}", *OPTIONS, "--skip-existing", status=1
    )
    assert f"corrected 1 of {NUMBER + 1}" in printed.out and f"{NUMBER - 1} were there already" in printed.out
    with system.open_input_stream("bucket/work/corrected/picture 5_car.png") as stream:
        assert stream.read() == gone
