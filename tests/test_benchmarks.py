"""benchmarks/ and pretrained/train.py: what docs/ tells people to run, each here at small size.

What needs other engines, a cluster or a plot is run where these are installed (benchmarks/requirements.txt).
"""

import functools
import json
import re
import shlex
import sys
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import ROOT, run
from PIL import Image
from test_docs import check_taken

sys.path[:0] = [str(ROOT / "benchmarks"), str(ROOT / "pretrained")]

import colours
import crops
import pieces
import points
import quality
import quality_table
import scale
import scaling
import speed

from car import fast_conv, images


@pytest.fixture(scope="module")
def clean(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two clean colour images, named as two kinds of drawn pictures."""
    folder = tmp_path_factory.mktemp("clean")
    for name in ("astronaut", "coffee"):
        with Image.open(ROOT / f"samples/{name}.bmp") as image:
            image.crop((180, 60, 252, 116)).save(folder / f"{name}_0.bmp")
    return folder


# ---- quality -------------------------------------------------------------------------------


def test_quality_is_by_the_papers_protocol(clean: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """PSNR before, of MATLAB's luma; and each gain is that of the two columns."""
    assert quality.main([str(clean), "--quality", "10", "40"]) == 0
    found = {int(row[0]): list(map(float, row[1:])) for row in rows_in(capsys.readouterr().out)}
    for level in (10, 40):
        psnrs = []
        for path in clean.iterdir():
            with Image.open(path) as image:
                red, green, blue = np.moveaxis(np.asarray(image, float), 2, 0)
            luma = np.round(16 + (65.481 * red + 128.553 * green + 24.966 * blue) / 255).astype(np.uint8)
            saved = images.decode_jpeg(images.jpeg_bytes(luma, level)).pixels
            psnrs.append(10 * np.log10(255**2 / np.square(saved.astype(float) - luma).mean()))
        before, _, _, after, _, _, gain, least = found[level]
        assert before == pytest.approx(np.mean(psnrs), abs=1e-3)
        assert gain == pytest.approx(after - before, abs=2e-3) and 0.3 < gain < 3 and least <= gain


def rows_in(printed: str) -> list[list[str]]:
    """The rows of a table: a name and eight figures."""
    split = [line.rsplit(maxsplit=8) for line in printed.splitlines()]
    return [row for row in split if len(row) == 9 and re.fullmatch(r"-?[\d.]+", row[1])]


@pytest.mark.parametrize(
    "options, names",
    [
        ("--as colour --quality 20", ["20"]),
        ("--as full-range --quality 90 --against pretrained/q90", ["90"]),
        ("--twice 30 --quality 75", ["75"]),
        ("--quality 20 --ignore-header --ensemble", ["20"]),
        ("--drawn --quality 50", ["50", "50 astronaut", "50 coffee"]),
    ],
)
def test_ways_to_measure_quality(
    clean: Path, capsys: pytest.CaptureFixture[str], options: str, names: list[str]
) -> None:
    assert quality.main([str(clean), *options.replace("pretrained", f"{ROOT}/pretrained").split()]) == 0
    printed = capsys.readouterr().out
    rows = rows_in(printed)
    assert [row[0].strip() for row in rows] == names
    assert all(float(row[4]) - float(row[1]) == pytest.approx(float(row[7]), abs=2e-3) for row in rows)
    assert (
        ("over --ignore-history" in printed) == ("first savings found" in printed) == ("--twice" in options)
    )
    assert (f"over {ROOT}/pretrained/q90" in printed) == ("--against" in options)


def test_tables_of_other_encoders(clean: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert quality.main([str(clean), "--tables"]) == 0
    names = [row[0].strip() for row in rows_in(capsys.readouterr().out)]
    assert {"Photoshop web low", "mozjpeg 75", "flat 16"} < set(names) and len(names) == 16


def test_the_quality_table_is_of_commands_that_are_taken(
    clean: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    asked: list[list[str]] = []

    def note(script: Path, *options: object) -> None:
        asked.append(["python", str(script.relative_to(ROOT)), *map(str, options)])

    monkeypatch.setattr(quality_table, "run", note)
    assert quality_table.main([str(clean)]) == 0
    heads = [line for line in capsys.readouterr().out.splitlines() if line.startswith("quality.py")]
    assert len(heads) == len([words for words in asked if words[1].endswith("quality.py")]) == 12
    for words in asked:
        check_taken(words, monkeypatch)


def test_the_training_from_nothing_is_of_commands_that_are_taken(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    printed = run("pretrained/train.py", tmp_path, tmp_path / "work", "blind", "q20", "q95", "--dry-run").out
    commands = [shlex.split(line)[1:] for line in printed.splitlines()]
    scripts = {Path(words[0]).name for words in commands}
    assert {"load_train_data.py", "train_car.py", "fit_gains.py", "part_way.py", "train_chroma.py"} < scripts
    for words in commands:
        check_taken(["python", *words], monkeypatch)


# ---- speed ---------------------------------------------------------------------------------


def test_the_fast_form_against_the_direct_one(clean: Path, tmp_path: Path) -> None:
    assert (
        speed.main(["--images", str(clean), "--parts", "difference", "--out", str(tmp_path / "speed")]) == 0
    )
    found = json.loads((tmp_path / "speed.json").read_text())["difference"]
    assert 0 < found["largest"] < 0.1 and 0.99 < found["equal"] <= 1


def test_other_engines(tmp_path: Path) -> None:
    for name in ("torch", "openvino", "matplotlib"):
        pytest.importorskip(name, reason="benchmarks/requirements.txt")
    options = ["--parts", "net", "bfloat16", "--sizes", "48", "--rounds", "1"]
    assert speed.main([*options, "--out", str(tmp_path / "speed")]) == 0
    (row,) = json.loads((tmp_path / "speed.json").read_text())["net"]
    assert {"suite", "PyTorch"} < set(row["speeds"]) and row["ratio"] > 0
    assert (tmp_path / "speed.png").exists()


def test_the_points_of_the_fast_convolution_are_looked_for(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Of the choices a few; those of car/fast_conv.py are the best of them, the usual ones the worst."""
    chosen = fast_conv.PAIRS[10]
    monkeypatch.setattr(
        points,
        "combinations",
        lambda these, n: [tuple(Fraction(pair).limit_denominator(5) for pair in chosen)],
    )
    assert points.main(["10"]) == 0
    printed = capsys.readouterr().out
    ranks = {line.split()[0]: int(re.findall(r"rank +(\d+)", line)[0]) for line in printed.splitlines()[-2:]}
    assert ranks == {"fast_conv": 1, "usual": 2}


# ---- many machines -------------------------------------------------------------------------


def test_what_a_million_photographs_take(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """By the figures that docs/scale.md has; what is measured anew is measured small."""
    measured = json.loads(scale.MEASURED.read_text())
    (tmp_path / "scale.json").write_text(json.dumps(measured))
    monkeypatch.setattr(scale, "MEASURED", tmp_path / "scale.json")
    monkeypatch.setattr(pieces, "time_books", functools.partial(pieces.time_books, count=4000))
    assert scale.main(["--parts", "books", "formats", "needs"]) == 0
    found = json.loads((tmp_path / "scale.json").read_text())
    assert found["books"].keys() == measured["books"].keys()
    assert found["books"]["bytes a row"] == pytest.approx(measured["books"]["bytes a row"], rel=0.1)
    hours = found["needs"]["photograph"]["core hours"]
    assert hours == pytest.approx(1e6 * measured["pictures"]["photograph"]["seconds"] / 3600)
    assert found["needs"]["photograph"]["dollars"] == pytest.approx(hours / 20)
    assert found["formats"]["bmp"]["bytes a pixel"] == pytest.approx(3, rel=0.01)
    assert "1,000,000 of photograph" in capsys.readouterr().out


def test_the_exchange_that_is_modelled() -> None:
    """Of 8 machines each sends 7/8 of the gradient twice; a step is never shorter than its exchange."""
    assert scaling.bytes_of_ring(1) == 0 and scaling.bytes_of_ring(8) == 2 * 7 / 8 * 106_561 * 4


def test_training_together_is_timed(long: bool, tmp_path: Path) -> None:
    if not long:
        pytest.skip("with --long: three starts of two processes")
    assert scaling.main(["--rounds", "1", "--steps", "1", "--out", str(tmp_path / "scaling.json")]) == 0
    found = json.loads((tmp_path / "scaling.json").read_text())
    assert found["measured"]["sent"] == pytest.approx(scaling.bytes_of_ring(2), rel=0.05)


# ---- pictures ------------------------------------------------------------------------------


@pytest.fixture
def sheets(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Rows of a sheet that would be written over one of docs/."""
    saved: list[Any] = []
    monkeypatch.setattr(crops, "save_sheet", lambda path, rows: saved.extend(rows))
    return saved


def test_crops(sheets: list[Any], tmp_path: Path) -> None:
    for name, *_ in crops.CROPS:  # as run_car_images.py would leave them
        with Image.open(ROOT / f"samples/{name}.jpg") as image:
            image.convert("RGB").save(tmp_path / f"{name}_car.bmp")
    assert crops.main([str(tmp_path)]) == 0
    assert len(sheets) == 2 and all(row.width > 3 * crops.SIDE * crops.MAGNIFIED - 1 for row in sheets)


def test_crops_of_colours(sheets: list[Any]) -> None:
    assert colours.main([]) == 0
    assert len(sheets) == 4 and all(row.width > 4 * crops.SIDE * crops.MAGNIFIED - 1 for row in sheets)


def test_a_folder_by_ray(long: bool, capsys: pytest.CaptureFixture[str]) -> None:
    if not long:
        pytest.skip("with --long: a start of Ray")
    pytest.importorskip("ray", reason="cluster/requirements.txt")
    import ray_folder

    assert ray_folder.main(["--count", "10", "--rounds", "1"]) == 0
    assert "10 JPGs of 320x240: script" in (printed := capsys.readouterr().out) and "results equal" in printed


def test_blocks_of_ray(
    long: bool, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    if not long:
        pytest.skip("with --long: a start of Ray")
    pytest.importorskip("ray", reason="cluster/requirements.txt")
    import ray_blocks

    monkeypatch.setattr(ray_blocks, "MANY", 100)
    assert ray_blocks.main([]) == 0
    assert int(re.findall(r"(\d+) blocks a second", capsys.readouterr().out)[0]) > 5
