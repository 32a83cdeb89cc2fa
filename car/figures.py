"""MSE, PSNR and SSIM of pictures.

Of the luma, unrounded: whole grey levels, to which a decoder rounds, would add an error of their own.
"""

import math
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from car.arrays import Doubles, Pixels

LUMA_THOUSANDTHS = np.array([299.0, 587.0, 114.0])  # of R, G, B: full-range BT.601 (JFIF)
SSIM_WINDOW = 11  # side of SSIM's Gaussian window, in pixels
SSIM_DEVIATION = 1.5
SSIM_C1, SSIM_C2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2  # C1 and C2 of SSIM's paper
ROWS_AT_A_TIME = 32  # so that memory does not grow with the picture, and a band stays in the cache

Plane = Pixels | Doubles  # [H, W], grey levels


def mse(picture: Plane, truth: Plane) -> float:
    """Mean squared error, in squared grey levels, of two arrays of one shape [H, ...]."""
    return sum(_squares(picture[band], truth[band]) for band in _bands(len(picture))) / picture.size


def _bands(rows: int, overlap: int = 0) -> Iterable[slice]:
    return (slice(top, top + ROWS_AT_A_TIME + overlap) for top in range(0, rows, ROWS_AT_A_TIME))


def _squares(picture: npt.NDArray[Any], truth: npt.NDArray[Any]) -> float:
    error = np.subtract(picture, truth, dtype=np.float32 if picture.dtype == np.uint8 else np.float64)
    return float(np.square(error).sum(dtype=np.float64))


def psnr(mean_squared_error: float) -> float:
    """Peak signal-to-noise ratio in dB for a peak of 255 grey levels; infinite for no error."""
    if mean_squared_error == 0:
        return math.inf
    return 10 * math.log10(255**2 / mean_squared_error)


def _gaussian() -> Doubles:
    distances = np.arange(SSIM_WINDOW) - SSIM_WINDOW // 2
    weights = np.exp(-(distances**2) / (2 * SSIM_DEVIATION**2))
    return weights / weights.sum()


GAUSSIAN = _gaussian()


def _blurred(plane: Doubles) -> Doubles:
    """A plane [H, W] under SSIM's window wherever it fits: float64 [H - 10, W - 10]."""
    height, width = (length - SSIM_WINDOW + 1 for length in plane.shape)
    rows = _weighted([plane[place : place + height] for place in range(SSIM_WINDOW)])
    return _weighted([rows[:, place : place + width] for place in range(SSIM_WINDOW)])


def _weighted(shifted: Sequence[Doubles]) -> Doubles:
    """The sum of a plane's 11 shifts by the window's weights, which are the same from both ends."""
    total = GAUSSIAN[SSIM_WINDOW // 2] * shifted[SSIM_WINDOW // 2]
    for place in range(SSIM_WINDOW // 2):
        pair = shifted[place] + shifted[-1 - place]
        pair *= GAUSSIAN[place]
        total += pair
    return total


def ssim(picture: Plane, truth: Plane) -> float:
    """Mean structural similarity of two planes [H, W], 1 at the most; nan under 11 pixels of height or width.

    Wang, Bovik, Sheikh, Simoncelli: Image Quality Assessment, IEEE TIP 13 (2004).
    """
    windows = len(picture) - SSIM_WINDOW + 1
    bands = _bands(windows, SSIM_WINDOW - 1)
    total = sum(_ssim_of_windows([picture[band]], truth[band])[0] for band in bands)
    return _mean_of_windows(total, picture.shape)


def _mean_of_windows(total: float, shape: tuple[int, ...]) -> float:
    """SSIM from the sum over all windows of a picture: 1 at the most, also where rounding brought it over."""
    height, width = (length - SSIM_WINDOW + 1 for length in shape[:2])
    return min(1.0, float(total) / (height * width)) if min(height, width) > 0 else math.nan


def _ssim_of_windows(pictures: Sequence[Plane], truth: Plane) -> list[float]:
    """The sum of SSIM over the windows of each of several planes; 0 where no window fits."""
    if min(truth.shape) < SSIM_WINDOW:
        return [0.0] * len(pictures)
    truth = truth.astype(np.float64, copy=False)
    true_mean, sums = _blurred(truth), []
    for plane in pictures:
        picture = plane.astype(np.float64, copy=False)
        mean = _blurred(picture)
        product, means = mean * true_mean, np.square(mean) + np.square(true_mean)
        covariance = _blurred(picture * truth) - product
        variances = np.maximum(_blurred(np.square(picture) + np.square(truth)) - means, 0)
        alike = (2 * product + SSIM_C1) * (2 * covariance + SSIM_C2)
        sums.append(float((alike / ((means + SSIM_C1) * (variances + SSIM_C2))).sum()))
    return sums


# ---- a picture before and after ------------------------------------------------------------


class Figures(NamedTuple):
    """A picture before and after correction, against the clean one: of the luma, and PSNR of R, G and B."""

    mse_before: float  # squared grey levels
    mse_after: float
    psnr_before: float  # dB
    psnr_after: float
    ssim_before: float = math.nan  # nan under 11 pixels
    ssim_after: float = math.nan
    rgb_psnr_before: float = math.nan  # dB; nan of a grey picture
    rgb_psnr_after: float = math.nan


def _luma_of(pixels: Pixels) -> Doubles:
    """Unrounded luma, float64 [H, W], of grey [H, W] or RGB [H, W, 3] pixels."""
    # Whole numbers until the end: a neutral picture has exactly the luma of a grey one.
    return pixels @ LUMA_THOUSANDTHS / 1000 if pixels.ndim == 3 else pixels.astype(np.float64)


def measure(before: Pixels, after: Pixels, truth: Pixels) -> Figures:
    """The figures of two pictures, uint8 grey [H, W] or RGB [H, W, 3], against the clean one."""
    shape, is_colour = truth.shape[:2], before.ndim == 3
    squares, colour_squares, ssims = np.zeros((3, 2))
    for band in _bands(shape[0], SSIM_WINDOW - 1):
        rows = slice(ROWS_AT_A_TIME)  # those behind belong to the next band too
        *lumas, true_luma = (_luma_of(picture[band]) for picture in (before, after, truth))
        squares += [_squares(luma[rows], true_luma[rows]) for luma in lumas]
        ssims += _ssim_of_windows(lumas, true_luma)
        if is_colour:
            true_colours = truth if truth.ndim == 3 else truth[..., np.newaxis]
            colour_squares += [_squares(p[band][rows], true_colours[band][rows]) for p in (before, after)]
    mses = [float(total) / (shape[0] * shape[1]) for total in squares]
    colours = [psnr(total / before.size) for total in colour_squares] if is_colour else [math.nan, math.nan]
    return Figures(*mses, *map(psnr, mses), *(_mean_of_windows(total, shape) for total in ssims), *colours)


def mean(figures: Sequence[Figures]) -> Figures:
    """The mean of each pair of columns over the pictures that have two finite numbers there.

    The field's custom is the mean of the pictures' PSNR, not the PSNR of their mean MSE. A picture that
    equals its clean one has an infinite PSNR, and would make the mean infinite.
    """
    means: list[float] = []
    for pairs in _pairs(figures):
        finite = [pair for pair in pairs if np.isfinite(pair).all()]
        means += map(float, np.mean(finite or pairs[:1], axis=0))
    return Figures._make(means)


def _pairs(figures: Sequence[Figures]) -> Iterable[list[tuple[float, ...]]]:
    """The (before, after) of all pictures, for each of the four measures."""
    return ([row[place : place + 2] for row in figures] for place in range(0, len(Figures._fields), 2))


def describe(figures: Figures, counts: Sequence[int] = (), of: int = 0) -> str:
    """Figures for people. counts: where they are a mean over pictures, over how many each measure is."""
    names = ("MSE", "PSNR", "SSIM", "RGB PSNR")
    told = []
    for place, (name, form) in enumerate(zip(names, (".2f", ".2f", ".4f", ".2f"), strict=True)):
        before, after = figures[2 * place : 2 * place + 2]
        if not math.isnan(before):
            unit = " dB" if name.endswith("PSNR") else ""
            some = f" (of {counts[place]})" if counts and counts[place] < of else ""
            told.append(f"{name} {before:{form}} -> {after:{form}}{unit}{some}")
    return ", ".join(told)


def describe_mean(figures: Sequence[Figures]) -> str:
    """The mean over pictures for people; where it is one over fewer of them, their number is said."""
    counts = [sum(bool(np.isfinite(pair).all()) for pair in pairs) for pairs in _pairs(figures)]
    return f"mean of {len(figures)} images: {describe(mean(figures), counts, len(figures))}"
