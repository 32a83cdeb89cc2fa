"""What a picture went through before it was saved: an earlier, coarser JPEG, on its grid or off it.

Rounding leaves a comb: the coefficients of an 8x8 block of the earlier grid lie near multiples of the earlier
steps, whatever came later, as long as that was finer (Fan and de Queiroz, Identification of Bitmap
Compression History, IEEE Transactions on Image Processing 12, 2003). How near they lie follows from the
file's own steps.
So for each grid and each of libjpeg's tables the logarithm of a ratio is summed over the coefficients: how
likely one is to have its size with the comb, to how likely without (Neyman and Pearson). Without a comb the
sum is below 0. It is taken over histograms of the sizes, by a product of matrices for all grids and tables.

All 64 grids are scanned with a part of the blocks and of the frequencies, and the best few looked at closely.
"""

import functools
import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from car import coded, jpeg
from car.arrays import Floats, Levels, Pixels

QUALITIES = (*range(5, 30), *range(30, 80, 2), *range(80, 93))  # scanned; those beside the best are tried too
BESIDE = 2
COARSER = 1.25  # by what factor an earlier saving is coarser than the file, at the least: else nothing is won
# On the file's own grid its own rounding hides most of an earlier one, unless that was much coarser; and only
# files finer than quality 50 are asked.
COARSER_ON_OWN_GRID, COARSEST_ON_OWN_GRID = 1.5, 1.0
SIDE = 2 * jpeg.BLOCK - 1  # of a window, which holds a block of each of the 64 grids
FEWEST_WINDOWS, WINDOWS_SCANNED, MOST_WINDOWS = 32, 400, 2048
WINDOWS_AT_A_TIME = 256
LIVELY = 2  # grey levels between the darkest and the lightest pixel of a block; others hold nothing
Frequencies = tuple[tuple[int, int], ...]  # down and across
FREQUENCIES: Frequencies = tuple((v, u) for v in range(7) for u in range(7 - v) if u + v)
SCANNED = tuple((v, u) for v, u in FREQUENCIES if u + v <= 4)
BINS, BINS_A_LEVEL = 512, 2  # of the sizes of coefficients; larger ones do not count
SIZES = np.arange(BINS, dtype=np.float32) / BINS_A_LEVEL
# Coefficients under half a step were rounded to 0, as most of a picture's are; far from 0 a comb is blurred.
FEWEST_STEPS, MOST_STEPS = 0.5, 8.5
# On the file's own grid the sizes under half a step must be empty: else a picture whose coefficients become
# few quickly, as noise has, would seem to have a first tooth.
FEWEST_STEPS_ON_OWN_GRID = 0.3
CLOSEST_TEETH = 2.5  # steps of a comb, in deviations of the coefficients: in finer ones none is seen
OUTLIERS = 0.1  # part of the coefficients that lie anywhere
ROUNDING = 1 / 12  # variance of what is rounded to whole numbers
LARGEST_STEP_TO_COUNT = 24  # of the file: larger ones cost small coefficients less than half a step
LOOKED_AT = 2  # grids

# When a comb is found. Chosen on crops of BSDS500 train and on drawn pictures.
FEWEST_COEFFICIENTS = 10  # of a frequency that counts
RUNNER_UP = 0.25  # another grid has at most this part of the sum


class Sure(NamedTuple):
    """From where on a comb is found."""

    total: float  # the sum of the logarithms
    of_expected: float  # the same as a part of what a comb is expected to have
    agreeing: float  # part of the frequencies that have a comb of their own
    frequencies: int  # of so many at the least


SURE = Sure(50, 0.2, 0.6, 8)
SURE_ON_OWN_GRID = Sure(300, 0.35, 0.9, 5)


class Saving(NamedTuple):
    """An earlier saving of a picture."""

    corner: tuple[int, int]  # rows and columns before the first whole block of its grid, 0..7
    quality: int  # of libjpeg's tables

    def describe(self) -> str:
        """In words for people: "quality 30, on a grid 3 rows and 5 columns off"."""
        rows, columns = self.corner
        off = f", on a grid {rows} rows and {columns} columns off" if rows or columns else ""
        return f"quality {self.quality}{off}"


def traced(
    planes: tuple[coded.Plane, ...], pixels: Levels, white: int = 255
) -> tuple[tuple[coded.Plane, ...], Saving | None]:
    """The planes of a picture, luma first, with the earlier saving that is found in luma, and that saving.

    pixels: decoded, [H, W] or RGB [H, W, 3], 0..white.
    """
    found = earlier_saving(planes[0].samples, planes[0].table, pixels, white) if planes else None
    if found is None:
        return planes, None
    luma, *chroma = planes
    first = luma._replace(earlier=coded.Rounding(jpeg.table_of_quality(found.quality), found.corner))
    return (first, *(_chroma_traced(plane, luma, found) for plane in chroma)), found


def _chroma_traced(plane: coded.Plane, luma: coded.Plane, found: Saving) -> coded.Plane:
    """A plane of chroma with the saving that was found in luma, on a grid as coarse as its own.

    Where luma was shifted by an odd number of pixels, chroma was sampled anew between its samples, and its
    earlier grid lies between them too: the next one still does better than none.
    """
    table = jpeg.table_of_quality(found.quality, 1)
    if plane.table is None or jpeg.coarseness(table, 1) < jpeg.coarseness(plane.table, 1):
        return plane
    shapes = zip(luma.samples.shape, plane.samples.shape, strict=True)
    corner = zip(found.corner, (round(whole / part) for whole, part in shapes), strict=True)
    rows, columns = (-(-first // coarser) % jpeg.BLOCK for first, coarser in corner)
    return plane._replace(earlier=coded.Rounding(table, (rows, columns)))


def earlier_saving(
    samples: Pixels, table: Floats | None, pixels: Levels | None = None, white: int = 255
) -> Saving | None:
    """The earlier saving of a plane of luma, uint8 [H, W]; None where none is found.

    table: float32 [8, 8], of the file's own quantisation; None of a picture that is no JPEG now. pixels: as
    of traced, if they are others than the samples.
    """
    own = 0.0 if table is None else jpeg.coarseness(table, 0)
    coarser = [jpeg.coarseness_of_quality(quality) >= COARSER * own for quality in QUALITIES]
    if not any(coarser) or len(windows := _windows_of(samples, pixels, white)) < FEWEST_WINDOWS:
        return None
    some = windows[:: -(-len(windows) // WINDOWS_SCANNED)]
    scanned = _scan(_histograms(some, range(jpeg.BLOCK), range(jpeg.BLOCK), SCANNED), table)
    scanned[:, ~np.array(coarser)] = -np.inf
    looked_at = []
    for place in np.argsort(scanned.max(axis=1))[: -LOOKED_AT - 1 : -1]:
        top, left = divmod(int(place), jpeg.BLOCK)
        sizes = _histograms(windows, [top], [left], FREQUENCIES)[0]
        looked_at.append(_look_closely(sizes, (top, left), QUALITIES[scanned[place].argmax()], table))
    (total, found), *others = sorted(looked_at, key=lambda one: -one[0])
    return found if found and all(other < RUNNER_UP * total for other, _ in others) else None


def _look_closely(
    sizes: Floats, grid: tuple[int, int], about: int, table: Floats | None
) -> tuple[float, Saving | None]:
    """The largest sum of a grid, and the saving if it is sure. sizes: [frequencies, BINS]."""
    beside = range(max(QUALITIES[0], about - BESIDE), about + BESIDE + 1)
    qualities = tuple(sorted(beside, key=lambda quality: (quality % 10 > 0, quality % 5 > 0)))
    on_own = table is not None and grid == (0, 0)
    combs = _combs(FREQUENCIES, qualities, b"" if table is None else table.tobytes(), on_own)
    sums = np.einsum("fb,fbq->fq", sizes, combs)
    totals = sums.sum(axis=0)
    # Neighbours have nearly the same table; people choose round numbers.
    chosen = int(np.argmax(totals >= totals.max() - 0.1 * abs(totals.max())))
    total, quality, comb = float(totals[chosen]), qualities[chosen], combs[..., chosen]
    if on_own and table is not None:
        own = jpeg.coarseness(table, 0)
        too_near = COARSER_ON_OWN_GRID * own > jpeg.coarseness_of_quality(quality)
        if too_near or own > COARSEST_ON_OWN_GRID:
            return total, None
    sure = SURE_ON_OWN_GRID if on_own else SURE
    counts = (sizes * (comb != 0)).sum(axis=1)
    enough = counts >= FEWEST_COEFFICIENTS
    with_comb = np.maximum(np.exp(comb) - OUTLIERS, 0) * (comb != 0)
    expected = (with_comb * comb).sum(axis=1) / np.maximum(with_comb.sum(axis=1), 1e-6)
    if (
        enough.sum() >= sure.frequencies
        and total > sure.total
        and total > sure.of_expected * (expected * counts).sum()
        and (sums[enough, chosen] > 0).mean() >= sure.agreeing
    ):
        return total, Saving(grid, quality)
    return total, None


# ---- what a comb is expected to be ---------------------------------------------------------


def _scan(sizes: Floats, table: Floats | None) -> Floats:
    """The sum for each grid and each of QUALITIES, [64, qualities]; sizes: [64, SCANNED, BINS]."""
    flat, key = sizes.reshape(len(sizes), -1), b"" if table is None else table.tobytes()
    sums: Floats = flat @ _combs(SCANNED, QUALITIES, key, False).reshape(flat.shape[1], -1)
    if key:
        sums[0] = flat[0] @ _combs(SCANNED, QUALITIES, key, True).reshape(flat.shape[1], -1)
    return sums


@functools.lru_cache(16)
def _combs(frequencies: Frequencies, qualities: tuple[int, ...], key: bytes, on_own_grid: bool) -> Floats:
    """The logarithm of the ratio for each size of a coefficient: float32 [frequencies, BINS, qualities].

    0 where a size tells nothing. key: the bytes of the file's table, none where it has none.
    """
    combs = np.zeros((len(frequencies), BINS, len(qualities)), np.float32)
    earlier = np.stack([jpeg.table_of_quality(quality) for quality in qualities])
    own = np.frombuffer(key, np.float32).reshape(jpeg.BLOCK, jpeg.BLOCK) if key else np.zeros_like(earlier[0])
    deviations = _deviations(own)
    for number, (v, u) in enumerate(frequencies):
        steps, back = np.unique(earlier[:, v, u], return_inverse=True)
        steps = steps[:, np.newaxis]
        comb = (
            _on_own_grid(steps, float(own[v, u]))
            if on_own_grid
            else _off_grid(steps, float(deviations[v, u]))
        )
        combs[number] = comb[back].T
    return combs


def _off_grid(steps: Any, deviation: float) -> Any:
    """For coefficients that lie about the multiples of steps [N, 1] with this deviation: [N, BINS]."""
    nearest = SIZES - steps * np.rint(SIZES / steps)
    density = np.zeros_like(nearest)
    for k in (-1, 0, 1):
        density += np.exp(-np.square((nearest + k * steps) / deviation) / 2)
    density *= steps / (deviation * math.sqrt(2 * math.pi))
    return _logarithm(density, SIZES / steps, FEWEST_STEPS) * (steps > CLOSEST_TEETH * deviation)


def _on_own_grid(steps: Any, own: float) -> Any:
    """For multiples of steps [N, 1] that were rounded again, to multiples of `own`: [N, BINS].

    Some of these are met by no multiple of the earlier steps, others by more than their share.
    """
    coded = np.rint(SIZES / own) * own
    multiple = np.rint(coded / steps)
    met = np.zeros_like(multiple)
    for k in (-1, 0, 1):
        away = coded - (multiple + k) * steps
        met += _normal((away + own / 2) / DEVIATION) - _normal((away - own / 2) / DEVIATION)
    return _logarithm(met * steps / own, coded / steps, FEWEST_STEPS_ON_OWN_GRID) * (steps > own)


def _logarithm(ratio: Any, multiple: Any, fewest: float) -> Any:
    """Of a ratio, some coefficients lying anywhere; 0 where the multiple of a step tells nothing."""
    tells = (multiple > fewest) & (multiple < MOST_STEPS)
    return np.log((1 - OUTLIERS) * ratio + OUTLIERS) * tells


def _normal(values: Any) -> Any:
    """The normal distribution, to 0.01."""
    return 1 / (1 + np.exp(-1.702 * np.clip(values, -30, 30)))


# Of a coefficient from what it was coded as, where its pixels were rounded to grey levels, twice.
DEVIATION = math.sqrt(1.5 * ROUNDING)


def _deviations(table: Floats) -> Floats:
    """The same off the grid of a file with this table: float32 [8, 8].

    The error of each of its coefficients goes, by the mean over all shifts, into those of another grid.
    """
    errors = np.square(np.minimum(table, LARGEST_STEP_TO_COUNT)) * ROUNDING
    return np.sqrt(np.maximum(LEAK @ errors @ LEAK.T + ROUNDING, DEVIATION**2)).astype(np.float32)


def _cosines() -> Floats:
    """The transform of 8 samples, [8 frequencies, 8]."""
    return jpeg.COSINES.reshape([jpeg.BLOCK] * 4)[:, 0, :, 0] * np.float32(np.sqrt(jpeg.BLOCK))


def _leak() -> Floats:
    """[to, from]: the part of a coefficient's energy that another grid finds in others, along one axis."""
    parts = np.zeros((jpeg.BLOCK, jpeg.BLOCK))
    for shift in range(1, jpeg.BLOCK):
        shifted = np.pad(_cosines(), [(0, 0), (shift, jpeg.BLOCK - shift)])
        for half in np.hsplit(shifted, 2):
            parts += np.square(half @ _cosines().T)
    return (parts / (jpeg.BLOCK - 1)).astype(np.float32)


LEAK = _leak()

# ---- what the picture has ------------------------------------------------------------------


def _windows_of(samples: Pixels, pixels: Levels | None, white: int) -> Pixels:
    """Different windows that hold something, from all over a plane: uint8 [N, SIDE, SIDE].

    0 where R, G or B was clipped to 0 or white.
    """
    rows, columns = (max(0, length // jpeg.BLOCK - 1) for length in samples.shape)
    if rows * columns < FEWEST_WINDOWS:
        return np.empty((0, SIDE, SIDE), np.uint8)
    lively = np.empty((rows, columns), bool)
    for row in range(rows):
        band = samples[row * jpeg.BLOCK :][: jpeg.BLOCK, : columns * jpeg.BLOCK]
        blocks = band.reshape(jpeg.BLOCK, columns, jpeg.BLOCK).swapaxes(0, 1).reshape(columns, -1)
        lively[row] = np.ptp(blocks, axis=1) > LIVELY
    places = np.flatnonzero(lively)
    if len(places) > MOST_WINDOWS:
        places = places[np.linspace(0, len(places) - 1, MOST_WINDOWS).astype(int)]
    windows = _at(samples, places // columns, places % columns)
    if pixels is not None and pixels.ndim == 3:
        colours = _at(pixels, places // columns, places % columns)  # [N, 3, SIDE, SIDE]
        windows[((colours == 0) | (colours == white)).any(axis=1)] = 0
    # What a pattern repeats is no further evidence.
    mark = np.random.default_rng(0).normal(size=SIDE * SIDE).astype(np.float32)
    return windows[np.sort(np.unique(windows.reshape(-1, SIDE * SIDE) @ mark, return_index=True)[1])]


def _at(plane: npt.NDArray[Any], rows: npt.NDArray[Any], columns: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Windows that begin at these blocks: [N, SIDE, SIDE], [N, 3, SIDE, SIDE] of colour."""
    view = np.lib.stride_tricks.sliding_window_view(plane, (SIDE, SIDE), axis=(0, 1))
    return view[:: jpeg.BLOCK, :: jpeg.BLOCK][rows, columns]


def _histograms(
    windows: Pixels, tops: Sequence[int], lefts: Sequence[int], frequencies: Frequencies
) -> Floats:
    """How many coefficients have which size: float32 [tops * lefts, frequencies, BINS].

    Blocks that touch 0 or 255 do not count: they were clipped.
    """
    rows = _cosines()[: 1 + max(map(max, frequencies))]
    down, across = _shifted(rows, tops), _shifted(rows, lefts)
    ones = np.ones((1, jpeg.BLOCK), np.float32)
    grids = len(tops) * len(lefts)
    counts = np.zeros((grids, len(frequencies), BINS + 1), np.float32)
    first = (np.arange(grids, dtype=np.int32) * (BINS + 1)).reshape(len(tops), 1, len(lefts))
    for begin in range(0, len(windows), WINDOWS_AT_A_TIME):
        some = windows[begin : begin + WINDOWS_AT_A_TIME]
        sizes = np.abs(_transformed(some, down, across))
        sizes = np.minimum(sizes * BINS_A_LEVEL + 0.5, BINS).astype(np.int32)
        clipped = (some == 0) | (some == 255)
        if clipped.any():
            touched = _transformed(clipped, _shifted(ones, tops), _shifted(ones, lefts)) > 0
            sizes[np.broadcast_to(touched, sizes.shape)] = BINS
        for number, (v, u) in enumerate(frequencies):
            bins = (sizes[:, v, :, :, u] + first).ravel()
            counts[:, number] += np.bincount(bins, minlength=grids * (BINS + 1)).reshape(grids, -1)
    return counts[..., :BINS]


def _shifted(rows: Floats, shifts: Sequence[int]) -> Floats:
    """Functions of 8 samples, [K, 8], laid into a window at each of these places: [SIDE, shifts, K]."""
    laid = np.zeros((SIDE, len(shifts), len(rows)), np.float32)
    for number, shift in enumerate(shifts):
        laid[shift : shift + jpeg.BLOCK, number] = rows.T
    return laid


def _transformed(windows: npt.NDArray[Any], down: Floats, across: Floats) -> Floats:
    """Windows [N, SIDE, SIDE] by functions of _shifted: [tops, K, N, lefts, K]."""
    by_row = windows.astype(np.float32).swapaxes(0, 1).reshape(SIDE, -1)
    half = (down.reshape(SIDE, -1).T @ by_row).reshape(-1, SIDE)
    both: Floats = np.matmul(half, across.reshape(SIDE, -1))
    return both.reshape(*down.shape[1:], len(windows), *across.shape[1:])
