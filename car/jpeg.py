"""What a JPEG's header tells about the pixels that it once had: how coarse it is, and what it allows.

A JPEG codes each 8x8 block by its discrete cosine transform, every coefficient rounded to a
multiple of a step (ITU T.81, Annex A.3). The quantisation table, the steps of the 64 coefficients, is in
the header; what was there before lies within half a step of what the file decodes to.

A table is float32 [8, 8]; a row holds the steps of one vertical frequency.
"""

import functools
import math
import re
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from PIL.JpegImagePlugin import JpegImageFile

from car.arrays import Floats, Pixels

BLOCK = 8  # pixels at each side
ROWS_AT_A_TIME = 64  # so that memory does not grow with the picture
# How far a coefficient may be moved. What was lost is rarely half a step: most coefficients are small, and
# end near the middle of their interval. Chosen on BSDS500 val (benchmarks/quality.py).
REACH_IN_STEPS = 0.35
# In a block that touches 0 or 255 pixels were clipped, and the nets mend what is left of noise by too much.
REACH_IN_STEPS_WHERE_CLIPPED = 0.3
# The tables of luma and chroma at quality 50, Annex K of T.81, which nearly every encoder multiplies by
# a factor.
LUMA_TABLE = np.array(
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
# Kinds of JPEG by their frame's marker (T.81, table B.1); those that are not named are the usual ones.
LOSSLESS, ARITHMETIC = (0xC3,), (0xC9, 0xCA)
UNSUPPORTED_FRAMES = {
    **dict.fromkeys((0xC5, 0xC6, 0xC7, 0xDE), "hierarchical"),
    **dict.fromkeys((0xCD, 0xCE, 0xCF), "hierarchical with arithmetic coding"),
    0xCB: "lossless with arithmetic coding",
}
EOI = b"\xff\xd9"  # ends a JPEG
# What coded data could go on with, longer than any unit of them: a decoder drops one that is cut.
MORE_BITS = b"\xaa" * 4096
JFIF_BYTES = 14  # of a JFIF segment, at the least, that libjpeg takes for one
ROUNDING_OF_COEFFICIENT = 3.0  # at the most, where two planes are rounded to grey levels
LARGEST_STEP = 255  # in the one byte that it has
CHROMA_TABLE = np.full((BLOCK, BLOCK), 99)
CHROMA_TABLE[:4, :4] = [[17, 18, 24, 47], [18, 21, 26, 66], [24, 26, 56, 99], [47, 66, 99, 99]]
FREQUENCIES = np.add.outer(np.arange(BLOCK), np.arange(BLOCK))  # u + v of each coefficient
LOW = FREQUENCIES <= 6

Span = tuple[float, float]  # (finest, coarsest) of the coarseness of several files


def segments(data: bytes) -> Iterator[tuple[int, int]]:
    """(marker, place of its length) of a JPEG's segments and EOI, as libjpeg finds them (T.81, B.1.1.2)."""
    marker = re.compile(rb"\xff([^\x00\xff\x01\xd0-\xd8])")  # those that are followed by a length, and EOI
    found = marker.search(data)
    while found:
        place = found.end()
        yield found[1][0], place
        if found[0] == EOI:
            break
        found = marker.search(data, place + max(2, int.from_bytes(data[place : place + 2], "big")))


def end_of(data: bytes) -> int:
    """Where the first picture of a JPEG ends, behind its EOI; behind all of it where that is missing."""
    return next((place for marker, place in segments(data) if marker == EOI[1]), len(data))


def scans_of(data: bytes) -> int:
    """The number of scans of a JPEG."""
    return sum(marker == 0xDA for marker, _ in segments(data))


def has_end(data: bytes) -> bool:
    """Whether an EOI marker ends the first picture of a JPEG."""
    return data.endswith(EOI) or any(marker == EOI[1] for marker, _ in segments(data))


def endings(data: bytes) -> tuple[bytes, bytes]:
    """A JPEG that lacks its end, with it; and the same with more data before it.

    Where both decode to the same pixels, the data were whole.
    """
    data = data.rstrip(b"\xff")  # of the marker the first byte can be there
    last = max(data.rfind(b"\xff%c" % marker) for marker in range(0xD0, 0xD8))  # of the restarts
    first = data[last + 1] + 1 if last >= 0 else 0
    restarts = [b"\xff%c" % (0xD0 + (first + number) % 8) + MORE_BITS for number in range(8)]
    return data + EOI, data + MORE_BITS + b"".join(restarts) + EOI


def has_all_scans(data: bytes) -> bool:
    """Whether a JPEG's scans bring every coefficient of every component to its last bit (T.81, B.2.3)."""
    frame, brought = frame_of(data), dict[int, set[int]]()
    for marker, place in segments(data):
        if marker == 0xDA and len(data) > place + 2:
            spectral = place + 3 + 2 * data[place + 2]
            for component in data[place + 3 : spectral : 2]:
                first, last, bits = data[spectral : spectral + 3].ljust(3, b"\xff")
                if bits & 15 == 0:
                    brought.setdefault(component, set()).update(range(first, last + 1))
    coefficients = 0 if frame and frame.marker in LOSSLESS else BLOCK * BLOCK
    whole = [component for component, places in brought.items() if len(places) >= coefficients]
    return frame is not None and len(whole) == frame.components


class Frame(NamedTuple):
    """A JPEG's frame header (T.81, B.2.2)."""

    marker: int  # 0xC0..0xCF; 0xDE of a hierarchical one
    bits: int  # a sample
    components: int


def frame_of(data: bytes) -> Frame | None:
    """The first frame header of a JPEG; None where none comes before the first scan."""
    for marker, place in segments(data):
        header = data[place + 2 : place + 8]  # bits, height, width, number of components
        if marker in (*range(0xC0, 0xD0), 0xDE) and marker not in (0xC4, 0xC8, 0xCC) and len(header) == 6:
            return Frame(marker, header[0], header[5])
        if marker == 0xDA:
            break
    return None


def is_lossless(data: bytes) -> bool:
    """Whether a JPEG is a lossless one (SOF3): nothing was lost, and there is nothing to correct."""
    frame = frame_of(data)
    return frame is not None and frame.marker in LOSSLESS


def coded_as_ycbcr(image: JpegImageFile) -> bool:
    """Whether an opened JPEG (PIL) codes luma, alone or with Cb and Cr (not CMYK, not RGB)."""
    luma, *chroma = image.layer  # (id, horizontal and vertical sampling, number of the table) of each
    if image.mode not in ("L", "RGB") or (image.mode == "RGB" and _is_coded_as_rgb(image)):
        return False
    return all(component[1] <= luma[1] and component[2] <= luma[2] for component in chroma)


def _is_coded_as_rgb(image: JpegImageFile) -> bool:
    """Whether libjpeg takes the three components of an opened JPEG for R, G and B.

    A JFIF segment says YCbCr whatever Adobe's says, and that goes before the components' names (jdapimin.c).
    """
    if any(
        name == "APP0" and data.startswith(b"JFIF\0") and len(data) >= JFIF_BYTES
        for name, data in image.applist
    ):
        return False
    if "adobe_transform" in image.info:
        return bool(image.info["adobe_transform"] == 0)
    return bytes(component[0] for component in image.layer) == b"RGB"


def table_of(image: JpegImageFile, component: int) -> Floats | None:
    """The table of an opened JPEG's component (0 luma, 1 Cb, 2 Cr).

    None where the file states no such table, or one with a step of 0, which only a damaged file has.
    """
    table = image.quantization.get(image.layer[component][3])
    return np.array(table, np.float32).reshape(BLOCK, BLOCK) if table and all(table) else None


def coarseness(table: Floats, component: int) -> float:
    """By what factor a component's table [8, 8] is the standard one (component 0 luma, 1 Cb, 2 Cr).

    5 at libjpeg's quality 10, 1.25 at 40, 0.1 at 95. Of a table that is no multiple of the standard one the
    geometric mean of the 64 factors: on BSDS500 val, with the tables of Photoshop, mozjpeg and flat ones,
    it is nearer to the best set of weights than the median or the mean.
    """
    factors = table / (CHROMA_TABLE if component else LUMA_TABLE)
    told = table < LARGEST_STEP  # where a byte ends, the factor may have been larger
    return _geometric_mean(factors[told]) if told.any() else float(factors.max())


def tilt(table: Floats) -> float:
    """By what factor a luma table [8, 8] is coarser at low frequencies (u + v <= 6) than at all 64.

    Against the standard table, which has 1, as all its multiples do but for rounding: a flat table has 2.1.
    """
    factors, told = table / LUMA_TABLE, table < LARGEST_STEP
    if not (told & LOW).any():
        return 1.0
    return _geometric_mean(factors[told & LOW]) / _geometric_mean(factors[told])


def _geometric_mean(factors: npt.NDArray[Any]) -> float:
    return float(np.exp(np.log(factors).mean(dtype=np.float64)))


def coarseness_of_quality(quality: int) -> float:
    """The factor that libjpeg (jpeg_quality_scaling) takes for a quality of 1..100."""
    return 50 / quality if quality < 50 else max(2 - quality / 50, 1 / 100)


def table_of_quality(quality: int, component: int = 0) -> Floats:
    """The table of a component (0 luma, 1 Cb, 2 Cr) that libjpeg writes at a quality of 1..100, [8, 8]."""
    percent = 5000 // quality if quality < 50 else 200 - 2 * quality  # jpeg_quality_scaling
    standard = CHROMA_TABLE if component else LUMA_TABLE
    return np.clip((standard * percent + 50) // 100, 1, LARGEST_STEP).astype(np.float32)


def quality_of_coarseness(factor: float) -> int:
    """The quality of 1..100 whose factor (coarseness_of_quality) is nearest."""
    return min(range(1, 101), key=lambda quality: abs(math.log(coarseness_of_quality(quality) / factor)))


def quality_of(table: Floats) -> tuple[int, bool]:
    """The quality of 1..100 that a luma table [8, 8] is of, and whether it is exactly libjpeg's table.

    Of another table it is the quality whose own table is nearest to it in coarseness.
    """
    own = coarseness(table, 0)
    quality = min(range(1, 101), key=lambda quality: abs(math.log(_coarseness_of_table(quality) / own)))
    nearby = range(max(1, quality - 1), min(100, quality + 1) + 1)  # several have a table of one coarseness
    exact = [near for near in nearby if np.array_equal(table, table_of_quality(near))]
    return (exact[-1], True) if exact else (quality, False)


@functools.cache
def _coarseness_of_table(quality: int) -> float:
    """Of the table of whole steps that libjpeg writes, which differs from the factor at both ends."""
    return coarseness(table_of_quality(quality), 0)


def _cosines() -> Floats:
    """The transform of a block's 64 pixels, row by row, as one orthonormal matrix (T.81, A.3.3)."""
    frequency, pixel = np.mgrid[:BLOCK, :BLOCK]
    one_axis = np.cos((2 * pixel + 1) * frequency * np.pi / (2 * BLOCK)) / 2
    one_axis[0] /= np.sqrt(2)
    return np.kron(one_axis, one_axis).astype(np.float32)


COSINES = _cosines()


def reach_of(lowest: Any, highest: Any, where: Callable[..., Any] = np.where) -> Any:
    """How far a block's coefficients may be moved, in steps, by its lowest and its highest grey level.

    A block of nothing but 0, or of nothing but 255, gets no change: what is black or white there stays so,
    though on photographs of low quality the net has learned that most of such blacks were a dark grey.
    Correction, the loss by header and the fitting of gains all ask here. where: np.where or tf.where.
    """
    clipped, blank = (lowest <= 0) | (highest >= 255), (highest <= 0) | (lowest >= 255)
    return where(
        blank,
        np.float32(0),
        where(clipped, np.float32(REACH_IN_STEPS_WHERE_CLIPPED), np.float32(REACH_IN_STEPS)),
    )


def share_contradicted(jpg: Pixels, clean: Pixels, table: Floats) -> float:
    """How much of a JPEG cannot come from this clean picture, 0..1 of the blocks that hold something.

    jpg, clean: uint8 [H, W], luma on the coded grid; table: that of jpg. Rounding
    costs a coefficient half a step, encoders that save bytes take a whole one; whole grey levels can add
    ROUNDING_OF_COEFFICIENT to it. A block contradicts where a coefficient differs by more. Blocks that one
    step could have emptied agree with everything and do not count, nor do those that the decoder may have
    clipped.
    """
    steps, counted, contradicted = table.reshape(-1), 0, 0
    for top in range(0, jpg.shape[0] // BLOCK * BLOCK, ROWS_AT_A_TIME):
        rows = slice(top, min(top + ROWS_AT_A_TIME, jpg.shape[0] // BLOCK * BLOCK))
        columns = slice(jpg.shape[1] // BLOCK * BLOCK)
        decoded = blocks_of(jpg[rows, columns])
        before, after = (blocks_of(p[rows, columns]).astype(np.float32) @ COSINES.T for p in (clean, jpg))
        largest = np.maximum(np.abs(before), np.abs(after))
        holds = (largest[:, 1:] > 1.5 * steps[1:]).any(axis=1)
        holds &= (decoded.min(axis=1) > 0) & (decoded.max(axis=1) < 255)
        counted += int(holds.sum())
        too_far = (np.abs(before - after) > steps + ROUNDING_OF_COEFFICIENT).any(axis=1)
        contradicted += int((too_far & holds).sum())
    return contradicted / max(counted, 1)


def made_whole(plane: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """[H, W] mirrored at its right and lower edge until both sides are multiples of 8."""
    return np.pad(plane, [(0, -length % BLOCK) for length in plane.shape], "symmetric")


def plane_of(blocks: Floats, shape: tuple[int, ...]) -> Floats:
    """What blocks_of(made_whole(plane)) made of a plane of this shape [H, W], put together again."""
    rows, columns = (-(-length // BLOCK) for length in shape)
    whole = blocks.reshape(rows, columns, BLOCK, BLOCK).swapaxes(1, 2).reshape(rows * BLOCK, columns * BLOCK)
    return whole[: shape[0], : shape[1]]


def blocks_of(plane: Pixels | Floats) -> Pixels | Floats:
    """The 8x8 blocks of [H, W], whose sides are multiples of 8: [N, 64]."""
    rows, columns = plane.shape[0] // BLOCK, plane.shape[1] // BLOCK
    return plane.reshape(rows, BLOCK, columns, BLOCK).swapaxes(1, 2).reshape(-1, BLOCK * BLOCK)
