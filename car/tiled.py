"""Planes through a net, tile by tile, and in eight ways."""

import itertools
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from car import tiles
from car.arrays import Floats, Pixels

TILE_PIXELS_AT_A_TIME = (
    2**16
)  # of tiles that go through the net together: their maps stay in a cache of 32 MiB

Watch = Callable[[float], None]  # called with the share of the work that is done, 0..1
Put = Callable[[Floats, Sequence[tiles.Tile]], None]  # takes cores [N, h, w, ...], and where they lie


def by_tiles(
    tiling: tiles.Tiling,
    side: int,
    cut: Callable[[Sequence[tiles.Tile]], Pixels],
    forward: Callable[[Pixels], Floats],
    put: Put,
    watch: Watch,
) -> None:
    """Send tiles through a net: cut makes its input of some of one shape, put gets what comes out.

    side: of the largest tiles that a tiling can have, in pixels; how many go together follows from it.
    Two batches are under way at a time: one is cut or put while the other is computed.
    """
    batches = list(_batches(tiling.tiles, max(1, TILE_PIXELS_AT_A_TIME // side**2)))

    def correct(some: list[tiles.Tile]) -> int:
        put(forward(cut(some)), some)
        return len(some) * some[0].height * some[0].width

    if len(batches) == 1:  # of a small picture: no threads for it
        correct(batches[0])
        watch(1.0)
        return
    done, total = 0, sum(tiling.rows) * sum(tiling.columns)
    with ThreadPoolExecutor(2) as pool:
        for pixels in pool.map(correct, batches):
            done += pixels
            watch(min(1.0, done / total))


def _batches(some: Sequence[tiles.Tile], size: int) -> Iterator[list[tiles.Tile]]:
    """Tiles of one shape, `size` together: the last ones are taken again to fill a batch."""
    for _, alike in itertools.groupby(sorted(some, key=_shape), key=_shape):
        of_shape = list(alike)
        for first in range(0, len(of_shape), size):
            batch = of_shape[first : first + size]
            yield batch + batch[-1:] * (size - len(batch))


def _shape(tile: tiles.Tile) -> tuple[int, int]:
    return tile.height, tile.width


def mean_of_8_ways(
    planes: Sequence[Pixels], through: Callable[[Sequence[Pixels], Watch], Sequence[Floats]], watch: Watch
) -> list[Floats]:
    """The mean of what `through` makes of planes and of their flips and turns, each put back.

    planes: uint8 [H, W] each, of any sizes. Returns float32 planes, as many as `through` makes.
    """
    totals: list[Floats] = []
    for way in range(8):
        turns, flip = way // 2, slice(None, None, -1 if way % 2 else 1)

        def tell(share: float, way: int = way) -> None:
            watch((way + share) / 8)

        made = through([np.rot90(plane, turns)[flip] for plane in planes], tell)
        back = [np.rot90(plane[flip], -turns) / np.float32(8) for plane in made]
        totals = [total + plane for total, plane in zip(totals, back, strict=True)] if totals else back
    return totals


def parts_of(watch: Watch, sizes: Sequence[int]) -> list[Watch]:
    """A watch for each part of the work, by how much work each is, that together tell of all of it."""
    total, watches = sum(sizes), list[Watch]()
    for number, size in enumerate(sizes):

        def tell(share: float, before: int = sum(sizes[:number]), size: int = size) -> None:
            watch((before + share * size) / total)

        watches.append(tell)
    return watches
