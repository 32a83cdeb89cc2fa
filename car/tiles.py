"""Tile arithmetic, the only place of it: the patch grid of the records, and the tiles of correction.

A tile is a core, the pixels that it answers for, and a halo of real neighbours around the
core, as wide as the network's receptive field reaches (radius 9). Cores cover the image
without gap; the halo of a tile at the image's edge is mirrored (symmetric: edge pixel
repeated). Each core's pixels are then computed from exactly the pixels that a whole-image
convolution would use, so that no seam exists.
"""

from typing import NamedTuple

import numpy as np

from car.arrays import Floats, Pixels

Corners = list[tuple[int, int]]  # (top, left) of cores, in pixels

SMALLEST_CORE = 16  # pixels at each side; see _even


def patches(plane: Pixels, side: int, stride: int) -> Pixels:
    """Each full patch of [H, W] on a grid of `stride` pixels, row by row: [N, side, side], N may be 0."""
    if min(plane.shape) < side:
        return np.empty((0, side, side), plane.dtype)
    windows = np.lib.stride_tricks.sliding_window_view(plane, (side, side))
    return windows[::stride, ::stride].reshape(-1, side, side)


class Tiling(NamedTuple):
    """How an image of height x width is cut. Units: pixels."""

    height: int
    width: int
    core_height: int
    core_width: int
    halo: int

    @property
    def corners(self) -> Corners:
        """(top, left) of every core, row by row."""
        return [
            (top, left)
            for top in range(0, self.height, self.core_height)
            for left in range(0, self.width, self.core_width)
        ]


def _even(length: int, side: int) -> int:
    """The length, at most `side`, that cuts `length` into the fewest pieces, all but equal.

    Rounded up to 10 k + 6, so that layer 2, whose output is 4 pixels wider than the core, comes out
    in whole blocks of 10 (fast_conv), and to few of these, as each shape of tile is compiled by
    itself, which takes half a second and 20 MB that nothing frees: with side 256, 136, 156, ... 256
    for images that are cut, 76, 136, 196 and 256 for smaller ones.
    """
    longest = side - (side - 6) % 10
    pieces = -(-length // longest)
    even = -(-length // pieces)
    return min(longest, even + (16 - even) % (20 if pieces > 1 else 60))


def seamless(height: int, width: int, side: int, halo: int) -> Tiling:
    """The Tiling with cores of at most side x side, side >= SMALLEST_CORE; even, to save work."""
    return Tiling(height, width, _even(height, side), _even(width, side), halo)


def isolated(height: int, width: int, side: int) -> Tiling:
    """The Tiling of the original suite: side x side patches without any neighbours."""
    return Tiling(height, width, side, side, 0)


def mirror(plane: Pixels, tiling: Tiling) -> Pixels:
    """Pad [H, W] so that every tile of the tiling lies inside: mirrored, edge pixel repeated."""
    last_top, last_left = tiling.corners[-1]
    below = last_top + tiling.core_height - tiling.height + tiling.halo
    right = last_left + tiling.core_width - tiling.width + tiling.halo
    return np.pad(plane, ((tiling.halo, below), (tiling.halo, right)), mode="symmetric")


def cut(padded: Pixels, tiling: Tiling, corners: Corners) -> Pixels:
    """Cut the tiles at these corners, halos included, from a mirrored plane: [N, h, w]."""
    height = tiling.core_height + 2 * tiling.halo
    width = tiling.core_width + 2 * tiling.halo
    return np.stack([padded[top : top + height, left : left + width] for top, left in corners])


def stitch(plane: Floats, cores: Floats, corners: Corners) -> None:
    """Write cores [N, h, w] into plane [H, W] at their corners; what lies outside is dropped."""
    for core, (top, left) in zip(cores, corners, strict=True):
        place = plane[top : top + core.shape[0], left : left + core.shape[1]]
        place[...] = core[: place.shape[0], : place.shape[1]]
