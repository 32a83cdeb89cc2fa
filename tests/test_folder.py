"""car/folder.py: a folder of JPEGs, corrected with a plain function in the net's place."""

import dataclasses
import math
import os
import re
import shutil
import signal
import threading
import time
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import numpy as np
import psutil
import pytest
from conftest import ROOT
from PIL import Image, ImageCms, ImageFont
from reference import Array, plain_ssim

from car import cli, figures, folder, room, rows, saying, stop
from car.correct import NO_GAINS, Corrector, Net
from car.errors import BadImage, Stopped, UserError
from car.find import Picture
from car.jobs import Job
from car.journal import Journal
from car.rows import Row
from car.saying import Outcome, Saved

Capture = pytest.CaptureFixture[str]
Monkey = pytest.MonkeyPatch
PROFILE = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


def lighter(tiles: Array, contrast: float) -> Array:
    """Each pixel lighter by 3."""
    return tiles[:, 9:-9, 9:-9].astype(np.float32) + 3


def corrector(forward: Callable[[Array, float], Array] = lighter, **options: Any) -> Corrector:
    return Corrector({None: Net(forward, NO_GAINS)}, ignore_header=True, luma_only=True, **options)


def photograph(width: int = 24, height: int = 16, left: int = 150) -> Image.Image:
    return Image.open(ROOT / "samples/astronaut.bmp").crop((left, 60, left + width, 60 + height))


def pixels(path: Path) -> Array:
    return np.asarray(Image.open(path))


@pytest.fixture(autouse=True)
def state(monkeypatch: Monkey) -> None:
    """Nothing noted, nothing asked for."""
    monkeypatch.setattr(cli, "_loudness", cli.USUAL)
    monkeypatch.setattr(stop, "_asked", 0)


@pytest.fixture
def job(tmp_path: Path) -> Job:
    """Three JPEGs a, b, c of different widths; beside a and c a BMP. And an empty folder for results."""
    data, results = tmp_path / "data", tmp_path / "results"
    data.mkdir()
    results.mkdir()
    for number, name in enumerate("abc"):
        photograph(24 + 8 * number).save(data / f"{name}.jpg", quality=30)
        if name != "b":
            photograph(24 + 8 * number).save(data / f"{name}.bmp")
    return Job(data, results)


def book(job: Job) -> Journal:
    return Journal(job.results, job.part, job.parts, folder.settings_of(corrector(), job.weights))


def shown(job: Job) -> list[str]:
    """The results, sorted, without the journal."""
    return sorted(name for name in os.listdir(job.results) if not name.startswith("."))


def jpegs(job: Job) -> list[Picture]:
    return [Picture(path, path.name) for path in sorted(job.data.glob("*.jpg"))]


def named(job: Job, name: str) -> Picture:
    return Picture(job.data / name, name)


# ---- one image -----------------------------------------------------------------------------


def test_an_image_is_loaded_with_its_bmp(job: Job) -> None:
    loaded = folder.load(job, book(job), corrector(), named(job, "a.jpg"))
    np.testing.assert_array_equal(loaded.picture.pixels, pixels(job.data / "a.jpg"))
    assert loaded.truth is not None
    np.testing.assert_array_equal(loaded.truth, pixels(job.data / "a.bmp"))
    assert len(loaded.picture.planes) == 1 and loaded.picture.planes[0].table is None  # as the corrector asks
    assert folder.load(job, book(job), corrector(), named(job, "b.jpg")).truth is None


def test_a_bmp_beside_a_turned_jpeg_is_upright(job: Job) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    photograph(24, 16).save(job.data / "d.jpg", exif=exif)
    photograph(24, 16).transpose(Image.Transpose.ROTATE_270).save(job.data / "d.bmp")
    loaded = folder.load(job, book(job), corrector(), named(job, "d.jpg"))
    assert loaded.truth is not None and loaded.truth.shape == (24, 16, 3)
    photograph(24, 16).save(job.data / "d.bmp")
    with pytest.raises(BadImage, match=r"^d.jpg: .*JPG 16x24, clean picture 24x16"):
        folder.load(job, book(job), corrector(), named(job, "d.jpg"))


def test_what_cannot_be_loaded(job: Job) -> None:
    long = "n" * (255 - len("..partial") - len("_car.bmp"))
    for name, fits in ((long, True), (long + "n", False)):
        path = job.data / f"{name}.jpg"
        photograph().save(path)
        if fits:
            folder.load(job, book(job), corrector(), named(job, path.name))
        else:
            with pytest.raises(BadImage, match=f"^{name}.jpg: .* too long"):
                folder.load(job, book(job), corrector(), named(job, path.name))
    with pytest.raises(BadImage, match="limit"):
        folder.load(job, book(job), corrector(max_pixels=383), named(job, "a.jpg"))
    photograph(25, 16).save(job.data / "a.bmp")  # 400 pixels, the JPG has 384
    with pytest.raises(BadImage, match=r"a.bmp: .*limit of 390"):
        folder.load(job, book(job), corrector(max_pixels=390), named(job, "a.jpg"))


def corrected(job: Job, name: str) -> Any:
    return corrector().correct(job.data / name)


def test_an_image_is_saved_and_measured(job: Job) -> None:
    made, truth = corrected(job, "a.jpg"), pixels(job.data / "a.bmp")
    saved = folder.save(job, book(job), named(job, "a.jpg"), made, truth)
    assert shown(job) == ["a_car.bmp"]
    np.testing.assert_array_equal(pixels(job.results / "a_car.bmp"), made.pixels)
    assert Image.open(job.results / "a_car.bmp").format == "BMP"
    assert (saved.row.size, saved.lost, saved.damaged) == ((24, 16), [], ())
    measured = saved.row.figures
    assert measured is not None
    before, after, clean = (
        picture @ np.array([0.299, 0.587, 0.114])
        for picture in (pixels(job.data / "a.jpg"), made.pixels, truth)
    )
    assert measured.mse_before == pytest.approx(((before - clean) ** 2).mean())
    assert measured.mse_after == pytest.approx(((after - clean) ** 2).mean())
    assert measured.ssim_after == pytest.approx(plain_ssim(after, clean))
    assert measured.mse_before != measured.mse_after
    assert folder.save(job, book(job), named(job, "b.jpg"), corrected(job, "b.jpg"), None).row.figures is None


def test_a_png_keeps_metadata_and_a_bmp_loses_it(job: Job) -> None:
    exif = Image.Exif()
    exif[0x010F] = "Maker"
    kinds: dict[str, tuple[dict[str, Any], list[str], str]] = {
        "e": ({"exif": exif}, ["exif"], "EXIF"),
        "p": (
            {"icc_profile": PROFILE, "comment": b"a comment"},
            ["icc_profile", "comment"],
            "ICC profile, comment",
        ),
        "n": ({"dpi": (300, 300)}, [], ""),
    }
    for name, (options, left, said) in kinds.items():
        path = job.data / f"{name}.jpg"
        photograph().save(path, **options)
        saved = folder.save(job, book(job), named(job, path.name), corrected(job, path.name), None)
        assert (saved.lost, saved.row.left) == (left, said)
        assert saved.row.kept == ("density" if name == "n" else "")
        assert (Image.open(job.results / f"{name}_car.bmp").info["dpi"][0] > 299) is (name == "n")
        png = Job(job.data, job.results, "png")
        saved = folder.save(png, book(png), named(job, path.name), corrected(job, path.name), None)
        assert saved.lost == [] and saved.row.kept.startswith(said) and saved.row.left == ""
        result = Image.open(job.results / f"{name}_car.png")
        assert result.format == "PNG" and result.getexif().get(0x010F) == ("Maker" if name == "e" else None)
        assert result.info.get("icc_profile") == (PROFILE if name == "p" else None)
        assert result.info.get("Comment") == ("a comment" if name == "p" else None)


def test_damaged_exif_is_told(job: Job) -> None:
    photograph().save(job.data / "a.jpg", exif=b"Exif\0\0not a header at all")
    saved = folder.save(job, book(job), named(job, "a.jpg"), corrected(job, "a.jpg"), None)
    assert saved.damaged == ("its EXIF is damaged and was left out",) and saved.lost == []
    assert saved.row.left == "its EXIF is damaged and was left out"


@pytest.mark.parametrize("form", ["bmp", "png"])
def test_a_result_has_the_time_of_its_jpeg(job: Job, form: str) -> None:
    job, jpg = Job(job.data, job.results, form), job.data / "b.jpg"
    nanoseconds = 1_200_000_000_123_456_700
    os.utime(jpg, ns=(nanoseconds, nanoseconds))
    made = corrected(job, "b.jpg")
    folder.save(job, book(job), named(job, jpg.name), made, None)
    assert (
        abs(job.result(named(job, jpg.name)).stat().st_mtime_ns - nanoseconds) < 2_000_000_000
    )  # as fine as the disk has it
    jpg.unlink()
    folder.save(job, book(job), named(job, jpg.name), made, None)
    assert abs(job.result(named(job, jpg.name)).stat().st_mtime - time.time()) < 60


def test_a_sheet_beside_the_result(job: Job) -> None:
    job = Job(job.data, job.results, compare=True)
    made, truth = corrected(job, "a.jpg"), pixels(job.data / "a.bmp")
    folder.save(job, book(job), named(job, "a.jpg"), made, truth)
    assert shown(job) == ["a_car.bmp", "a_compare.png"]
    sheet = pixels(job.results / "a_compare.png")
    wide = math.ceil(ImageFont.load_default().getlength("corrected"))  # a title is not cut
    for panel, left in zip((made.before, made.pixels, truth), (8, 40, 48 + wide), strict=True):
        np.testing.assert_array_equal(sheet[18:34, left : left + 24], panel)
    folder.save(job, book(job), named(job, "b.jpg"), corrected(job, "b.jpg"), None)
    assert (
        pixels(job.results / "b_compare.png").shape[1] == sheet.shape[1] - 32 + 8
    )  # without a BMP, b is wider


# ---- a folder ------------------------------------------------------------------------------


def csv_names(path: Path) -> list[str]:
    return list(rows.read(path))


def test_a_folder_is_corrected(job: Job, capsys: Capture) -> None:
    outcome = folder.correct_all(job, corrector(), jpegs(job))
    assert (outcome.found, outcome.skipped, outcome.begun, outcome.bad) == (3, 0, 3, [])
    assert shown(job) == ["a_car.bmp", "b_car.bmp", "c_car.bmp", "figures.csv"]
    for name in "abc":
        decoded = pixels(job.data / f"{name}.jpg").astype(int)
        np.testing.assert_array_equal(pixels(job.results / f"{name}_car.bmp"), np.minimum(decoded + 3, 255))
    assert rows.read(job.figures) == outcome.rows and list(outcome.rows) == ["a", "b", "c"]
    lines = capsys.readouterr().out.splitlines()
    assert [line.split(":")[0] for line in lines[:2]] == ["a.jpg", "c.jpg"] and len(lines) == 3
    first, second = outcome.rows["a"], outcome.rows["b"]
    assert first.figures and lines[0] == f"a.jpg: {figures.describe(first.figures)}"
    assert first.size == (24, 16) and first.seconds and 0 < first.seconds < 5
    assert second == Row(
        *("b", "corrected", "", (32, 16), None, "", ("the log's own", "", ""), (3.0, None, None)),
        seconds=second.seconds,
    )
    assert re.fullmatch(r"3/3 images, 00:00:0\d taken, \d+\.\d\d megapixels a second", lines[2])


def test_the_rate_is_of_all_pixels_so_far(job: Job, capsys: Capture) -> None:
    progress = types.SimpleNamespace(seconds=2.0, notes=[])
    progress.step = lambda note="": progress.notes.append(note)
    say = saying.Saying(cast(cli.Progress, progress), "bmp")
    for count, seconds in ((3, 2e-6), (1, 5e-6), (10**12 - 4, 2.0)):
        progress.seconds = seconds
        say.saved("a.jpg", Saved(Row("a", rows.CORRECTED, size=(count, 1))))
    assert progress.notes == [f"{rate} megapixels a second" for rate in ("1.50", "0.80", "500000.00")]
    assert capsys.readouterr().out == ""


def test_a_bad_image_is_named_and_the_others_go_on(job: Job, capsys: Capture) -> None:
    (job.data / "b.jpg").write_bytes((job.data / "b.jpg").read_bytes()[:-8])
    outcome = folder.correct_all(job, corrector(), jpegs(job))
    assert (outcome.found, outcome.begun, outcome.bad) == (3, 3, ["b.jpg"])
    assert shown(job) == ["a_car.bmp", "c_car.bmp", "figures.csv"]
    said = capsys.readouterr().out
    assert "left out: b.jpg: cannot be decoded" in said and "3/3 images" in said
    saying.say_outcome(job, outcome)
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == f"corrected 2 of 3 images into {job.results}, left out 1"
    measured = [outcome.rows[name].figures for name in "ac"]
    assert lines[1] == figures.describe_mean([one for one in measured if one]) and "mean of 2" in lines[1]
    assert outcome.rows["b"][:2] == ("b", "left out") and outcome.rows["b"].why.startswith(
        "cannot be decoded"
    )
    # It is tried again.
    assert (
        folder.correct_all(dataclasses.replace(job, skip_existing=True), corrector(), jpegs(job)).begun == 1
    )
    capsys.readouterr()
    assert lines[2:] == ["left out as bad: 1 (b.jpg)"]


def test_a_picture_without_a_clean_one_has_a_row(job: Job, capsys: Capture) -> None:
    outcome = folder.correct_all(job, corrector(), [named(job, "b.jpg")])
    assert shown(job) == ["b_car.bmp", "figures.csv"] and csv_names(job.figures) == ["b"]
    capsys.readouterr()
    saying.say_outcome(job, outcome)
    assert capsys.readouterr().out == f"corrected 1 of 1 images into {job.results}\n"


@pytest.mark.parametrize("loudness, lines", [(cli.QUIET, 0), (cli.USUAL, 3), (cli.VERBOSE, 6)])
def test_how_much_is_said(job: Job, capsys: Capture, monkeypatch: Monkey, loudness: int, lines: int) -> None:
    monkeypatch.setattr(cli, "_loudness", loudness)
    folder.correct_all(job, corrector(), jpegs(job))
    said = capsys.readouterr().out
    assert len(said.splitlines()) == lines
    detail = "b.jpg: corrected; weights: the log's own; mean change 3.00 (luma) grey levels; "
    assert (detail in said) == (loudness == cli.VERBOSE)


def test_lost_metadata_is_said_once_and_damaged_exif_each_time(job: Job, capsys: Capture) -> None:
    for name in "ab":
        photograph().save(job.data / f"{name}.jpg", icc_profile=PROFILE)
    for name in "cd":
        photograph(40).save(job.data / f"{name}.jpg", exif=b"Exif\0\0not a header at all")
    folder.correct_all(job, corrector(), jpegs(job))
    said = capsys.readouterr().out
    assert (
        said.count("--format png") == 1
        and "a.jpg: BMP holds no ICC profile; --format png, jpg, tiff or webp keeps it" in said
    )
    assert [name for name in "abcd" if f"{name}.jpg: its EXIF is damaged" in said] == ["c", "d"]


def test_each_kind_of_lost_metadata_is_said_once(job: Job, capsys: Capture) -> None:
    for name, options in (("a", {"comment": b"one"}), ("b", {"comment": b"two", "icc_profile": PROFILE})):
        photograph().save(job.data / f"{name}.jpg", **cast(Any, options))
    folder.correct_all(job, corrector(), jpegs(job))
    said = [line for line in capsys.readouterr().out.splitlines() if "holds" in line]
    assert said == [
        "a.jpg: BMP holds no comment; --format png, jpg or tiff keeps it",
        "b.jpg: BMP holds no ICC profile; --format png, jpg, tiff or webp keeps it",
    ]


def test_each_kind_of_what_stands_behind_a_picture_is_said_once(job: Job, capsys: Capture) -> None:
    for name, behind in (("a", b"ftypmp42"), ("b", b"ftypisom"), ("c", b"ftypmp42, hdrgm: in another")):
        with open(job.data / f"{name}.jpg", "ab") as file:
            file.write(behind.replace(b"hdrgm:", b"http://ns.adobe.com/hdr-gain-map/1.0/"))
    folder.correct_all(job, corrector(), jpegs(job))
    said = [line for line in capsys.readouterr().out.splitlines() if "not kept" in line]
    assert said == ["a.jpg: not kept: a video", "c.jpg: not kept: a gain map, a video"]


@pytest.mark.parametrize("form", ["png", "tiff", "webp"])
def test_a_result_in_another_format(job: Job, form: str) -> None:
    folder.correct_all(job, corrector(), jpegs(job))
    folder.correct_all(dataclasses.replace(job, format=form), corrector(), jpegs(job))
    for name in "abc":
        np.testing.assert_array_equal(
            pixels(job.results / f"{name}_car.{form}"), pixels(job.results / f"{name}_car.bmp")
        )


def test_a_result_as_jpeg(job: Job, capsys: Capture) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    photograph(24, 16).save(job.data / "d.jpg", exif=exif, comment=b"mine", subsampling="4:2:0")
    as_jpeg = dataclasses.replace(job, format="jpg", jpeg_quality=100)
    folder.correct_all(as_jpeg, corrector(), jpegs(job))
    for name in "abcd":
        result, before = job.results / f"{name}_car.jpg", pixels(job.data / f"{name}.jpg")
        change = pixels(result).astype(int) - before
        assert result.stat().st_mtime == (job.data / f"{name}.jpg").stat().st_mtime
        assert np.abs(change[(before > 20) & (before < 230)] - 3).max() <= 3
    assert Image.open(result).getexif()[0x0112] == 6 and Image.open(result).info["comment"] == b"mine"
    assert "holds no" not in capsys.readouterr().out
    coarse = dataclasses.replace(job, format="jpg", jpeg_quality=10, skip_existing=True)
    with pytest.raises(UserError, match="--jpeg-quality 100 there, 10 now"):
        folder.correct_all(coarse, corrector(), jpegs(job))


def test_a_jpeg_that_does_not_change_is_copied(
    job: Job, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cli, "_loudness", cli.VERBOSE)
    photograph(40).convert("CMYK").save(job.data / "c.jpg")
    with open(job.data / "a.jpg", "ab") as file:
        file.write(b"\0\0\0\x18ftypmp42")
    as_jpeg = dataclasses.replace(job, format="jpg")
    folder.correct_all(as_jpeg, corrector(strength=0.0), jpegs(job))
    for name in "ab":
        assert (job.results / f"{name}_car.jpg").read_bytes() == (job.data / f"{name}.jpg").read_bytes()
    said = capsys.readouterr().out
    assert said.count("the result is the file itself") == 2 and "a video" not in said
    assert Image.open(job.results / "c_car.jpg").mode == "RGB"


def test_a_new_saving_is_as_fine_as_the_file_asks_for(job: Job, capsys: Capture, monkeypatch: Monkey) -> None:
    monkeypatch.setattr(cli, "_loudness", cli.VERBOSE)

    def rougher(tiles: Array, contrast: float) -> Array:
        inner = tiles[:, 9:-9, 9:-9].astype(np.float32)
        return inner + np.sin(7 * inner) * 2

    nets = {factor: Net(rougher, NO_GAINS) for factor in (None, 0.3, 0.06)}
    for name, quality in (("a", 50), ("b", 93), ("c", 97)):
        wide = {"a": 24, "b": 32, "c": 40}[name]
        photograph(wide).save(job.data / f"{name}.jpg", quality=quality)
    measured: dict[int, tuple[Array, ...]] = {}
    measure = figures.measure

    def spied(*shown: Array) -> Any:
        measured[shown[0].shape[1]] = shown
        return measure(*shown)

    monkeypatch.setattr(figures, "measure", spied)
    folder.correct_all(dataclasses.replace(job, format="jpg"), Corrector(nets, luma_only=True), jpegs(job))
    tables = {name: Image.open(job.results / f"{name}_car.jpg").quantization for name in "abc"}  # type: ignore[attr-defined]
    assert [tables[name][0][1] for name in "abc"] == [1, 1, 1] and tables["a"][0][63] == 10
    assert tables["b"][0][63] == 4  # 98
    assert (job.results / "c_car.jpg").read_bytes() == (job.data / "c.jpg").read_bytes()
    said = capsys.readouterr().out
    assert (
        said.count("the result is the file itself") == 1 and "c.jpg: a new saving would gain nothing" in said
    )
    for name, width in (("a", 24), ("c", 40)):  # figures are of what is in the file
        np.testing.assert_array_equal(measured[width][1], pixels(job.results / f"{name}_car.jpg"))
    told = dataclasses.replace(job, format="jpg", jpeg_quality=90)
    folder.correct_all(told, Corrector(nets, luma_only=True), jpegs(job))
    said = capsys.readouterr().out
    for name, needed in (("b", 98), ("c", 100)):  # 90 is fine enough for a
        assert f"{name}.jpg: not kept: detail: --jpeg-quality 90, this file needs {needed}\n" in said
    assert "a.jpg: not kept" not in said


@pytest.mark.parametrize("form", ["png", "tiff"])
def test_a_result_of_16_bits(job: Job, form: str, capsys: Capture) -> None:
    def between(tiles: Array, contrast: float) -> Array:
        return lighter(tiles, contrast) + np.float32(0.5 + 2 / 257)

    fine = dataclasses.replace(job, format=form)
    folder.correct_all(fine, corrector(between, bits=16), jpegs(job))
    for name in "abc":
        before = pixels(job.data / f"{name}.jpg").astype(int)
        wanted = np.clip(before * 257 + 3 * 257 + 128 + 2, 0, 65535)
        upper = pixels(job.results / f"{name}_car.{form}")  # all that Pillow reads
        assert np.abs(upper - (wanted - 1) // 256).max() <= 1 and (upper == wanted // 256).mean() > 0.9
    assert "holds no" not in capsys.readouterr().out
    skip = dataclasses.replace(fine, skip_existing=True)
    with pytest.raises(UserError, match="--bits 16 there, not set now"):
        folder.correct_all(skip, corrector(between), jpegs(job))


@pytest.mark.parametrize("link", ["none", "symlink_to", "hardlink_to"])
def test_no_picture_is_overwritten(job: Job, capsys: Capture, link: str) -> None:
    """Results of an earlier run, which may be replaced otherwise, are now pictures to be corrected."""
    as_jpeg = dataclasses.replace(job, format="jpg", suffix="")
    folder.correct_all(as_jpeg, corrector(), jpegs(job))
    before = {path.name: path.read_bytes() for path in job.results.glob("*.jpg")}
    if link == "none":  # as of a list of paths
        named = [Picture(job.results / "a.jpg", "a.jpg"), *jpegs(job)[1:]]
    else:
        (job.data / "z.jpg").unlink(missing_ok=True)
        getattr(job.data / "z.jpg", link)(job.results / "a.jpg")
        named = jpegs(job)
    capsys.readouterr()
    outcome = folder.correct_all(
        dataclasses.replace(as_jpeg, jpeg_quality=50, found=named), corrector(), named[:1]
    )
    picture = "a.jpg" if link == "none" else "z.jpg"
    assert outcome.bad == ["a.jpg"] and f"which is the picture {picture}: give" in capsys.readouterr().out
    assert {path.name: path.read_bytes() for path in job.results.glob("*.jpg")} == before
    rest = dataclasses.replace(as_jpeg, jpeg_quality=50, found=named)
    assert not folder.correct_all(rest, corrector(), named[1:3]).bad  # those go on, results replaced
    assert (job.results / "b.jpg").read_bytes() != before["b.jpg"]


def test_a_picture_too_large_for_a_format_is_named(job: Job, capsys: Capture) -> None:
    Image.new("L", (16_384, 8)).save(job.data / "b.jpg")
    outcome = folder.correct_all(dataclasses.replace(job, format="webp"), corrector(), jpegs(job))
    assert outcome.bad == ["b.jpg"] and shown(job) == ["a_car.webp", "c_car.webp", "figures.csv"]
    assert "left out: b.jpg: 16384x8 is too large for WEBP" in capsys.readouterr().out


def test_what_is_there_is_skipped(job: Job, capsys: Capture) -> None:
    folder.correct_all(job, corrector(), jpegs(job))
    first = {path.name: path.read_bytes() for path in job.results.iterdir()}
    again = Job(job.data, job.results, skip_existing=True)
    capsys.readouterr()

    def never(tiles: Array, contrast: float) -> Array:
        raise AssertionError("nothing is to be corrected")

    outcome = folder.correct_all(again, corrector(never), jpegs(job))
    assert (outcome.found, outcome.skipped, outcome.begun) == (3, 3, 0) and set(outcome.rows) == set("abc")
    assert {path.name: path.read_bytes() for path in job.results.iterdir()} == first
    assert re.fullmatch(r"3/3 images, 00:00:0\d taken\n", capsys.readouterr().out)
    saying.say_outcome(again, outcome)
    said = capsys.readouterr().out.splitlines()
    assert said[0] == f"corrected 0 of 3 images into {job.results}, 3 were there already"
    assert said[1].startswith("mean of 2 images")


def test_what_other_settings_made_is_refused_before_anything_is_done(job: Job) -> None:
    folder.correct_all(job, corrector(), jpegs(job))
    job.result(named(job, "a.jpg")).unlink()
    first = {path.name: path.read_bytes() for path in job.results.iterdir()}
    again = dataclasses.replace(job, skip_existing=True)
    with pytest.raises(UserError, match=r"--strength 1\.0 there, 0\.5 now;"):
        folder.correct_all(again, corrector(strength=0.5), jpegs(job))
    with pytest.raises(UserError, match=r"otherwise: other weights;"):
        folder.correct_all(dataclasses.replace(again, weights="1"), corrector(), jpegs(job))
    assert {path.name: path.read_bytes() for path in job.results.iterdir()} == first
    # Only what decides the pixels counts.
    outcome = folder.correct_all(again, corrector(max_pixels=10_000, core_side=32), jpegs(job))
    assert (outcome.skipped, outcome.begun, outcome.bad) == (2, 1, [])
    # Without --skip-existing all is made anew.
    folder.correct_all(job, corrector(strength=0.5), jpegs(job))
    assert folder.correct_all(again, corrector(strength=0.5), jpegs(job)).skipped == 3


def test_the_side_of_isolated_tiles_is_a_setting() -> None:
    assert "--patch-size" not in folder.settings_of(corrector(core_side=32), "")
    assert folder.settings_of(corrector(core_side=32, halo=0), "")["--patch-size"] == 32


def test_the_precision_is_a_setting() -> None:
    assert "--precision" not in folder.settings_of(corrector(), "")
    assert folder.settings_of(corrector(precision="bfloat16"), "")["--precision"] == "bfloat16"
    with pytest.raises(ValueError, match="precision is float16; it must be one of float32, bfloat16"):
        corrector(precision="float16")


@pytest.mark.parametrize("skip", [False, True])
def test_a_users_files_are_named_and_stay(job: Job, capsys: Capture, skip: bool) -> None:
    job = dataclasses.replace(job, compare=True, skip_existing=skip)
    (job.results / "a_car.bmp").mkdir()
    (job.results / "b_car.bmp").write_text("theirs")
    outcome = folder.correct_all(job, corrector(), jpegs(job))
    assert outcome.bad == ["a.jpg", "b.jpg"] and outcome.begun == 3
    said = capsys.readouterr().out
    assert "left out: a.jpg: a_car.bmp is a folder" in said
    assert "left out: b.jpg: b_car.bmp is in" in said and "not written by this suite" in said
    assert (job.results / "b_car.bmp").read_text() == "theirs"
    assert shown(job) == ["a_car.bmp", "b_car.bmp", "c_car.bmp", "c_compare.png", "figures.csv"]
    job.sheet(named(job, "c.jpg")).write_text("changed")
    outcome = folder.correct_all(dataclasses.replace(job, skip_existing=False), corrector(), jpegs(job))
    assert outcome.bad == ["a.jpg", "b.jpg", "c.jpg"]
    assert job.sheet(named(job, "c.jpg")).read_text() == "changed"


def test_twins_have_results_and_figures_of_their_own(job: Job) -> None:
    photograph(24, left=0).save(job.data / "a.jpeg", "JPEG", quality=30)
    job = dataclasses.replace(job, told_apart={"a.jpeg": "a.jpeg"})
    twins = [named(job, "a.jpeg"), named(job, "a.jpg")]
    outcome = folder.correct_all(job, corrector(), twins)
    assert shown(job) == ["a.jpeg_car.bmp", "a_car.bmp", "figures.csv"]
    for jpg in twins:
        wanted = np.minimum(pixels(jpg.path).astype(int) + 3, 255)
        np.testing.assert_array_equal(pixels(job.result(jpg)), wanted)
    assert csv_names(job.figures) == ["a", "a.jpeg"] and (twin := outcome.rows["a.jpeg"].figures)
    assert twin and twin.mse_before > 500
    assert folder.correct_all(dataclasses.replace(job, skip_existing=True), corrector(), twins).skipped == 2


def test_a_result_whose_row_is_missing_is_made_again(job: Job) -> None:
    folder.correct_all(job, corrector(), jpegs(job))
    row = Row("c", rows.CORRECTED, quality=77)
    rows.write(job.figures, {"c": row, "gone": row._replace(name="gone")})  # as a kill leaves it
    again = Job(job.data, job.results, skip_existing=True)
    outcome = folder.correct_all(again, corrector(), jpegs(job))
    assert (outcome.skipped, outcome.begun) == (1, 2) and set(outcome.rows) == set("abc")
    assert rows.read(job.figures) == outcome.rows and outcome.rows["c"] == row
    assert outcome.rows["a"].figures and not outcome.rows["b"].figures
    # Without --skip-existing all is made, and nothing of the older CSV stays.
    rows.write(job.figures, {"x": row._replace(name="x")})
    outcome = folder.correct_all(job, corrector(), jpegs(job))
    assert outcome.begun == 3 and csv_names(job.figures) == ["a", "b", "c"]


def test_another_number_of_parts_makes_nothing_again(job: Job) -> None:
    folder.correct_all(job, corrector(), jpegs(job))
    part = dataclasses.replace(job, skip_existing=True, part=1, parts=2)
    assert folder.correct_all(part, corrector(), jpegs(job)[::2]).begun == 0
    assert csv_names(part.figures) == ["a", "c"]


def test_a_csv_that_is_none_of_ours_ends_it_before_it_begins(job: Job) -> None:
    job.figures.write_text("theirs\n")
    with pytest.raises(UserError, match="move it elsewhere"):
        folder.correct_all(job, corrector(), jpegs(job))
    assert shown(job) == ["figures.csv"]


def test_leftovers_go_and_a_shard_has_its_own_csv(job: Job) -> None:
    (job.results / ".a_compare.png.partial").touch()
    part = Job(job.data, job.results, part=1, parts=2)
    folder.correct_all(part, corrector(), jpegs(job)[::2])
    assert shown(job) == ["a_car.bmp", "c_car.bmp", "figures_1_of_2.csv"]


def test_a_signal_ends_it_after_the_image_in_hand(job: Job, monkeypatch: Monkey, capsys: Capture) -> None:
    seen = []

    def forward(tiles: Array, contrast: float) -> Array:
        seen.append(tiles.shape)
        if len(seen) == 2:
            monkeypatch.setattr(stop, "_asked", signal.SIGTERM)
        return lighter(tiles, contrast)

    photograph(48).save(job.data / "d.jpg")
    outcome = folder.correct_all(job, corrector(forward), jpegs(job))
    assert (outcome.found, outcome.begun, len(seen)) == (4, 2, 2)
    assert shown(job) == ["a_car.bmp", "b_car.bmp", "figures.csv"]
    capsys.readouterr()
    with pytest.raises(Stopped) as stopped:
        saying.say_outcome(job, outcome)
    assert "SIGTERM" in str(stopped.value) and "--skip-existing" in str(stopped.value)
    assert capsys.readouterr().out == f"corrected 2 of 4 images into {job.results}\n"


def test_a_signal_during_the_last_image_ends_nothing(job: Job, monkeypatch: Monkey) -> None:
    monkeypatch.setattr(stop, "_asked", signal.SIGINT)
    outcome = folder.correct_all(job, corrector(), [named(job, "a.jpg")])
    assert outcome.begun == 1
    saying.say_outcome(job, outcome)
    # What was there already counts too.
    saying.say_outcome(job, Outcome(3, skipped=2, begun=1))
    with pytest.raises(Stopped):
        saying.say_outcome(job, Outcome(3, skipped=1, begun=1))


def removing(path: Path) -> Callable[[Array, float], Array]:
    """A net during which a folder goes away."""

    def forward(tiles: Array, contrast: float) -> Array:
        shutil.rmtree(path, ignore_errors=True)
        return lighter(tiles, contrast)

    return forward


def test_a_folder_that_goes_away(job: Job) -> None:
    with pytest.raises(UserError) as refused:
        folder.correct_all(job, corrector(removing(job.data)), jpegs(job))
    assert f"{job.data} went away" in str(refused.value) and "--skip-existing" in str(refused.value)


def test_a_full_disk_ends_it(job: Job) -> None:
    """The results folder goes away: no fault of an image."""
    with pytest.raises(OSError) as raised:
        folder.correct_all(job, corrector(removing(job.results)), jpegs(job))
    assert raised.value.filename == str(job.results / "a_car.bmp")


def test_the_share_that_is_told_goes_beyond_those_that_were_yielded(job: Job) -> None:
    """One image waits to be saved while the next goes through the nets."""
    told: list[float] = []
    order = []
    for jpg, future in folder.in_order(job, book(job), corrector(), jpegs(job), told.append):
        order.append((jpg.name, future.result().row.size, list(told)))
    # a is yielded once b went through, b once c did.
    assert order == [
        ("a.jpg", (24, 16), [1, 2]),
        ("b.jpg", (32, 16), [1, 2, 2]),
        ("c.jpg", (40, 16), [1, 2, 2]),
    ]


def test_the_next_image_is_decoded_while_the_nets_work(job: Job, monkeypatch: Monkey) -> None:
    loaded = {path.name: threading.Event() for path in jpegs(job)}
    load = folder.load

    def noted(job: Job, journal: Journal, corrector: Corrector, jpg: Picture) -> folder.Loaded:
        done = load(job, journal, corrector, jpg)
        loaded[jpg.name].set()
        return done

    def forward(tiles: Array, contrast: float) -> Array:
        if tiles.shape[2] == 26 + 18:  # of a.jpg, 24 pixels wide
            assert loaded["b.jpg"].wait(5)
        return lighter(tiles, contrast)

    monkeypatch.setattr(folder, "load", noted)
    assert folder.correct_all(job, corrector(forward), jpegs(job)).begun == 3


def test_one_thread_decodes_and_one_saves(job: Job, monkeypatch: Monkey) -> None:
    """Two of either would hold twice as many pictures in memory."""
    threads: dict[str, set[int]] = {"load": set(), "save": set()}
    before = {name: getattr(folder, name) for name in threads}

    def slowly(name: str) -> Callable[..., Any]:
        def done(*args: Any) -> Any:
            threads[name].add(threading.get_ident())
            time.sleep(0.02)
            return before[name](*args)

        return done

    for name in threads:
        monkeypatch.setattr(folder, name, slowly(name))
    assert folder.correct_all(job, corrector(), jpegs(job)).begun == 3
    assert [len(found) for found in threads.values()] == [1, 1] and threads["load"] != threads["save"]
    assert threading.get_ident() not in threads["load"] | threads["save"]


def test_of_large_pictures_one_is_held_at_a_time(job: Job, monkeypatch: Monkey) -> None:
    """The next one is not read before the last one has been saved; of small ones it is."""
    order: list[str] = []

    def noted(name: str) -> Callable[..., Any]:
        before = getattr(folder, name)

        def done(job: Job, journal: Journal, *args: Any) -> Any:
            picture = next(one for one in args if isinstance(one, Picture))
            order.append(f"{name} {picture.name[0]}")
            found = before(job, journal, *args)
            order.append(f"end {picture.name[0]}")
            return found

        return done

    for name in ("load", "save"):
        monkeypatch.setattr(folder, name, noted(name))
    monkeypatch.setattr(room.Room.__init__, "__defaults__", (24 * 16,))
    assert folder.correct_all(job, corrector(), jpegs(job)).bad == []
    assert order == [f"{what} {name}" for name in "abc" for what in ("load", "end", "save", "end")]
    assert len(shown(job)) == 4


def test_a_picture_that_the_memory_does_not_hold_is_not_begun(
    job: Job, capsys: Capture, monkeypatch: Monkey
) -> None:
    memory = types.SimpleNamespace(available=28 * 32 * 16)  # enough for b: c is larger
    monkeypatch.setattr(psutil, "virtual_memory", lambda: memory)
    read: list[str] = []
    decode = Corrector.decode

    def noted(self: Corrector, path: Path, *args: Any) -> Any:
        read.append(path.name)
        return decode(self, path, *args)

    monkeypatch.setattr(Corrector, "decode", noted)
    assert folder.correct_all(job, corrector(), jpegs(job)).bad == ["c.jpg"]
    assert "left out: c.jpg: has 0 megapixels, which take 0.0 GB" in capsys.readouterr().out
    assert read == ["a.jpg", "b.jpg"] and len(shown(job)) == 3
    refused = folder.correct_all(job, corrector(max_pixels=32 * 16), jpegs(job))
    assert refused.bad == ["c.jpg"] and "40x16 is over the limit" in refused.rows["c"].why
    read.clear()
    compared = dataclasses.replace(job, compare=True)
    memory.available = 28 * 40 * 16
    assert folder.correct_all(compared, corrector(), jpegs(job)).bad == ["b.jpg", "c.jpg"]  # sheets take more


@pytest.mark.parametrize("place", ["the net", "the saving"])
def test_memory_that_ends_amid_a_picture_leaves_that_one_out(
    job: Job, capsys: Capture, monkeypatch: Monkey, place: str
) -> None:
    def forward(tiles: Array, contrast: float) -> Array:
        calls.append(tiles.shape)
        if place == "the net" and len(calls) == 2:
            raise MemoryError
        return lighter(tiles, contrast)

    calls: list[tuple[int, ...]] = []
    save = folder.save

    def saving(job: Job, journal: Journal, picture: Picture, *args: Any) -> Saved:
        if place == "the saving" and picture.name == "b.jpg":
            raise MemoryError
        return save(job, journal, picture, *args)

    monkeypatch.setattr(folder, "save", saving)
    monkeypatch.setattr(room.Room.__init__, "__defaults__", (1,))  # what b took is given back
    assert folder.correct_all(job, corrector(forward), jpegs(job)).bad == ["b.jpg"]
    assert "left out: b.jpg: the memory is not enough for it\n" in capsys.readouterr().out
    assert shown(job) == ["a_car.bmp", "c_car.bmp", "figures.csv"]


def test_figures_reach_the_csv_during_the_work(job: Job, monkeypatch: Monkey) -> None:
    monkeypatch.setattr(rows, "SECONDS_BETWEEN_CSVS", 0)
    seen: list[list[str]] = []

    def forward(tiles: Array, contrast: float) -> Array:
        seen.append(csv_names(job.figures))
        return lighter(tiles, contrast)

    folder.correct_all(job, corrector(forward), jpegs(job))
    assert seen == [[], [], ["a"]]


def test_every_plane_is_described_by_its_name(job: Job, capsys: Capture, monkeypatch: Monkey) -> None:
    monkeypatch.setattr(cli, "_loudness", cli.VERBOSE)
    whole = Corrector({None: Net(lighter, NO_GAINS)})
    folder.correct_all(job, whole, [named(job, "b.jpg")])
    (said, _) = capsys.readouterr().out.splitlines()
    change = r"[0-3]\.\d\d"
    assert re.fullmatch(
        rf"b.jpg: corrected; quality 30; weights: the log's own; mean change {change} \(luma\), {change} "
        rf"\(Cb\), {change} \(Cr\) grey levels; \d\.\d\d s",
        said,
    )


def test_what_needed_nothing_is_told_apart(job: Job, capsys: Capture) -> None:
    """All three are of quality 30, a coarseness of 1.67; then one of 10 among them."""
    own = Corrector({None: Net(lighter, NO_GAINS, (5.0, 5.0))})
    outcome = folder.correct_all(job, own, jpegs(job))
    assert outcome.unchanged == {"finer than all weights": 3}
    np.testing.assert_array_equal(pixels(job.result(named(job, "b.jpg"))), pixels(job.data / "b.jpg"))
    photograph().save(job.data / "a.jpg", quality=10)
    outcome = folder.correct_all(job, own, jpegs(job))
    assert outcome.unchanged == {"finer than all weights": 2} and outcome.rows["a"].status == "corrected"
    assert (pixels(job.result(named(job, "a.jpg"))) != pixels(job.data / "a.jpg")).any()
    capsys.readouterr()
    saying.say_outcome(job, outcome)
    said = capsys.readouterr().out.splitlines()
    assert said[0] == f"corrected 1 of 3 images into {job.results}, unchanged 2 (finer than all weights)"
    assert rows.read(job.figures)["b"][1:3] == ("unchanged", "finer than all weights")
    # A change that rounds to nothing is none.
    outcome = folder.correct_all(job, corrector(strength=0.1), jpegs(job))
    assert outcome.unchanged == {"the change rounds to nothing": 3}
    outcome.unchanged["lossless JPEG"] = 1
    outcome.begun = outcome.found = 5
    capsys.readouterr()
    saying.say_outcome(job, outcome)
    said = capsys.readouterr().out.splitlines()
    assert said[0] == (
        f"corrected 1 of 5 images into {job.results}, unchanged 4 (1 lossless JPEG, 3 the change rounds to "
        "nothing)"
    )
