"""The planes of a JPEG on the grids on which they are coded."""

import io
from typing import NamedTuple

import numpy as np
from PIL.JpegImagePlugin import JpegImageFile

from car import jpeg, levels
from car.arrays import Floats, Pixels


class Rounding(NamedTuple):
    """How a saving rounded the blocks of a plane."""

    table: Floats  # float32 [8, 8], of quantisation
    corner: tuple[int, int]  # rows and columns before its first whole block, 0..7


class Plane(NamedTuple):
    """One component of a JPEG on its own grid: the chroma's may have half the rows and columns."""

    samples: Pixels  # uint8 [h, w], decoded
    table: Floats | None  # float32 [8, 8], of quantisation; None where samples are not as coded
    earlier: Rounding | None = None  # that was coarser (car.history)

    @property
    def rounding(self) -> Rounding | None:
        """The coarsest one that is known."""
        return self.earlier or (None if self.table is None else Rounding(self.table, (0, 0)))


class FirstPicture(JpegImageFile):
    """Pillow's reader of JPEGs by itself: no index of further pictures, no resolution from the EXIF.

    Where one of these is damaged, Pillow would not open the file at all.
    """

    def _read_dpi_from_exif(self) -> None: ...


def planes_of(image: JpegImageFile, data: bytes, pixels: Pixels) -> tuple[Plane, ...]:
    """The planes of a JPEG, given opened, as bytes and decoded. Luma is made where none is coded."""
    if not jpeg.coded_as_ycbcr(image):
        return (Plane(levels.luma_of(pixels), None),)
    tables = [jpeg.table_of(image, component) for component in range(len(image.layer))]
    if pixels.ndim == 2:
        return (Plane(pixels, tables[0]),)
    luma, *chroma = (component[1:3] for component in image.layer)
    coarser = [(luma[0] / own[0], luma[1] / own[1]) for own in chroma]  # than luma's grid, across and down
    by_half = min(pixels.shape[:2]) > 1
    halved = _draft(data, "YCbCr", halved=True) if by_half and (2, 2) in coarser else pixels
    whole = pixels if by_half and set(coarser) == {(2, 2)} else _draft(data, "YCbCr")
    planes = [
        Plane(halved[..., number].copy(), tables[number])
        if by_half and factors == (2, 2)
        else _coded_chroma(whole[..., number], tables[number], *factors)
        for number, factors in enumerate(coarser, start=1)
    ]
    return Plane(_draft(data, "L"), tables[0]), *planes


def tables_of(image: JpegImageFile) -> tuple[Floats | None, ...]:
    """The tables of the planes that planes_of gives, of an opened JPEG that is not decoded."""
    if not jpeg.coded_as_ycbcr(image):
        return (None,)
    tables, (_, *luma, _) = [jpeg.table_of(image, n) for n in range(len(image.layer))], image.layer[0]
    for number, (_, across, down, _) in enumerate(image.layer):
        factors = luma[0] / across, luma[1] / down
        as_coded = not any(f % 1 for f in factors) and (factors != (2, 2) or min(image.size) > 1)
        tables[number] = tables[number] if as_coded else None
    return tuple(tables)


def _coded_chroma(decoded: Pixels, table: Floats | None, across: float, down: float) -> Plane:
    """A plane as it is coded, from what the decoder made of it at luma's size, [H, W].

    across, down: by how much its grid is coarser. libjpeg repeats samples, but where one of the two is 2 and
    the other 1 it interpolates (jdsample.c, "fancy upsampling").
    """
    if (across, down) == (1, 1):
        return Plane(decoded.copy(), table)  # of its own: a view would keep all three components
    if (across, down) == (2, 1) and decoded.shape[1] > 4:
        return Plane(_before_doubling(decoded), table)
    if (across, down) == (1, 2) and decoded.shape[0] > 4:
        return Plane(np.ascontiguousarray(_before_doubling(decoded.T).T), table)
    if (across, down) == (2, 2) or across % 1 or down % 1:
        return Plane(decoded.copy(), None)  # such a plane cannot be had as it is coded
    return Plane(decoded[:: int(down), :: int(across)].copy(), table)


def _before_doubling(decoded: Pixels) -> Pixels:
    """Rows [H, W] of samples c before libjpeg doubled them: [H, ceil(W / 2)].

    It writes (3 c[i] + c[i - 1]) / 4 and (3 c[i] + c[i + 1]) / 4, the first and the last sample as they are.
    Of two neighbours between the same samples, a = (3 c[i] + c[i + 1]) / 4 and b = (3 c[i + 1] + c[i]) / 4,
    follow c[i] = (3 a - b) / 2 and c[i + 1] = (3 b - a) / 2, but for rounding. Each sample is the mean of the
    two values that are found of it.
    """
    halved = np.empty((len(decoded), (decoded.shape[1] + 1) // 2), np.uint8)
    for top in range(0, len(decoded), jpeg.ROWS_AT_A_TIME):
        rows = slice(top, top + jpeg.ROWS_AT_A_TIME)
        halved[rows] = _rows_before_doubling(decoded[rows].astype(np.float32))
    return halved


def _rows_before_doubling(samples: Floats) -> Floats:
    """The same of a few rows, float32: [N, ceil(W / 2)], whole numbers."""
    width = samples.shape[1]
    a, b = samples[:, 1 : width - 1 : 2], samples[:, 2::2]
    found = np.zeros((len(samples), (width + 1) // 2), np.float32)
    counts = np.zeros(found.shape[1], np.float32)
    for values, place in (
        ((3 * a - b) / 2, slice(0, a.shape[1])),
        ((3 * b - a) / 2, slice(1, 1 + b.shape[1])),
    ):
        found[:, place] += values
        counts[place] += 1
    found /= counts
    found[:, 0] = samples[:, 0]
    if width % 2 == 0:
        found[:, -1] = samples[:, -1]
    return np.clip(np.rint(found), 0, 255)


def _draft(data: bytes, mode: str, halved: bool = False) -> Pixels:
    """Let libjpeg give luma alone ("L"), or "YCbCr"; halved: at half the size.

    Halved it gives chroma that is coded at half the size (4:2:0) as coded, without interpolation.
    """
    image = FirstPicture(io.BytesIO(data))
    image.draft(mode, (image.width // 2, image.height // 2) if halved else None)
    return np.asarray(image)
