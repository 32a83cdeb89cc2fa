"""MSE, PSNR and SSIM of grey pictures, and the figures.csv of a folder of results."""

import csv
import math
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from car.arrays import Doubles, Pixels
from car.errors import UserError
from car.files import whole_file

SSIM_WINDOW = 11  # side of SSIM's Gaussian window, in pixels
SSIM_DEVIATION = 1.5
SSIM_C1, SSIM_C2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2  # C1 and C2 of SSIM's paper
# What makes a cell a formula to a spreadsheet; an apostrophe before it makes it text.
FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r")
ROWS_AT_A_TIME = 512  # so that memory does not grow with the picture


def mse(picture: Pixels, truth: Pixels) -> float:
    """Mean squared error in squared grey levels of two uint8 [H, W] planes."""
    squares = 0
    for top in range(0, picture.shape[0], ROWS_AT_A_TIME):
        error = picture[top : top + ROWS_AT_A_TIME].astype(np.int32) - truth[top : top + ROWS_AT_A_TIME]
        squares += int(np.square(error).sum())
    return squares / picture.size


def psnr(mean_squared_error: float) -> float:
    """Peak signal-to-noise ratio in dB for a peak of 255 grey levels; infinite for no error."""
    if mean_squared_error == 0:
        return math.inf
    return 10 * math.log10(255**2 / mean_squared_error)


def _gaussian() -> Doubles:
    distances = np.arange(SSIM_WINDOW) - SSIM_WINDOW // 2
    weights = np.exp(-(distances**2) / (2 * SSIM_DEVIATION**2))
    return weights / weights.sum()


def _blurred(plane: Doubles) -> Doubles:
    """A plane [H, W] under SSIM's window wherever it fits: float64 [H - 10, W - 10]."""
    height, width = (length - SSIM_WINDOW + 1 for length in plane.shape)
    weights = list(enumerate(_gaussian()))
    rows = sum(weight * plane[place : place + height] for place, weight in weights)
    return sum(weight * rows[:, place : place + width] for place, weight in weights)


def ssim(picture: Pixels, truth: Pixels) -> float:
    """Mean structural similarity of two uint8 [H, W] planes; nan under 11 pixels of height or width.

    Wang, Bovik, Sheikh, Simoncelli: Image Quality Assessment, IEEE TIP 13 (2004).
    """
    if min(picture.shape) < SSIM_WINDOW:
        return math.nan
    total, windows = 0.0, picture.shape[0] - SSIM_WINDOW + 1
    for top in range(0, windows, ROWS_AT_A_TIME):
        band = slice(top, top + ROWS_AT_A_TIME + SSIM_WINDOW - 1)
        total += float(
            _ssim_of_windows(*(plane[band].astype(np.float64) for plane in (picture, truth))).sum()
        )
    return total / windows / (picture.shape[1] - SSIM_WINDOW + 1)


def _ssim_of_windows(picture: Doubles, truth: Doubles) -> Doubles:
    mean, true_mean = _blurred(picture), _blurred(truth)
    product = mean * true_mean
    covariance = _blurred(picture * truth) - product
    means, variances = np.square(mean) + np.square(true_mean), _blurred(np.square(picture) + np.square(truth))
    variances -= means
    alike = (2 * product + SSIM_C1) * (2 * covariance + SSIM_C2)
    return alike / ((means + SSIM_C1) * (variances + SSIM_C2))


# ---- figures.csv ---------------------------------------------------------------------------


class Row(NamedTuple):
    """A row of the CSV: an image's luma against its clean one, as JPG and corrected."""

    name: str
    mse_before: float
    mse_after: float
    psnr_before: float
    psnr_after: float
    ssim_before: float
    ssim_after: float


def measure(name: str, before: Pixels, after: Pixels, truth: Pixels) -> Row:
    """The row of two luma planes against the truth's, uint8 [H, W]."""
    mse_before, mse_after = (mse(picture, truth) for picture in (before, after))
    ssims = ssim(before, truth), ssim(after, truth)
    return Row(name, mse_before, mse_after, psnr(mse_before), psnr(mse_after), *ssims)


def summary(rows: dict[str, Row]) -> Row:
    """The mean over images of every column (SSIM over those that have one)."""
    columns = list(zip(*(row[1:] for row in rows.values()), strict=True))
    means = (float(np.nanmean(c)) if not np.isnan(c).all() else math.nan for c in columns)
    return Row._make([f"mean of {len(rows)} images", *means])


def describe(row: Row) -> str:
    """A row as a line for people."""
    line = (
        f"{row.name}: MSE {row.mse_before:.2f} -> {row.mse_after:.2f}, "
        f"PSNR {row.psnr_before:.2f} -> {row.psnr_after:.2f} dB"
    )
    if math.isnan(row.ssim_before):
        return line
    return f"{line}, SSIM {row.ssim_before:.4f} -> {row.ssim_after:.4f}"


def _is_formula(name: str) -> bool:
    """Whether a spreadsheet would compute a cell with this name; apostrophes in front do not count."""
    return name.lstrip("'").startswith(FORMULA_STARTS)


def _with_apostrophe(row: Row) -> Row:
    return row._replace(name=f"'{row.name}") if _is_formula(row.name) else row


def _without_apostrophe(row: Row) -> Row:
    return row._replace(name=row.name[1:]) if row.name[0:1] == "'" and _is_formula(row.name) else row


def read(path: Path) -> dict[str, Row]:
    """Read a CSV of an earlier run as {name: row}; empty where there is none.

    Raises UserError where it is none of ours: it would be overwritten.
    """
    if not path.exists():
        return {}
    try:
        with open(path, encoding="utf-8", errors="surrogateescape", newline="") as file:
            header, *lines = csv.reader(file)
        if tuple(header) != Row._fields or any(len(line) != len(Row._fields) for line in lines):
            raise ValueError("other columns")
        rows = (Row._make([name, *map(float, values)]) for name, *values in lines)
        return {row.name: row for row in (_without_apostrophe(row) for row in rows)}
    except (ValueError, csv.Error) as error:
        raise UserError(
            f"{path} is damaged, or of another program ({error}); it would be overwritten: move it elsewhere"
        ) from error


def write(path: Path, rows: dict[str, Row]) -> None:
    """Write {name: row} to the CSV, by name; one that a spreadsheet would compute gets an apostrophe."""
    lines: list[tuple[Any, ...]] = [Row._fields, *(_with_apostrophe(rows[name]) for name in sorted(rows))]
    with whole_file(path, "w") as file:
        # Quoted, as a name may hold even a carriage return.
        csv.writer(file, lineterminator="\n", quoting=csv.QUOTE_NONNUMERIC).writerows(lines)
