"""Tile arithmetic, the only place of it: the patch grid of the records, and the tiles of correction.

A tile is a core, the pixels that it answers for, and a halo of real neighbours around the
core, as wide as the network's receptive field reaches (radius 9). Cores cover the image
without gap; the halo of a tile at the image's edge is mirrored (symmetric: edge pixel
repeated). Each core's pixels are then computed from exactly the pixels that a whole-image
convolution would use, so that no seam exists.
"""

import functools
import itertools
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from car.arrays import Floats, Pixels

SMALLEST_CORE = 16  # pixels at each side; see lengths
MARGIN = 12  # what a further tile costs beside its pixels, in pixels of its length


def patches(plane: Pixels, side: int, stride: int) -> Pixels:
    """The full patches of [H, W] on a grid of `stride` pixels, of which there may be none.

    Returns [rows, columns, side, side]. It is a view of the plane: all patches at once would take side ** 2 /
    stride ** 2 times its memory.
    """
    if min(plane.shape) < side:
        return np.empty((0, 0, side, side), plane.dtype)
    return np.lib.stride_tricks.sliding_window_view(plane, (side, side))[::stride, ::stride]


class Tile(NamedTuple):
    """The core of a tile in its image. Units: pixels."""

    top: int
    left: int
    height: int
    width: int


class Tiling(NamedTuple):
    """How an image of height x width is cut. Units: pixels."""

    height: int
    width: int
    rows: tuple[int, ...]  # the heights of the cores, from the top
    columns: tuple[int, ...]  # their widths, from the left
    halo: int

    @property
    def tiles(self) -> list[Tile]:
        """Every core, row by row."""
        tops, lefts = ([0, *itertools.accumulate(lengths)] for lengths in (self.rows, self.columns))
        return [
            Tile(top, left, height, width)
            for top, height in zip(tops, self.rows, strict=False)
            for left, width in zip(lefts, self.columns, strict=False)
        ]


def lengths(side: int) -> tuple[int, ...]:
    """The lengths that cores have, at most `side`, the largest first: 256, 136 and 76 of 256.

    Each shape of tile is compiled by itself, which takes half a second and 20 MB that nothing frees: of
    three lengths there are nine. They end in 6, so that layer 2, whose output is 4 pixels wider than the
    core, comes out in whole blocks of 10 (fast_conv); each is about half of the one before.
    """
    found = [side - (side - 6) % 10]
    while (half := found[-1] // 2) > 35 and len(found) < 3:
        found.append(half + (6 - half) % 10)
    return tuple(found)


@functools.cache
def cover(length: int, side: int) -> tuple[int, ...]:
    """Lengths of cores that together cover `length`, the largest first, with the least work."""
    of = lengths(side)
    whole = max(0, -(-length // of[0]) - 3)  # far from the end there are only the largest
    covers = (some for count in range(1, 7) for some in itertools.combinations_with_replacement(of, count))
    enough = (some for some in covers if sum(some) >= length - whole * of[0])
    return of[:1] * whole + min(enough, key=lambda some: sum(some) + MARGIN * len(some))


def seamless(height: int, width: int, side: int, halo: int) -> Tiling:
    """The Tiling with cores of at most side x side, side >= SMALLEST_CORE."""
    return Tiling(height, width, cover(height, side), cover(width, side), halo)


def isolated(height: int, width: int, side: int) -> Tiling:
    """The Tiling of the original suite: side x side patches without any neighbours."""
    rows, columns = ((side,) * -(-length // side) for length in (height, width))
    return Tiling(height, width, rows, columns, 0)


def mirror(plane: Pixels, tiling: Tiling) -> Pixels:
    """Pad [H, W] so that every tile of the tiling lies inside: mirrored, edge pixel repeated."""
    below, right = sum(tiling.rows) - tiling.height, sum(tiling.columns) - tiling.width
    halo = tiling.halo
    return np.pad(plane, ((halo, below + halo), (halo, right + halo)), mode="symmetric")


def cut(padded: Pixels, tiles: Sequence[Tile], halo: int) -> Pixels:
    """Cut tiles of one shape, halos included, from a mirrored plane: [N, h, w]."""
    return np.stack(
        [padded[t.top : t.top + t.height + 2 * halo, t.left : t.left + t.width + 2 * halo] for t in tiles]
    )


def place_of(tile: Tile) -> tuple[slice, slice]:
    """The rows and columns of a tile's core in its plane."""
    return slice(tile.top, tile.top + tile.height), slice(tile.left, tile.left + tile.width)


def stitch(plane: Floats, cores: Floats, tiles: Sequence[Tile]) -> None:
    """Write cores [N, h, w] into plane [H, W] where their tiles lie; what is outside is dropped."""
    for core, tile in zip(cores, tiles, strict=True):
        place = plane[place_of(tile)]
        place[...] = core[: place.shape[0], : place.shape[1]]
