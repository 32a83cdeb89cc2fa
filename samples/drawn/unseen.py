"""Kinds that no net here was trained on, for test pictures: what patterns.py leaves out."""

from collections.abc import Callable

import numpy as np

from car.arrays import Pixels
from drawn import patterns, tools
from drawn.tools import Rng


def zone_plate(rng: Rng, side: int) -> Pixels:
    """Rings about a point, finer the farther they are, up to two pixels a period."""
    y, x = np.mgrid[:side, :side].astype(float)
    middle = rng.uniform(0, side, 2)
    away = (x - middle[0]) ** 2 + (y - middle[1]) ** 2
    wave = np.cos(np.pi * away / (2 * side))
    sharp = rng.random() < 0.5
    coverage = wave > 0 if sharp else 0.5 + 0.5 * wave
    return tools.blend(coverage, *tools.colours(rng, 2))


def fan(rng: Rng, side: int) -> Pixels:
    """Lines that meet in a point."""
    y, x = np.mgrid[:side, :side].astype(float)
    middle = rng.uniform(0, side, 2)
    turn = np.arctan2(y - middle[1], x - middle[0]) / (2 * np.pi)
    rays = int(rng.integers(24, 160))
    return tools.blend(np.mod(turn * rays, 1) < rng.uniform(0.3, 0.7), *tools.colours(rng, 2))


def herringbone(rng: Rng, side: int) -> Pixels:
    """Slanted lines that change their side with each column."""
    y, x = np.mgrid[:side, :side]
    column, period = int(rng.integers(6, 24)), int(rng.integers(3, 9))
    slanted = np.where(x // column % 2, y + x, y - x)
    return tools.blend(np.mod(slanted, period) < rng.integers(1, period), *tools.colours(rng, 2))


def grid(rng: Rng, side: int) -> Pixels:
    """Fine crossing lines of 1 or 2 pixels."""
    y, x = np.mgrid[:side, :side]
    width = int(rng.integers(1, 3))
    period = width + int(rng.integers(2, 8))
    return tools.blend((np.mod(x, period) < width) | (np.mod(y, period) < width), *tools.colours(rng, 2))


def slope(rng: Rng, side: int) -> Pixels:
    """Parallel lines of a slope near 1:2 or 2:1."""
    angle = np.radians(rng.choice([26.565, 63.435]) + rng.uniform(-3, 3) + 90 * rng.integers(0, 2))
    period, soft = rng.uniform(2.5, 12), bool(rng.random() < 0.5)
    return tools.blend(
        patterns.stripes(side, angle, period, rng.uniform(0.3, 0.7), soft), *tools.colours(rng, 2)
    )


def any_level(rng: Rng, side: int) -> Pixels:
    """Noise of equally likely levels, grey or in colour."""
    return np.broadcast_to(
        rng.integers(0, 256, (side, side, 3 if rng.random() < 0.5 else 1), np.uint8), (side, side, 3)
    )


def faint(rng: Rng, side: int) -> Pixels:
    """Faint noise on black, as of a camera in the dark."""
    noise = rng.normal(rng.uniform(1, 6), rng.uniform(1, 4), (side, side, 1))
    return tools.rounded(np.broadcast_to(noise, (side, side, 3)))


def mosaic(rng: Rng, side: int) -> Pixels:
    """Equal squares of random levels."""
    cell = int(rng.integers(3, 24))
    cells = -(-side // cell) + 1
    levels = rng.integers(0, 256, (cells, cells, 3 if rng.random() < 0.5 else 1)).astype(np.uint8)
    top, left = rng.integers(0, cell, 2)
    picture = tools.enlarged(levels, cell, cells * cell)[top : top + side, left : left + side]
    return np.broadcast_to(picture, (side, side, 3))


def dark(rng: Rng, side: int) -> Pixels:
    """Flat shapes of which all levels are under 16."""
    return (patterns.flats(rng, side) // 17).astype(np.uint8)


def border(rng: Rng, side: int) -> Pixels:
    """A soft picture in a black frame, as of a film."""
    picture = tools.rounded(np.repeat(tools.smooth(rng, side)[..., np.newaxis], 3, axis=2))
    top, left = rng.integers(side // 16, side // 4, 2)
    framed = np.zeros_like(picture)
    framed[top:-top, left:-left] = picture[top:-top, left:-left]
    return framed


KINDS: dict[str, Callable[[Rng, int], Pixels]] = {
    "zoneplate": zone_plate,
    "fan": fan,
    "herringbone": herringbone,
    "grid": grid,
    "slope": slope,
    "anylevel": any_level,
    "faint": faint,
    "mosaic": mosaic,
    "dark": dark,
    "border": border,
}
