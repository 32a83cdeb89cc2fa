"""What a JPEG's header tells about the pixels that it once had: how coarse it is, and what it allows.

A JPEG codes each 8x8 block by its discrete cosine transform, every coefficient rounded to a
multiple of a step (ITU T.81, Annex A.3). The table of steps, the quantisation table, is in the
header; what was there before lies within half a step of what the file decodes to.
"""

import numpy as np
from PIL.JpegImagePlugin import JpegImageFile

from car_types import Floats, Pixels

SIDE = 8  # of a block, in pixels
BAND = 256  # rows taken at a time, so that memory does not grow with the picture
# How far a coefficient may be moved, in steps. What was lost is rarely half a step: most coefficients
# are small, and end near the middle of their interval. Chosen on BSDS500 val (benchmarks/quality.py).
SHARE = 0.35
# The tables of luma and chroma at quality 50, Annex K of T.81, which nearly every encoder multiplies by
# a factor.
LUMA_STEPS = np.array(
    [
        [16, 11, 10, 16, 24, 40, 51, 61],
        [12, 12, 14, 19, 26, 58, 60, 55],
        [14, 13, 16, 24, 40, 57, 69, 56],
        [14, 17, 22, 29, 51, 87, 80, 62],
        [18, 22, 37, 56, 68, 109, 103, 77],
        [24, 35, 55, 64, 81, 104, 113, 92],
        [49, 64, 78, 87, 103, 121, 120, 101],
        [72, 92, 95, 98, 112, 100, 103, 99],
    ]
)
LARGEST_STEP = 255  # in the one byte that it has
CHROMA_STEPS = np.full((SIDE, SIDE), 99)
CHROMA_STEPS[:4, :4] = [[17, 18, 24, 47], [18, 21, 26, 66], [24, 26, 56, 99], [47, 66, 99, 99]]


def coded_as_ycbcr(image: JpegImageFile) -> bool:
    """Whether an opened JPEG (PIL) codes luma, alone or with Cb and Cr (not CMYK, not RGB)."""
    luma, *chroma = image.layer  # (id, horizontal and vertical sampling, number of the table) of each
    if image.mode == "RGB":
        names = bytes(component[0] for component in image.layer)
        if image.info.get("adobe_transform") == 0 or names == b"RGB":
            return False
    elif image.mode != "L":
        return False
    return all(component[1] <= luma[1] and component[2] <= luma[2] for component in chroma)


def steps_of(image: JpegImageFile, component: int) -> Floats | None:
    """The quantisation table of an opened JPEG's component (0 luma, 1 Cb, 2 Cr), float32 [8, 8].

    A row holds the steps of one vertical frequency. None where the file states no such table, or
    one with a step of 0, which only a damaged file has.
    """
    table = image.quantization.get(image.layer[component][3])
    return np.array(table, np.float32).reshape(SIDE, SIDE) if table and all(table) else None


def coarseness(steps: Floats, component: int) -> float:
    """By what factor a component's table [8, 8] is the standard one (component 0 luma, 1 Cb, 2 Cr).

    5 at libjpeg's quality 10, 1.25 at 40, 0.1 at 95.
    """
    factors = steps / (CHROMA_STEPS if component else LUMA_STEPS)
    told = steps < LARGEST_STEP  # where a byte ends, the factor may have been larger
    return float(np.median(factors[told]) if told.any() else factors.max())


def coarseness_of_quality(quality: int) -> float:
    """The factor that libjpeg (jpeg_quality_scaling) takes for a quality of 1..100."""
    return 50 / quality if quality < 50 else max(2 - quality / 50, 1 / 100)


def steps_of_quality(quality: int) -> Floats:
    """The luma table that libjpeg writes at a quality of 1..100, float32 [8, 8]."""
    percent = 5000 // quality if quality < 50 else 200 - 2 * quality  # jpeg_quality_scaling
    return np.clip((LUMA_STEPS * percent + 50) // 100, 1, LARGEST_STEP).astype(np.float32)


def _cosines() -> Floats:
    """The transform of a block's 64 pixels, row by row, as one orthonormal matrix (T.81, A.3.3)."""
    frequency, pixel = np.mgrid[:SIDE, :SIDE]
    one_axis = np.cos((2 * pixel + 1) * frequency * np.pi / (2 * SIDE)) / 2
    one_axis[0] /= np.sqrt(2)
    return np.kron(one_axis, one_axis).astype(np.float32)


COSINES = _cosines()


def keep_to_steps(change: Floats, samples: Pixels, steps: Floats, gains: Floats) -> None:
    """Limit a change to what the file allows: each coefficient to +- SHARE of its step [8, 8], in place.

    change: float32 [H, W] grey levels, the corrected less the decoded plane; samples: uint8 [H, W], decoded.
    gains: float32 [8, 8], by which the net's coefficients are multiplied first (model_car.py).
    Blocks that touch 0 or 255 are not limited, as the decoder may have clipped them and so moved their
    coefficients; partial blocks at the right and lower edge are left alone: the file codes more of them. A
    block of nothing but 0, or of nothing but 255, gets no change: what is black or white there stays so,
    though on photographs of low quality the net has learned that most of such blacks were a dark grey.
    """
    height, width = (length // SIDE * SIDE for length in samples.shape)
    limits, gains = SHARE * steps.reshape(-1), gains.reshape(-1)
    for top in range(0, height, BAND):
        rows = slice(top, min(top + BAND, height))
        blocks, decoded = (blocks_of(plane[rows, :width]) for plane in (change, samples))
        coefficients = blocks @ COSINES.T * gains
        lowest, highest = decoded.min(axis=1), decoded.max(axis=1)
        whole = (lowest > 0) & (highest < 255)
        coefficients[whole] = np.clip(coefficients[whole], -limits, limits)
        kept = coefficients @ COSINES
        kept[(highest == 0) | (lowest == 255)] = 0
        band = change[rows, :width]  # perhaps of no columns, so that reshape is told all of its shape
        kept = kept.reshape(band.shape[0] // SIDE, width // SIDE, SIDE, SIDE).swapaxes(1, 2)
        band[...] = kept.reshape(band.shape)


def blocks_of(plane: Pixels | Floats) -> Pixels | Floats:
    """The 8x8 blocks of [H, W], whose sides are multiples of 8: [N, 64]."""
    rows, columns = plane.shape[0] // SIDE, plane.shape[1] // SIDE
    return plane.reshape(rows, SIDE, columns, SIDE).swapaxes(1, 2).reshape(-1, SIDE * SIDE)
