"""car/figures.py: figures against plain ones."""

import math

import numpy as np
import pytest
from conftest import ROOT
from PIL import Image
from reference import Array, plain_ssim

from car import figures
from car.figures import Figures

A = Figures(4.0, 1.0, 42.0, 48.0, 0.5, 0.75, 40.0, 41.0)
B = Figures(2.0, 2.0, 45.0, 45.0)  # grey, too small for SSIM
LUMA = np.array([0.299, 0.587, 0.114])


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
    for rows in (1, 31, 32, 33, 1200):
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
    for rows in (11, 12, 42, 43, 1200):  # 32 windows high is a band
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


def test_a_grey_picture_is_measured_against_the_truth() -> None:
    before, truth = luma("camera.jpg")[:64, 100:180], luma("camera.bmp")[:64, 100:180]
    after = truth.copy()
    after[3, 4] ^= 8
    measured = figures.measure(before, after, truth)
    error = np.mean((before.astype(float) - truth) ** 2)
    wanted = [error, 64 / (64 * 80), 10 * math.log10(255**2 / error), 10 * math.log10(255**2 * 80)]
    wanted += [plain_ssim(picture * 1.0, truth * 1.0) for picture in (before, after)]
    assert measured[:6] == pytest.approx(wanted, rel=1e-9)
    assert math.isnan(measured.rgb_psnr_before) and math.isnan(measured.rgb_psnr_after)


@pytest.mark.parametrize("height", [11, 31, 32, 33, 42, 43, 100])  # 32 rows are a band
def test_a_colour_picture_by_unrounded_luma_and_by_rgb(height: int) -> None:
    before, truth = (
        np.asarray(Image.open(ROOT / f"samples/astronaut.{kind}"))[90 : 90 + height, 180:230]
        for kind in ("jpg", "bmp")
    )
    after = (before // 2 + truth // 2).astype(np.uint8)
    measured = figures.measure(before, after, truth)
    for place, picture in enumerate((before, after)):
        mse = np.mean(((picture.astype(float) - truth) @ LUMA) ** 2)
        assert measured[place] == pytest.approx(mse, rel=1e-9)
        assert measured[2 + place] == pytest.approx(10 * math.log10(255**2 / mse), rel=1e-9)
        assert measured[4 + place] == pytest.approx(plain_ssim(picture @ LUMA, truth @ LUMA), rel=1e-9)
        rgb = np.mean((picture.astype(float) - truth) ** 2)
        assert measured[6 + place] == pytest.approx(10 * math.log10(255**2 / rgb), rel=1e-9)
    assert abs(measured.psnr_before - measured.rgb_psnr_before) > 0.1


def test_luma_is_not_rounded_before_it_is_compared() -> None:
    """By hand: red lower by a level is 0.299 of luma, which rounding makes 0 or 1."""
    truth = np.full((4, 4, 3), 100, np.uint8)
    before, after = truth.copy(), truth.copy()
    before[..., 0] -= 1
    after[..., 2] += 1
    measured = figures.measure(before, after, truth)
    assert measured[:2] == pytest.approx((0.299**2, 0.114**2))
    assert measured.rgb_psnr_before == measured.rgb_psnr_after == pytest.approx(10 * math.log10(255**2 * 3))


def test_harm_to_colours_alone_shows() -> None:
    truth = np.full((16, 16, 3), 100, np.uint8)
    after = truth.copy()
    after[..., 0] += 114  # of nearly one luma
    after[..., 1] -= 58
    measured = figures.measure(truth, after, truth)
    assert measured.mse_after == pytest.approx((114 * 0.299 - 58 * 0.587) ** 2) and measured.mse_after < 0.01
    assert measured.rgb_psnr_after < 12 and measured.rgb_psnr_before == math.inf


def test_a_neutral_picture_in_rgb_equals_its_grey_truth() -> None:
    """Exactly: else rounding would make an infinite PSNR one of 300 dB."""
    grey = np.arange(256, dtype=np.uint8).reshape(16, 16)
    measured = figures.measure(np.stack([grey] * 3, -1), np.stack([grey] * 3, -1), grey)
    assert measured == (0, 0, math.inf, math.inf, 1, 1, math.inf, math.inf)
    red = np.stack([grey // 2 + 9, grey // 2, grey // 2], -1)
    measured = figures.measure(red, red, grey // 2)
    assert measured.rgb_psnr_after == pytest.approx(10 * math.log10(255**2 / 27))


def test_ssim_is_never_over_1() -> None:
    """Of flat pictures rounding leaves a variance under 0, which in 32 bits gave 1.0008."""
    for level in range(256):
        flat = np.full((11, 11), level, np.uint8)
        assert figures.ssim(flat, flat) == pytest.approx(1, abs=1e-12) and figures.ssim(flat, flat) <= 1
    assert figures._mean_of_windows(1 + 1e-12, (11, 11)) == 1


@pytest.mark.filterwarnings("error")  # numpy's of a mean of nothing is no word for users
def test_the_mean_of_columns_skips_what_is_no_number() -> None:
    assert figures.mean([A, B]) == (3.0, 1.5, 43.5, 46.5, 0.5, 0.75, 40.0, 41.0)
    assert figures.mean([B])[:4] == B[:4] and math.isnan(figures.mean([B]).ssim_before)
    # A picture that came out perfect: its PSNR before is no more in the mean than that after.
    perfect = Figures(1.0, 0.0, 60.0, math.inf, 0.9, 1.0, 61.0, math.inf)
    assert figures.mean([A, perfect]) == (2.5, 0.5, 42.0, 48.0, 0.7, 0.875, 40.0, 41.0)
    assert figures.mean([perfect]) == perfect


def test_a_line_for_people() -> None:
    row = Figures(12.346, 6.5, 37.216, 40.0, 0.87654321, 0.9, 33.111, 34.999)
    said = "MSE 12.35 -> 6.50, PSNR 37.22 -> 40.00 dB, SSIM 0.8765 -> 0.9000, RGB PSNR 33.11 -> 35.00 dB"
    assert figures.describe(row) == said
    assert figures.describe(B) == "MSE 2.00 -> 2.00, PSNR 45.00 -> 45.00 dB"
    perfect = A._replace(mse_after=0.0, psnr_after=math.inf)
    assert figures.describe_mean([A, B, perfect]) == (
        "mean of 3 images: MSE 3.33 -> 1.00, PSNR 43.50 -> 46.50 dB (of 2), SSIM 0.5000 -> 0.7500 (of 2), "
        "RGB PSNR 40.00 -> 41.00 dB (of 2)"
    )
    assert figures.describe_mean([A]) == f"mean of 1 images: {figures.describe(A)}"
