"""Newcomers' walks, command by command as they type them, each to its end.

Here small, in one process, as TensorFlow takes seconds to start. With --long at the sizes of the documents, each
command in a process of its own, and the time of each walk is printed: the table of docs/install.md.

    python -m pytest -s --long tests/test_walks.py -k "not ct_pairs"
    python -m pytest -s --long tests/test_walks.py -k ct_pairs      (the default training to its end: half an hour)
"""

import contextlib
import csv
import io
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import ROOT, run
from filelock import FileLock
from PIL import Image
from test_docs import blocks_of, commands_of, first_cells, section

NAMES = ("astronaut", "camera", "chelsea", "coffee", "hubble_deep_field")
SIZES = {"kernel": (5_184, 100_352, 512, 400), "bias": (64, 32, 16, 1)}

SMALL = {  # what makes a command quick enough: the last of two equal options counts
    "samples/make_ct_slices.py": "--series 6 --slices 1",
    "train_car.py": "--steps 6 --batch-size 16 --val-patches 64 --conv direct",
}
# CT-like pairs to corrected test slices, by the default net.
CT = """
samples/make_ct_slices.py FOLDER/ct
load_train_data.py FOLDER ct records/train
load_val_data.py FOLDER ct records/val
train_car.py FOLDER log records/train records/val
run_car_images.py FOLDER log ct results --split test
"""
# Photographs without JPGs to own weights, and old JPGs of those that nobody trained on.
PHOTOGRAPHS = """
load_train_data.py FOLDER photographs records/train --quality 10 20 30 40
load_val_data.py FOLDER photographs records/val --quality 10 20 30 40
train_car.py FOLDER log records/train records/val --residual --steps 300 --batch-size 100 --schedule cosine
run_car_images.py FOLDER log old_jpgs results --split test
"""
# A tree of photographs, and a page of them.
TREE = """
run_car_images.py FOLDER pretrained tree results --recursive --report --format png
"""


# Walk by walk, script by script, in one process.
ONE_PROCESS = """
import json, runpy, sys
for name, commands in json.load(sys.stdin).items():
    print("walk:", name, flush=True)
    for words in commands:
        sys.argv = words
        try:
            runpy.run_path(words[0], run_name="__main__")
        except SystemExit as ended:
            assert not ended.code, (words, ended.code)
"""


class Walks:
    """The walks below a folder: of each its own folder and what it printed, once it is done."""

    def __init__(self, place: Path, long: bool) -> None:
        self._place, self._long, self._printed = place, long, dict[str, str]()
        self._commands = {
            "readme": readmes_commands(place / "readme"),
            "ct": commands_below(place / "ct", CT),
            "photographs": commands_below(place / "photographs", PHOTOGRAPHS),
            "tree": commands_below(place / "tree", TREE),
            "python": [
                [str(place / "python/ten_lines.py")],
                [str(place / "python/record.py")],
                *commands_below(place / "python", "run_car_images.py FOLDER pretrained data results"),
            ],
            "draw": [["docs/draw.py", "--to", str(place / "draw")]],
        }

    def folder(self, name: str) -> Path:
        """Where a walk was walked; with --long it is walked now."""
        if name not in self._printed:
            if self._long:
                self._printed[name] = self._timed(name)
            else:
                self._printed = self._all_small()
        return self._place / name

    def printed(self, name: str) -> str:
        """What all commands of a walk wrote to stdout."""
        self.folder(name)
        return self._printed[name]

    def _timed(self, name: str) -> str:
        start, environment = time.monotonic(), {**os.environ, "PYTHONPATH": str(ROOT)}
        said = [
            run(script, *words, cwd=ROOT, env=environment, timeout=7200).out
            for script, *words in self._commands[name]
        ]
        print(f"\nwalk {name}: {time.monotonic() - start:.0f} s, {len(said)} commands")
        print("".join(line + "\n" for line in "".join(said).splitlines() if "PSNR" in line or "best" in line))
        return "".join(said)

    def _all_small(self) -> dict[str, str]:
        """All of them at once; where another process of pytest walked them, what it printed."""
        printed = self._place / "printed"
        with FileLock(self._place / "lock"):
            if not printed.exists():
                printed.write_text(self._walk_small())
        said = dict(re.findall(r"^walk: (\w+)\n(.*?)(?=^walk: |\Z)", printed.read_text(), re.M | re.S))
        assert list(said) == list(self._commands)
        return said

    def _walk_small(self) -> str:
        for words in [words for walk in self._commands.values() for words in walk]:
            words += shlex.split(SMALL.get(words[0], ""))
        given = json.dumps(self._commands)
        command = [sys.executable, "-c", ONE_PROCESS]
        done = subprocess.run(command, input=given, cwd=ROOT, capture_output=True, text=True, timeout=300)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout


def commands_below(folder: Path, walk: str) -> list[list[str]]:
    return [
        [word.replace("FOLDER", folder.as_posix()) for word in line.split()]
        for line in walk.strip().splitlines()
    ]


def readmes_commands(folder: Path) -> list[list[str]]:
    """All commands of README but its first two, which install; `work` and `~` are folders in this one."""
    made = [words[1:] for block in blocks_of("README.md", "sh")[1:] for words in commands_of(block)]
    for words in made:
        for place, word in enumerate(words):
            word = re.sub(r"^work(?=/|$)", (folder / "work").as_posix(), word)
            words[place] = re.sub(r"^~", (folder / "home").as_posix(), word)
    return made


def crop(name: str, left: int, top: int, width: int, height: int) -> Image.Image:
    """A part of a clean sample."""
    with Image.open(ROOT / f"samples/{name}.bmp") as image:
        return image.crop((left, top, left + width, top + height))


@pytest.fixture(scope="module")
def walks(tmp_path_factory: pytest.TempPathFactory, long: bool) -> Walks:
    """The walks, with the pictures and programs that they begin with; one folder for all processes of pytest."""
    place = tmp_path_factory.getbasetemp()
    place = (place.parent if "PYTEST_XDIST_WORKER" in os.environ else place) / "walks"
    place.mkdir(exist_ok=True)
    with FileLock(place / "lock"):
        if not (place / "python").exists():
            make_what_they_begin_with(place, long)
    return Walks(place, long)


def make_what_they_begin_with(place: Path, long: bool) -> None:
    """The pictures and programs, those of Python last."""
    for folder in ("readme/home/pictures/old_jpgs/2019", "photographs/photographs", "photographs/old_jpgs"):
        (place / folder).mkdir(parents=True)
    crop("coffee", 200, 100, 64, 48).save(place / "readme/home/pictures/old_jpgs/2019/a.jpg", quality=20)

    width, height = (320, 240) if long else (96, 64)
    rng = np.random.default_rng(0)
    for number in range(100 if long else 10):
        name = NAMES[number % len(NAMES)]
        with Image.open(ROOT / f"samples/{name}.bmp") as image:
            left, top = (
                int(rng.integers(0, n - m)) for n, m in zip(image.size, (width, height), strict=True)
            )
        picture = crop(name, left, top, width, height)
        picture.save(place / f"photographs/photographs/{number}.png")
        picture.save(place / f"photographs/old_jpgs/{number}.png")  # beside its JPG: figures of it
        picture.save(place / f"photographs/old_jpgs/{number}.jpg", quality=20)

    for number, folder in enumerate(("2019", "2019/spring", ".")):
        (place / "tree/tree" / folder).mkdir(parents=True, exist_ok=True)
        for name in NAMES if long else NAMES[:1]:
            picture = crop(name, 60 * number, 60, *((384, 288) if long else (64, 48)))
            picture.save(place / f"tree/tree/{folder}/{name}.jpg", quality=(10, 20, 40)[number])

    (place / "python/data").mkdir(parents=True)
    shutil.copy(ROOT / "samples/coffee.jpg", place / "python/data")
    for file, block, further in (
        (
            "ten_lines.py",
            blocks_of("README.md", "python")[0],
            f"import numpy\nnumpy.save({str(place / 'python/pixels.npy')!r}, corrected.pixels)\n",
        ),
        (
            "record.py",
            blocks_of("docs/format.md", "python")[0],
            "from car import records\nassert records.side_of(record) == 32\n",
        ),
    ):
        (place / "python" / file).write_text(block + further)


def names_of_test_set(log: Path) -> list[str]:
    return sorted(json.loads((log / "split.json").read_text())["sets"]["test"])


def rows_of(results: Path) -> list[dict[str, str]]:
    with open(results / "figures.csv", newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def gain(results: Path) -> float:
    """Mean gain in PSNR, dB."""
    return float(np.mean([float(row["psnr_after"]) - float(row["psnr_before"]) for row in rows_of(results)]))


# ---- the walks -----------------------------------------------------------------------------


def test_readmes_commands_do_what_it_says(walks: Walks) -> None:
    home, work = walks.folder("readme") / "home", walks.folder("readme") / "work"
    assert (home / "pictures/corrected/2019/a_car.png").exists()
    assert (home / "pictures/corrected/2019/a_compare.png").exists()
    assert (work / "tfrecords/val/val_1.tfrecords").exists() and (work / "sheet.png").exists()
    assert sorted(row["name"] for row in rows_of(work / "results")) == names_of_test_set(work / "log")
    assert "PSNR" in walks.printed("readme")


def test_ct_pairs_to_corrected_test_slices_by_the_default_net(walks: Walks, long: bool) -> None:
    folder = walks.folder("ct")
    assert json.loads((folder / "log/model_checkpoint.json").read_text())["residual"] is False
    files = sorted(path.name for path in (folder / "results").glob("*.bmp"))
    assert files == [f"{name}_car.bmp" for name in names_of_test_set(folder / "log")]
    for row in rows_of(folder / "results"):  # after six steps its change rounds to nothing
        assert row["status"] == "corrected" if long else 0 < float(row["change_luma"]) < 1
        assert row["weights_luma"] == "the log's own"
    assert gain(folder / "results") > (0.3 if long else -0.1)


def test_photographs_without_jpgs_to_own_weights(walks: Walks, long: bool) -> None:
    folder = walks.folder("photographs")
    assert not list((folder / "photographs").glob("*.jpg"))
    with np.load(folder / "log/model_checkpoint.npz") as arrays:  # they know for what they are
        assert arrays["coarseness"] == pytest.approx([1.25, 5], rel=0.01)
    rows = rows_of(folder / "results")
    assert sorted(row["name"] for row in rows) == names_of_test_set(folder / "log")
    assert {(row["quality"], row["weights_luma"]) for row in rows} == {("20", "the log's own")}
    assert gain(folder / "results") > (0.3 if long else -0.1)


def test_a_tree_of_photographs_with_a_page_that_opens(walks: Walks) -> None:
    folder = walks.folder("tree")
    sources = {path.relative_to(folder / "tree").with_suffix("") for path in (folder / "tree").rglob("*.jpg")}
    made = {path.relative_to(folder / "results") for path in (folder / "results").rglob("*_car.png")}
    assert made == {source.with_name(f"{source.name}_car.png") for source in sources}
    chromium = pytest.importorskip("browser")
    if chromium.CHROMIUM is None:
        pytest.skip("no Chromium is installed")
    with chromium.started() as browser, chromium.opened(browser, folder / "results/index.html") as page:
        assert page.locator("#count").inner_text() == f"{len(sources)} of {len(sources)} pictures"
        assert "2019/spring/astronaut" in page.locator(".card h2").all_inner_texts()
        page.wait_for_function("[...document.images].every(image => image.complete && image.naturalWidth)")


def test_ten_lines_of_python(walks: Walks) -> None:
    """As they stand in README; their pixels are those of the script."""
    printed = walks.printed("python").splitlines()
    assert printed[0] == "(400, 600, 3) uint8"
    coarseness, rest = printed[1].split(" ", 1)
    assert 2.3 < float(coarseness) < 2.7 and "factor=2.5" in rest  # of quality 20
    assert all("Choice(" in line for line in printed[1:4])  # luma, Cb, Cr
    pixels = np.load(walks.folder("python") / "pixels.npy")
    with Image.open(walks.folder("python") / "results/coffee_car.bmp") as image:
        np.testing.assert_array_equal(pixels, np.asarray(image))


# ---- TensorBoard ---------------------------------------------------------------------------


def test_tensorboard_shows_losses_histograms_and_pictures(walks: Walks) -> None:
    """Read back by its own reader, and asked of the program itself."""
    log = walks.folder("readme") / "work/log"
    with open(log / "losses.csv", newline="") as file:
        expected = [float(row["val_loss"]) for row in csv.DictReader(file)]
    assert_events_hold(log / "tensorboard", expected)
    start = time.monotonic()
    with tensorboard(log) as address:
        shown = scalars(address, "losses/val_loss")
    print(f"\nwalk tensorboard: {time.monotonic() - start:.0f} s")
    np.testing.assert_allclose(shown, expected, rtol=1e-6)


def assert_events_hold(events_folder: Path, val_losses: list[float]) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
    from tensorboard.util.tensor_util import make_ndarray

    events = EventAccumulator(str(events_folder), size_guidance={"tensors": 0})
    events.Reload()

    def of(tag: str) -> list[Any]:
        return [make_ndarray(event.tensor_proto) for event in events.Tensors(tag)]

    np.testing.assert_allclose(np.ravel(of("losses/val_loss")), val_losses, rtol=1e-6)
    for tag in ("losses/train_loss", "losses/val_jpg_mse", "learning_rate"):
        assert np.isfinite(np.ravel(of(tag))).all() and of(tag), tag
    for layer in range(1, 5):  # rows of a histogram: from, to, how many
        for part in ("kernel", "bias"):
            assert of(f"weights/layer{layer}_{part}")[-1][:, 2].sum() == SIZES[part][layer - 1]
    width, height, *pictures = of("JPG, corrected, BMP")[-1]
    with Image.open(io.BytesIO(pictures[0])) as picture:
        assert picture.size == (int(width), int(height)) and picture.width > 3 * picture.height - 1


@contextlib.contextmanager
def tensorboard(log: Path) -> Iterator[str]:
    """The program on a free port, as `tensorboard --logdir` starts it: its address."""
    command = [sys.executable, "-m", "tensorboard.main", "--logdir", str(log), "--port", "0"]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    try:
        assert process.stderr
        said = []
        for line in process.stderr:
            said.append(line)
            if found := re.search(r"TensorBoard \S+ at (http://\S+?)/? ", line):
                yield found[1]
                return
        raise AssertionError("".join(said))
    finally:
        process.terminate()
        process.communicate(timeout=30)


def scalars(address: str, tag: str) -> list[float]:
    """A curve, once the program has read it."""
    query = urllib.parse.urlencode({"run": "tensorboard", "tag": tag})
    url = f"{address}/data/plugin/scalars/scalars?{query}"
    for _ in range(120):
        with contextlib.suppress(urllib.error.HTTPError), urllib.request.urlopen(url, timeout=60) as answer:
            return [value for _, _, value in json.load(answer)]
        time.sleep(0.25)
    raise AssertionError(f"{url} has no such curve after 30 s")


# ---- what the documents tell ---------------------------------------------------------------


def test_the_pictures_of_docs_are_those_that_the_script_draws(walks: Walks) -> None:
    """Up to what another processor rounds elsewhere."""
    drawn_in = walks.folder("draw")
    names = sorted(path.name for path in drawn_in.iterdir())
    assert names == sorted(path.name for path in (ROOT / "docs").glob("*.png"))
    for name in names:
        with Image.open(drawn_in / name) as drawn, Image.open(ROOT / "docs" / name) as there:
            assert drawn.size == there.size
            assert np.abs(np.asarray(drawn).astype(int) - np.asarray(there)).mean() < 1, name


def test_the_formats_are_those_that_are_written(walks: Walks) -> None:
    work = walks.folder("readme") / "work"
    split = json.loads((work / "tfrecords/train/split.json").read_text())
    assert sorted(first_cells(section("docs/format.md", "`split.json`"))) == sorted(split)
    told = section("docs/format.md", "Weights")
    with np.load(work / "log/model_checkpoint.npz") as arrays:
        layers = [f"layer{number}_{part}" for part in ("kernel", "bias") for number in (1, 2, 3, 4)]
        listed = set(first_cells(told)) | set(layers)
        assert listed == set(arrays) and all(
            f"[{', '.join(map(str, arrays[n].shape))}]" in told for n in layers[:4]
        )
    net, lines = blocks_of("docs/format.md", "json")
    assert json.loads(net) == json.loads((work / "log/model_checkpoint.json").read_text())
    columns = (work / "log/losses.csv").read_text().splitlines()[0].split(",")
    assert re.findall(r"`(\w+)`", told.split("for each validation:")[1].split("Losses are")[0]) == columns
    journal = (work / "results/.car_results.jsonl").read_text().splitlines()
    assert [list(json.loads(line)) for line in lines.splitlines()] == [
        list(json.loads(line)) for line in journal[:2]
    ]
