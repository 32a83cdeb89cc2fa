"""How far a change may go: what the file allows, and how far the net can be trusted, block by block.

The nets have seen photographs. Six kinds of block are told apart in which they are wrong, by what the file
holds and by what the net asks for; there the change fades out. The thresholds were chosen on crops of BSDS500
val and a third of LIVE1, which lose nothing by them, and on 30 drawn pictures.

- A pattern (dither, hatching, a checkerboard, noise, small text in black and white): the high frequencies
  around are stronger than a photograph's, and the net asks mainly to weaken what the file holds, or for more
  than a step.
- A smooth pattern that repeats from block to block, and in a fine file any: nothing tells errors from it.
- An edge on the border of two blocks without detail: a ramp as steep as that would have left coefficients.
- Dark flat ground: on photographs of low quality the net has learned that most of it was lighter. In chroma
  neutral ground, 128 throughout: the eye sees the least tint on grey.
- A smooth sky in a fine file: what is left there is the rounding to whole grey levels, which no net can undo.
- Black and white throughout (jpeg.reach_of).
"""

from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from car import jpeg, levels
from car.arrays import Changes, Floats, Pixels

HIGH = jpeg.FREQUENCIES.reshape(-1) >= 6
LOW = ~HIGH & (jpeg.FREQUENCIES.reshape(-1) > 0)
# Of a map of blocks [rows, columns]: the blocks that have one before them, and those; down, and across.
ALL, BEHIND, BEFORE = slice(None), slice(1, None), slice(None, -1)
BESIDE = ((BEHIND, ALL), (BEFORE, ALL)), ((ALL, BEHIND), (ALL, BEFORE))
# Each pair: where a change begins to fade, and where nothing is left of it.
# The rms of the high coefficients around a block, grey levels; of photographs 99.9 % have under 32.
STRONGER_THAN_PHOTOGRAPHS = (50.0, 62.0)
FAR_STRONGER = (85.0, 100.0)  # there the net is lost whatever it asks for
# The high coefficients' share of the rms of all but the mean; of photographs 99.9 % have under 0.79.
HIGH_SHARE = (0.82, 0.9)
STRONG_ENOUGH_FOR_SHARE = (6.0, 12.0)  # rms of the high ones
# How much of what the net asks for, in squared steps, weakens coefficients that the file holds.
WEAKENING = (0.4, 0.55)
ASKED_STEPS = (1.0, 2.0)  # the most that the net asks for in a block
EDGE = (0.2, 0.32)  # jump between two flat blocks, in steps of the first frequency across it
MUCH = (8.0, 16.0)  # length of the low coefficients of a block that repeats, in steps
DARK = 16  # grey levels
# A smooth block: rms of the high coefficients around, grey levels; a fine file: its first step across.
NOT_SMOOTH, NOT_FINE = (0.3, 0.6), (2.0, 3.0)
NEUTRAL = 128  # the level of Cb and Cr where R = G = B


class Blocks(NamedTuple):
    """What is measured of each block of a plane: float32 [rows, columns] of blocks, but for the first."""

    low: npt.NDArray[np.int16]  # [rows, columns, 20]: the low coefficients but the mean, in whole steps
    high: Floats  # sum of the squared high coefficients
    detail: Floats  # the same of all but the mean's
    asked: Floats  # sum of the squared changes that the net asks for, in steps
    weakening: Floats  # the part of it that weakens coefficients which the file holds
    most: Floats  # the largest change that the net asks for, in steps
    flat: Floats  # 1 where the file holds nothing but the mean
    mean: Floats  # grey levels
    lowest: Floats
    highest: Floats


def limit_change(
    change: Changes,
    samples: Pixels,
    table: Floats,
    gains: Floats,
    is_chroma: bool = False,
    corner: tuple[int, int] = (0, 0),
) -> None:
    """Limit a change in place: each coefficient to reach_of times its step, each block by its trust.

    change: int16 [H, W], the corrected less the decoded plane (levels.held); samples: uint8 [H, W], decoded.
    table: float32 [8, 8], of quantisation. gains: float32 [8, 8], by which the net's coefficients are
    multiplied first (weights.Weights). corner: rows and columns before the first whole block, 0..7. Partial
    blocks at the edges are made whole by mirroring: what the file codes of the rest is not known.
    """
    if corner != (0, 0):
        before = [(-length % jpeg.BLOCK, 0) for length in corner]
        larger: Changes = np.pad(change, before, "symmetric")
        limit_change(larger, np.pad(samples, before, "symmetric"), table, gains, is_chroma)
        change[...] = larger[before[0][0] :, before[1][0] :]
        return
    # Twice over the plane: what a block gets depends on its neighbours. The coefficients are made again and
    # not kept, as they take as much memory as the plane.
    bands = _bands(samples.shape[0])
    measured = [_measure(levels.in_levels(change[rows]), samples[rows], table, gains) for rows in bands]
    trusted = trust(Blocks(*map(np.concatenate, zip(*measured, strict=True))), table, is_chroma)
    steps = table.reshape(-1)
    for rows in bands:
        band = levels.in_levels(change[rows])
        wanted = _wanted(band, gains)
        decoded = jpeg.blocks_of(jpeg.made_whole(samples[rows]))
        limits = jpeg.reach_of(decoded.min(axis=1), decoded.max(axis=1))[:, np.newaxis] * steps
        first = rows.start // jpeg.BLOCK
        weights = trusted[first : first + -(-band.shape[0] // jpeg.BLOCK)].reshape(-1, 1)
        kept = (np.clip(wanted, -limits, limits) * weights) @ jpeg.COSINES
        change[rows] = levels.held(jpeg.plane_of(kept.astype(np.float32, copy=False), band.shape))


def trust(blocks: Blocks, table: Floats, is_chroma: bool = False) -> Floats:
    """How much of its change each block gets, 0..1: float32 [rows, columns]."""
    high, detail, asked, weakening = map(
        _around, (blocks.high, blocks.detail, blocks.asked, blocks.weakening)
    )
    strength = np.sqrt(high / HIGH.sum())
    share = np.sqrt(high / np.maximum(detail, 1))
    unlike_photographs = np.maximum(
        _ramp(strength, STRONGER_THAN_PHOTOGRAPHS),
        _ramp(share, HIGH_SHARE) * _ramp(strength, STRONG_ENOUGH_FOR_SHARE),
    )
    wrong = np.maximum(_ramp(weakening / np.maximum(asked, 1e-6), WEAKENING), _ramp(blocks.most, ASKED_STEPS))
    wrong = np.maximum(wrong, _ramp(strength, FAR_STRONGER))
    trusted = np.minimum(1 - unlike_photographs * wrong, 1 - _edges(blocks, table))
    if not is_chroma:
        trusted = np.minimum(trusted, np.maximum(_ramp(strength, NOT_SMOOTH), _ramp(table[0, 1], NOT_FINE)))
    level = _spread(blocks.lowest, np.minimum)
    keeps_level = level == NEUTRAL if is_chroma else level < DARK
    ground = keeps_level & (_spread(blocks.highest, np.maximum) == level)
    smooth_or_fine = np.maximum(
        1 - _ramp(strength, STRONG_ENOUGH_FOR_SHARE), 1 - _ramp(table[0, 1], NOT_FINE)
    )
    trusted = np.minimum(trusted, 1 - _repeats(blocks) * smooth_or_fine)
    return np.where(ground, 0, trusted).astype(np.float32)


def _bands(height: int) -> list[slice]:
    """Rows taken at a time.

    The last band takes in a rest of less than a block: alone that has too few rows to mirror.
    """
    tops = range(0, max(height - jpeg.BLOCK, 0) + 1, jpeg.ROWS_AT_A_TIME)
    return [slice(top, height if top == tops[-1] else top + jpeg.ROWS_AT_A_TIME) for top in tops]


def _wanted(change: Floats, gains: Floats) -> Floats:
    """The coefficients that the net asks for, [N, 64]."""
    return jpeg.blocks_of(jpeg.made_whole(change)) @ jpeg.COSINES.T * gains.reshape(-1)


def _measure(change: Floats, samples: Pixels, table: Floats, gains: Floats) -> Blocks:
    """Measure the blocks of a band."""
    steps, pixels = table.reshape(-1), jpeg.blocks_of(jpeg.made_whole(samples))
    held, wanted = pixels.astype(np.float32) @ jpeg.COSINES.T, _wanted(change, gains)
    asked, is_held = np.square(wanted / steps), np.abs(held) > steps / 2
    weakens = is_held & (np.sign(wanted) == -np.sign(held))
    measured = (
        np.square(held[:, HIGH]).sum(axis=1),
        np.square(held[:, 1:]).sum(axis=1),
        asked.sum(axis=1),
        (asked * weakens).sum(axis=1),
        np.sqrt(asked.max(axis=1)),
        ~is_held[:, 1:].any(axis=1),
        held[:, 0] / jpeg.BLOCK,
        pixels.min(axis=1),
        pixels.max(axis=1),
    )
    columns = -(-samples.shape[1] // jpeg.BLOCK)
    maps = [values.reshape(-1, columns).astype(np.float32) for values in measured]
    low = np.rint(held[:, LOW] / steps[LOW]).astype(np.int16)
    return Blocks(low.reshape(-1, columns, LOW.sum()), *maps)


def _edges(blocks: Blocks, table: Floats) -> Floats:
    """Where a block is flat beside another flat one, and their means differ more than a ramp's: 0..1."""
    found = np.zeros_like(blocks.mean)
    for (behind, before), step in zip(BESIDE, (table[1, 0], table[0, 1]), strict=True):
        # The means themselves were rounded to steps of table[0, 0] / 8.
        jump = np.abs(blocks.mean[behind] - blocks.mean[before]) - table[0, 0] / jpeg.BLOCK
        edge = _ramp(jump / step, EDGE) * blocks.flat[behind] * blocks.flat[before]
        for side in (behind, before):
            found[side] = np.maximum(found[side], edge)
    return found


def _repeats(blocks: Blocks) -> Floats:
    """Where a block holds much and its low coefficients are those of the four beside it, to a step: 0..1."""
    alike = np.ones(blocks.mean.shape, bool)
    for behind, before in BESIDE:
        same = np.abs(blocks.low[behind] - blocks.low[before]).max(axis=-1, initial=0) <= 1
        alike[behind] &= same
        alike[before] &= same
    held = np.sqrt(np.square(blocks.low, dtype=np.float32).sum(axis=-1))
    repeats: Floats = alike * _ramp(held, MUCH)
    return repeats


def _ramp(values: Any, ends: tuple[float, float]) -> Any:
    """0 up to the first end, 1 from the second on, linear between them."""
    return np.clip((values - ends[0]) / (ends[1] - ends[0]), 0, 1)


def _nine(values: Floats) -> Floats:
    """Each block's own value and its eight neighbours': [9, rows, columns]; outside, the edge's own."""
    padded, (rows, columns) = np.pad(values, 1, "edge"), values.shape
    return np.stack([padded[y : y + rows, x : x + columns] for y in range(3) for x in range(3)])


def _around(values: Floats) -> Floats:
    """The mean over each block and its eight neighbours."""
    return _nine(values).mean(axis=0)


def _spread(values: Floats, reduce: np.ufunc) -> Floats:
    """The least or largest value of each block and its eight neighbours."""
    spread: Floats = reduce.reduce(_nine(values), axis=0)
    return spread
