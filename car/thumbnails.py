"""What the page of results shows of a picture: a reduced sheet of it, and crops where most changed.

Worked out band by band and with Pillow's own loops: it must cost little beside the correction, and a large
picture must not take more memory for it.
"""

import io
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageChops

from car import levels
from car.arrays import Doubles, Pixels

LONGEST = 640  # pixels: of a reduced picture's width and height at the most
MCU = 16  # side of what a JPEG codes together: panels that begin on one do not run into each other
CROP_SIDE, CROPS = 96, 3  # in pixels at the most; how many at the most
BLOCK = 8  # side, in pixels, of the blocks by which it is found where most changed
CHANGE_GAIN = 16  # a mean change of 16 grey levels in a block is white in the view of what changed
JPEG_QUALITY = 85

Place = tuple[int, int]  # (x, y) of a crop's upper left corner in the picture, in pixels
_AMPLIFIED = [min(255, CHANGE_GAIN * level) for level in range(256)]


class Drawn(NamedTuple):
    """What is shown of a picture."""

    sheet: Image.Image  # before, after and what changed, reduced, one above the other
    places: list[Place]  # of the crops, the one that changed most first
    crops: Image.Image | None  # a row for each: before | after | clean, where there is a clean one


def draw(before: Pixels, after: Pixels, truth: Pixels | None) -> Drawn:
    """Draw what is shown of a picture, of uint8 grey [H, W] or RGB [H, W, 3] of one size.

    A picture of which nothing changed has no crops.
    """
    factor = -(-max(before.shape[:2]) // LONGEST)
    befores, afters, changes = [], [], []
    for band in _bands(len(before), factor):
        one, other = Image.fromarray(before[band]), Image.fromarray(after[band])
        change = ImageChops.difference(one, other).convert("L").point(_AMPLIFIED)
        changes.append(np.asarray(change.reduce(BLOCK)))
        befores.append(one.reduce(factor))
        afters.append(other.reduce(factor))
    blocks = np.concatenate(changes)
    places = most_changed(blocks, before.shape[1], before.shape[0])
    sheet = _stacked([befores, afters], Image.fromarray(blocks))
    return Drawn(sheet, places, _crops(before, after, truth, places) if places else None)


def _bands(height: int, factor: int) -> Iterator[slice]:
    """Rows of a picture, by whole blocks and whole steps of the reduction."""
    rows = BLOCK * factor * -(-128 // factor)
    return (slice(top, top + rows) for top in range(0, height, rows))


def _stacked(panels: Sequence[Sequence[Image.Image]], change: Image.Image) -> Image.Image:
    """Panels, each of bands, and the view of what changed, above each other.

    Each begins on an MCU, and its last row is repeated up to there.
    """
    width, height = panels[0][0].width, sum(band.height for band in panels[0])
    pitch = -(-height // MCU) * MCU
    sheet = Image.new(panels[0][0].mode, (width, pitch * (len(panels) + 1)))
    whole = [*panels, [change.resize((width, height), Image.Resampling.NEAREST)]]
    for place, bands in enumerate(whole):
        top = place * pitch
        for band in bands:
            sheet.paste(band, (0, top))
            top += band.height
        last = bands[-1].crop((0, bands[-1].height - 1, width, bands[-1].height))
        for row in range(top, (place + 1) * pitch):
            sheet.paste(last, (0, row))
    return sheet


def most_changed(blocks: Pixels, width: int, height: int) -> list[Place]:
    """Where crops of a picture (width, height) show most of what changed; they do not overlap.

    blocks: the change in each, uint8 [H / BLOCK, W / BLOCK], rounded up.
    """
    side = CROP_SIDE // BLOCK
    down, across = (min(side, length) for length in blocks.shape)
    sums: Doubles = np.zeros((blocks.shape[0] + 1, blocks.shape[1] + 1))
    sums[1:, 1:] = blocks.cumsum(0, dtype=np.float64).cumsum(1)
    windows = sums[down:, across:] - sums[:-down, across:] - sums[down:, :-across] + sums[:-down, :-across]
    places: list[Place] = []
    while len(places) < CROPS and windows.max() > 0:
        row, column = map(int, np.unravel_index(windows.argmax(), windows.shape))
        x, y = (max(0, min(BLOCK * n, whole - CROP_SIDE)) for n, whole in ((column, width), (row, height)))
        places.append((x, y))
        windows[max(0, row - down + 1) : row + down, max(0, column - across + 1) : column + across] = 0
    return places


def _crops(before: Pixels, after: Pixels, truth: Pixels | None, places: Sequence[Place]) -> Image.Image:
    """Crops at 1:1, a row for each place."""
    lines = []
    for x, y in places:
        cut = slice(y, y + CROP_SIDE), slice(x, x + CROP_SIDE)
        panels = [before[cut], after[cut]] + ([] if truth is None else [_like(truth[cut], before.ndim)])
        lines.append(np.concatenate(panels, axis=1))
    return Image.fromarray(np.concatenate(lines))


def _like(panel: Pixels, dimensions: int) -> Pixels:
    """A panel as grey, of two dimensions, or as RGB, of three."""
    if panel.ndim == dimensions:
        return panel
    return levels.luma_of(panel) if dimensions == 2 else np.repeat(panel[..., np.newaxis], 3, axis=-1)


def as_files(drawn: Drawn) -> tuple[bytes, bytes | None]:
    """The sheet as a JPEG, and the crops, if there are some, as a WebP without loss.

    A PNG of them takes three times as long.
    """
    sheet, crops = io.BytesIO(), io.BytesIO()
    drawn.sheet.save(sheet, "JPEG", quality=JPEG_QUALITY)
    if drawn.crops is None:
        return sheet.getvalue(), None
    drawn.crops.save(crops, "WEBP", lossless=True, quality=0, method=0)
    return sheet.getvalue(), crops.getvalue()
