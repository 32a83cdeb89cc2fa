"""car/figures.py: figures against plain ones, and their CSV."""

import csv
import locale
import math
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from conftest import ROOT
from PIL import Image
from reference import Array, plain_ssim

from car import figures
from car.errors import UserError
from car.figures import Row

ROWS = {
    "a": Row("a", 4.0, 1.0, 42.0, 48.0, 0.5, 0.75),
    "b": Row("b", 2.0, 2.0, 45.0, 45.0, math.nan, math.nan),
}


def luma(path: str) -> Array:
    return np.asarray(Image.open(ROOT / "samples" / path).convert("L"))


@pytest.fixture(scope="module")
def tall() -> tuple[Array, Array]:
    """A picture and its JPG of more rows than two bands have."""
    return tuple(np.concatenate([luma(f"astronaut.{kind}")[:, 90:150]] * 3)[:1200] for kind in ("jpg", "bmp"))  # type: ignore[return-value]


def test_mse_is_the_mean_of_squares(tall: tuple[Array, Array]) -> None:
    assert figures.mse(np.array([[0, 255], [7, 9]], np.uint8), np.array([[255, 0], [7, 6]], np.uint8)) == (
        (2 * 255**2 + 9) / 4
    )
    jpg, bmp = tall
    for rows in (1, 511, 512, 513, 1200):
        wanted = np.mean((jpg[:rows].astype(float) - bmp[:rows]) ** 2)
        assert figures.mse(jpg[:rows], bmp[:rows]) == pytest.approx(wanted, rel=1e-12)
        assert wanted > 10


def test_psnr() -> None:
    assert figures.psnr(1.0) == pytest.approx(48.130803608679)
    assert figures.psnr(255.0**2) == 0
    assert figures.psnr(650.25) == pytest.approx(20)
    assert figures.psnr(0) == math.inf


def test_ssim_is_that_of_the_paper(tall: tuple[Array, Array]) -> None:
    jpg, bmp = tall
    for rows in (11, 12, 522, 523, 1200):  # 512 windows high is a band
        wanted = plain_ssim(jpg[:rows].astype(float), bmp[:rows].astype(float))
        assert figures.ssim(jpg[:rows], bmp[:rows]) == pytest.approx(wanted, rel=1e-9)
        assert wanted < 0.99
    assert figures.ssim(bmp, bmp) == pytest.approx(1)


def test_ssim_of_one_window_and_of_none() -> None:
    jpg, bmp = luma("camera.jpg"), luma("camera.bmp")
    place = slice(200, 211), slice(220, 231)
    assert figures.ssim(jpg[place], bmp[place]) == pytest.approx(
        plain_ssim(jpg[place] * 1.0, bmp[place] * 1.0)
    )
    assert math.isnan(figures.ssim(jpg[:10], bmp[:10])) and math.isnan(figures.ssim(jpg[:, :10], bmp[:, :10]))
    # Two flat planes: of the formula the first factor alone is left.
    dark, light = np.full((11, 11), 100, np.uint8), np.full((11, 11), 120, np.uint8)
    c1 = (0.01 * 255) ** 2
    assert figures.ssim(dark, light) == pytest.approx((2 * 100 * 120 + c1) / (100**2 + 120**2 + c1))


def test_a_row_is_measured_against_the_truth() -> None:
    before, truth = luma("camera.jpg")[:64, 100:180], luma("camera.bmp")[:64, 100:180]
    after = truth.copy()
    after[3, 4] ^= 8
    row = figures.measure("camera", before, after, truth)
    error = np.mean((before.astype(float) - truth) ** 2)
    wanted = ["camera", error, 64 / (64 * 80), 10 * math.log10(255**2 / error), 10 * math.log10(255**2 * 80)]
    wanted += [plain_ssim(picture * 1.0, truth * 1.0) for picture in (before, after)]
    assert row.name == "camera" and row[1:] == pytest.approx(wanted[1:])


@pytest.mark.filterwarnings("error")  # numpy's of a mean of nothing is no word for users
def test_the_summary_is_the_mean_of_columns_and_skips_no_ssim() -> None:
    assert figures.summary(ROWS) == ("mean of 2 images", 3.0, 1.5, 43.5, 46.5, 0.5, 0.75)
    alone = figures.summary({"b": ROWS["b"]})
    assert alone[:5] == ("mean of 1 images", 2.0, 2.0, 45.0, 45.0)
    assert math.isnan(alone.ssim_before) and math.isnan(alone.ssim_after)


def test_a_line_for_people() -> None:
    row = Row("x", 12.346, 6.5, 37.216, 40.0, 0.87654321, 0.9)
    assert figures.describe(row) == "x: MSE 12.35 -> 6.50, PSNR 37.22 -> 40.00 dB, SSIM 0.8765 -> 0.9000"
    assert figures.describe(ROWS["b"]) == "b: MSE 2.00 -> 2.00, PSNR 45.00 -> 45.00 dB"


def test_the_csv_comes_back_whatever_the_names(tmp_path: Path) -> None:
    names = ["z", 'quo"te, and comma', "line\rend\n", "byte \udcff", "ä", "A"]
    rows = {name: Row(name, 1.5, 1 / 3, math.inf, 40.0, 0.1 + 0.2, 1e-17) for name in names}
    path = tmp_path / "figures.csv"
    figures.write(path, rows)
    assert figures.read(path) == rows
    data = path.read_bytes()
    first, second = data.split(b"\n")[:2]
    assert first == b'"name","mse_before","mse_after","psnr_before","psnr_after","ssim_before","ssim_after"'
    assert second == b'"A",1.5,0.3333333333333333,inf,40.0,0.30000000000000004,1e-17'
    assert b"byte \xff" in data and "ä".encode() in data
    with open(path, newline="", encoding="utf-8", errors="surrogateescape") as file:
        assert [line[0] for line in csv.reader(file)] == ["name", *sorted(names)]


@pytest.fixture
def plain_locale() -> Iterator[None]:
    """A shell in which text is ASCII."""
    before = locale.setlocale(locale.LC_CTYPE)
    locale.setlocale(locale.LC_CTYPE, "C")
    yield
    locale.setlocale(locale.LC_CTYPE, before)


def test_names_are_utf_8_whatever_the_locale(tmp_path: Path, plain_locale: None) -> None:
    path = tmp_path / "figures.csv"
    figures.write(path, {"ä": Row("ä", *ROWS["a"][1:])})
    assert "ä".encode() in path.read_bytes() and list(figures.read(path)) == ["ä"]


def test_no_csv_yet(tmp_path: Path) -> None:
    assert figures.read(tmp_path / "figures.csv") == {}


@pytest.mark.parametrize(
    "text",
    [
        "",
        "other,columns\n1,2\n",
        ",".join(Row._fields) + "\na,1,2,3,4,5\n",
        ",".join(Row._fields) + "\na,1,2,3,4,5,six\n",
        ",".join(Row._fields[:-1]) + ",more\na,1,2,3,4,5,6\n",
        ",".join(Row._fields) + "\na,1,2,3,4,5,6\n" + '"' + "x" * 200_000,  # over the reader's own limit
    ],
)
def test_a_csv_that_is_none_of_ours_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "figures.csv"
    path.write_text(text)
    with pytest.raises(UserError) as refused:
        figures.read(path)
    assert str(path) in str(refused.value) and "move it elsewhere" in str(refused.value)
    assert path.read_text() == text


def test_other_columns_are_named_as_the_reason(tmp_path: Path) -> None:
    path = tmp_path / "figures.csv"
    path.write_text("other,columns\n")
    with pytest.raises(UserError, match=r"other program \(other columns\)"):
        figures.read(path)


def test_names_that_are_formulas_to_a_spreadsheet(tmp_path: Path) -> None:
    """No cell begins as a formula does, and every name comes back, those with apostrophes of their own too."""
    names = ["=1+1", "+a", "-a", "@a", "\ta", "'=a", "''-a", "'a", "a=b", ""]
    rows = {name: figures.Row(name, 4.0, 1.0, 42.0, 48.0, 0.5, 0.75) for name in names}
    figures.write(tmp_path / "figures.csv", rows)
    assert figures.read(tmp_path / "figures.csv") == rows
    with open(tmp_path / "figures.csv", newline="") as file:
        cells = [line[0] for line in csv.reader(file)][1:]
    assert sorted(cells) == sorted(["'=1+1", "'+a", "'-a", "'@a", "'\ta", "''=a", "'''-a", "'a", "a=b", ""])
