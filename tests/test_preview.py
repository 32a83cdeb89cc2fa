"""car/preview.py: what --dry-run says, against what the run then does."""

import dataclasses
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import ROOT
from PIL import Image, ImageCms
from reference import lossless_jpeg

from car import find, folder, jobs, jpeg, levels, preview, weights
from car.correct import Corrector, Net
from car.errors import UserError
from car.jobs import Job

Capture = pytest.CaptureFixture[str]
PROFILE = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
BANK: weights.Bank = {
    factor: weights.Weights(True, []) for factor in (None, *map(jpeg.coarseness_of_quality, (30, 85)))
}


def photograph(width: int = 40, height: int = 32) -> Image.Image:
    return Image.open(ROOT / "samples/astronaut.bmp").crop((150, 60, 150 + width, 60 + height))


@pytest.fixture
def job(tmp_path: Path) -> Job:
    """Pictures of all that a header tells, and no folder for results."""
    data = tmp_path / "data"
    (data / "sub").mkdir(parents=True)
    exif = Image.Exif()
    exif[0x0112], exif[0x010F] = 6, "Maker"
    pictures: dict[str, tuple[str, dict[str, Any]]] = {
        "turned": ("RGB", {"quality": 30, "exif": exif, "comment": b"mine", "dpi": (300, 300)}),
        "grey": ("L", {"quality": 30, "icc_profile": PROFILE}),  # which is for colour
        "halved": ("RGB", {"quality": 85, "subsampling": "4:2:0"}),
        "across": ("RGB", {"quality": 85, "subsampling": "4:2:2"}),
        "whole": ("RGB", {"quality": 50, "subsampling": "4:4:4"}),
        "fine": ("RGB", {"quality": 100}),
        "press": ("CMYK", {"quality": 30}),
        "sub/flat": ("L", {"qtables": [[32] * 64], "exif": b"Exif\0\0no header at all"}),
    }
    for name, (mode, options) in pictures.items():
        photograph().convert(mode).save(data / f"{name}.jpg", **options)
    photograph(40, 1).save(data / "low.jpg", quality=85, subsampling="4:2:0")
    (data / "lossless.jpg").write_bytes(lossless_jpeg(np.asarray(photograph().convert("L"))))
    photograph().save(data / "of_png.png", dpi=(300, 300))
    (data / "bad.jpg").write_bytes(b"\xff\xd8\xff nothing")
    photograph().save(data / "pair.jpg")
    photograph(41).save(data / "pair.bmp")
    photograph().save(data / "twin.jpg", quality=30)
    photograph().save(data / "twin.jpeg", quality=30)
    inputs = find.suffixes_of(["png"])
    found = find.of(data, tmp_path, inputs, True, tmp_path / "results").pictures
    return Job(data, tmp_path / "results", inputs=inputs, found=found)


def same(tiles: Any, contrast: float) -> Any:
    return tiles[:, 9:-9, 9:-9].astype(np.float32) + 1


def described(job: Job, capsys: Capture, **options: Any) -> Any:
    capsys.readouterr()
    corrector = preview.corrector_of(BANK, input_types=["png"], **options)
    job = jobs.with_names(job, preview.existing(job.results))
    return preview.describe_all(job, corrector, job.found, {"gone": "is not there"}), capsys.readouterr().out


def done(job: Job, **options: Any) -> Any:
    job.results.mkdir(exist_ok=True)
    nets = {factor: Net(same, one.gains, one.coarseness) for factor, one in BANK.items()}
    job = jobs.with_names(job, job.results)
    return folder.correct_all(job, Corrector(nets, input_types=["png"], **options), job.found)


@pytest.mark.parametrize("form", ["bmp", "png", "jpg", "tiff"])
def test_it_says_what_the_run_does(job: Job, capsys: Capture, form: str) -> None:
    job = dataclasses.replace(job, format=form)
    outcome, _ = described(job, capsys)
    assert not job.results.exists()
    after = done(job)
    assert outcome.bad == ["gone", *after.bad] and sorted(after.bad) == ["bad.jpg", "pair.jpg"]
    assert len(outcome.rows) == 13
    for name, row in outcome.rows.items():
        real = after.rows[name]
        assert row.changes == (None, None, None) or row.status == "unchanged"
        unsure = real.why == "the change rounds to nothing"  # nothing that a header tells
        assert row.status == ("to be corrected" if real.status == "corrected" or unsure else "unchanged"), row
        told = {"status": "", "why": "", "changes": (), "seconds": None, "figures": None}
        assert row._replace(**told) == real._replace(**told)
    if form != "jpg":
        assert {name for name, row in outcome.rows.items() if row.why} == {"fine", "lossless", "of_png"}


def test_what_is_said(job: Job, capsys: Capture) -> None:
    outcome, said = described(dataclasses.replace(job, compare=True, format="png"), capsys)
    results = job.results
    lines = said.splitlines()
    assert lines[0] == "told apart from others of their name: 1 (twin.jpg becomes twin.jpg_car)" or (
        lines[0] == "told apart from others of their name: 1 (twin.jpeg becomes twin.jpeg_car)"
    )
    assert lines[1] == "left out: gone: is not there"
    assert (
        f"turned.jpg -> {results}/turned_car.png and {results}/turned_compare.png: to be corrected; quality 30; "
        "weights: quality 30; kept EXIF, comment, density"
    ) in lines
    assert f"twin.jpeg -> {results}/twin.jpeg_car.png" in said
    assert (
        "fine.jpg -> " in said and ": unchanged, finer than all weights; quality 100; weights: none" in said
    )
    assert "left out: bad.jpg: " in said and "left out: pair.jpg: the pair differs in size" in said
    assert "sub/flat.jpg -> " in said and "about quality" in said
    assert "left its EXIF is damaged and was left out" in said
    assert lines[-2] == (
        f"would correct 10 of 16 images into {results}, unchanged 3 (1 finer than all weights, 2 lossless, black "
        "and white alone, or no JPEG found in it), left out 3"
    )
    assert outcome.bad[0] == "gone" and len(outcome.bad) == 3


def test_the_options_count(job: Job, capsys: Capture) -> None:
    outcome, _ = described(job, capsys, ignore_header=True, luma_only=True)
    assert outcome.rows["turned"].weights == ("the log's own", "", "")
    assert outcome.rows["turned"].quality is None and outcome.rows["fine"].status == "to be corrected"
    outcome, _ = described(job, capsys, bits=16)
    assert outcome.rows["grey"].left.startswith("depth of 16 bits")
    with pytest.raises(NotImplementedError):
        preview.corrector_of(BANK).correct(job.data / "turned.jpg")


def test_what_is_there_stays_and_counts(job: Job, capsys: Capture) -> None:
    done(job)
    again = dataclasses.replace(job, skip_existing=True)
    (job.results / "grey_car.bmp").unlink()
    (job.results / "pair_car.bmp").write_text("theirs")
    (job.data / "pair.bmp").unlink()
    before = {path: path.stat().st_mtime_ns for path in job.results.rglob("*")}
    outcome, said = described(again, capsys)
    assert (outcome.skipped, outcome.begun, set(outcome.rows)) == (12, 4, {"grey"})
    assert f"turned.jpg: is there already: {job.results}/turned_car.bmp" in said
    assert "left out: pair.jpg: pair_car.bmp is in" in said and "12 were there already" in said
    with pytest.raises(UserError, match=r"--strength 1\.0 there, 0\.5 now"):
        described(again, capsys, strength=0.5)
    assert {path: path.stat().st_mtime_ns for path in job.results.rglob("*")} == before


def test_headers_are_not_decoded(job: Job) -> None:
    """Damage behind the header is not seen; and a picture of 400 megapixels takes no memory."""
    data = (job.data / "turned.jpg").read_bytes()
    path = job.data / "turned.jpg"
    path.write_bytes(data[: data.rindex(b"\xff\xda") + 20])
    read = Corrector({None: Net(same, np.ones((8, 8), np.float32))}).decode(path, header_only=True)
    assert read.pixels.shape == (32, 40, 3) and [plane.samples.nbytes for plane in read.planes] == [1280] * 3
    assert read.pixels.strides == (0, 0, 0) and read.planes[0].samples.base is not None
    assert levels.as_8_bits(read.pixels, read.white) is read.pixels


def test_from_the_shell_without_tensorflow(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    photograph().save(tmp_path / "data/a.jpg", quality=20)
    code = (
        "import sys, run_car_images\n"
        "status = run_car_images.main(sys.argv[1:])\n"
        "assert 'tensorflow' not in sys.modules\n"
        "sys.exit(status)"
    )
    command = [sys.executable, "-c", code, str(tmp_path), "pretrained", "data", "results", "--dry-run"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    ended = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=60)
    assert ended.returncode == 0, ended.stderr
    result = tmp_path / "results/a_car.bmp"
    assert f"a.jpg -> {result}: to be corrected; quality 20; weights: quality 20\n" in ended.stdout
    assert ended.stdout.splitlines()[-2] == f"would correct 1 of 1 images into {tmp_path / 'results'}"
    (tmp_path / "data/b.jpg").write_bytes(b"none")
    ended = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=60)
    assert ended.returncode == 1 and "left out: b.jpg: is not a JPEG" in ended.stdout
    assert os.listdir(tmp_path) == ["data"]
