"""Changes of planes: weakened, measured, and put into a picture. All of it by bands of rows, for the memory.

A change is int16 [h, w], as levels.held makes it of grey levels.
"""

from collections.abc import Sequence

import numpy as np
from PIL import Image

from car import levels
from car.arrays import Changes, Floats, Levels, Pixels

ROWS_AT_A_TIME = 64
CHROMA_TO_RGB = np.array(
    [[0, -0.344136, 1.772], [1.402, -0.714136, 0]], np.float32
)  # Cb and Cr, JFIF (BT.601)


def corrected(samples: Pixels, change: Changes) -> Pixels:
    """Samples, uint8 [H, W], with their change."""
    changed = np.empty_like(samples)
    for rows in _bands(len(samples)):
        changed[rows] = np.clip(np.rint(samples[rows] + levels.in_levels(change[rows])), 0, 255)
    return changed


def _bands(height: int) -> list[slice]:
    return [slice(top, min(top + ROWS_AT_A_TIME, height)) for top in range(0, height, ROWS_AT_A_TIME)]


def weaken(change: Changes, strength: float) -> None:
    """Multiply a change by a strength of 0..1, in place."""
    for rows in _bands(len(change)):
        change[rows] = levels.held(levels.in_levels(change[rows]) * np.float32(strength))


def mean_size(change: Changes) -> float:
    """The mean absolute value of a change [H, W], in grey levels."""
    total = sum(int(np.abs(change[rows]).sum(dtype=np.int64)) for rows in _bands(len(change)))
    return total / levels.STEPS_A_LEVEL / change.size


def added(pixels: Levels, some: Sequence[Changes], white: int) -> Levels:
    """Add the changes of luma, and of Cb and Cr, if they are given, to decoded pixels.

    white: the level of pixels that is white.
    """
    if not some:
        return pixels.copy()
    luma, *chroma = some
    result = np.empty_like(pixels)
    for rows in _bands(len(luma)):
        change = levels.in_levels(luma[rows])
        if pixels.ndim == 3:
            change = change[..., np.newaxis]
            if chroma:
                change = (
                    change
                    + np.stack([_interpolated(c, luma.shape, rows) for c in chroma], -1) @ CHROMA_TO_RGB
                )
        changed = np.rint(pixels[rows] + change * np.float32(white / 255))
        result[rows] = np.clip(changed, 0, white).astype(pixels.dtype)
    return result


def _interpolated(chroma: Changes, shape: tuple[int, ...], rows: slice) -> Floats:
    """Rows of a change of chroma at the luma's shape (H, W), as libjpeg makes them: float32.

    Twice as many by the triangle filter (3/4 of the nearer, 1/4 of the farther sample), else repeated.
    """
    (height, width), lines = shape, len(chroma)
    across, down = (
        -(-whole // part) for whole, part in zip((width, height), chroma.shape[::-1], strict=True)
    )
    first, last = max(0, rows.start // down - 1), min(lines, -(-rows.stop // down) + 1)  # with a neighbour
    part = Image.fromarray(levels.in_levels(chroma[first:last]))
    box = (0, rows.start / down - first, width / across, rows.stop / down - first)
    how = Image.Resampling.BILINEAR if max(across, down) <= 2 else Image.Resampling.NEAREST
    return np.asarray(part.resize((width, rows.stop - rows.start), how, box))
