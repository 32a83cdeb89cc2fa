"""What the net of chroma sees: Cb and Cr, and beside each of their samples the corrected luma that it covers.

An edge of a colour is mostly an edge of luma, which the file holds on a finer grid and with smaller steps.
The net is small, four layers as that of luma (weights.CHROMA_LAYERS), and corrects both planes at once.

A sample of chroma covers 1, 2 or 4 samples of luma, down and across. The net sees a square of 2x2 of them:
where there is one, it is repeated, of four each two are averaged.
"""

from collections.abc import Sequence

import numpy as np

from car import tiles
from car.arrays import Pixels

PHASES = 2  # samples of luma that the net sees beside one of chroma, down and across
COVERED = (1, 2, 4)  # samples of luma that one of chroma may cover
# Cb, Cr and four of luma come into the net about as large as the first layer's maps should be.
MIDDLE = np.array([128, 128, *[127.5] * 4], np.float32)
SCALE = np.array([32, 32, *[64] * 4], np.float32)
CHANGE_SCALE = 32.0

Covers = tuple[int, int]  # samples of luma that one of chroma covers, down and across


def covers(luma: tuple[int, ...], chroma: tuple[int, ...]) -> Covers | None:
    """What a sample of chroma covers, by the shapes of the planes; None where the net does not know such."""
    down, across = (-(-whole // part) for whole, part in zip(luma, chroma, strict=True))
    return (down, across) if down in COVERED and across in COVERED else None


class Mirrored:
    """The planes with mirrored edges, to be cut."""

    def __init__(self, planes: Sequence[Pixels], tiling: tiles.Tiling) -> None:
        """planes: luma, Cb and Cr, uint8 [H, W] and [h, w]; tiling: of chroma. Raises ValueError."""
        luma, *chroma = planes
        found = covers(luma.shape, chroma[0].shape)
        if found is None:
            raise ValueError(f"chroma of {chroma[0].shape} beside luma of {luma.shape}")
        self._down, self._across = found
        whole = tiling.height * self._down, tiling.width * self._across
        rest = [(0, wanted - length) for wanted, length in zip(whole, luma.shape, strict=True)]
        below, right = sum(tiling.rows) - tiling.height, sum(tiling.columns) - tiling.width
        borders = [
            (tiling.halo * self._down, (below + tiling.halo) * self._down),
            (tiling.halo * self._across, (right + tiling.halo) * self._across),
        ]
        if luma.shape != whole:
            luma = np.pad(luma, rest, "edge")  # to whole cells: there libjpeg repeats the edge
        self._luma = np.pad(luma, borders, "symmetric")
        self._chroma = [tiles.mirror(plane, tiling) for plane in chroma]
        self._halo = tiling.halo

    def cut(self, some: Sequence[tiles.Tile]) -> Pixels:
        """Tiles of one shape with their halos, uint8 [N, h, w, 6]: Cb, Cr, and four of luma row by row."""
        cb, cr = (tiles.cut(plane, some, self._halo) for plane in self._chroma)
        height, width = cb.shape[1] * self._down, cb.shape[2] * self._across
        luma = np.stack(
            [self._luma[t.top * self._down :, t.left * self._across :][:height, :width] for t in some]
        )
        return np.concatenate([np.stack([cb, cr], -1), phases(luma, (self._down, self._across))], -1)


def phases(luma: Pixels, covered: Covers) -> Pixels:
    """Luma, uint8 [N, down * h, across * w], as the net sees it beside chroma: uint8 [N, h, w, 4]."""
    down, across = covered
    number, height, width = luma.shape
    cells = luma.reshape(number, height // down, down, width // across, across)
    for axis, count in ((2, down), (4, across)):
        if count < PHASES:
            cells = cells.repeat(PHASES, axis)
        elif count > PHASES:
            first, second = (cells.take([place, place + 2], axis).astype(np.uint16) for place in (0, 1))
            cells = ((first + second + 1) // 2).astype(np.uint8)
    return cells.transpose(0, 1, 3, 2, 4).reshape(number, height // down, width // across, PHASES**2)
