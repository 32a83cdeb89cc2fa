"""Patterns: hatching, dither, screens of dots, checkerboards, gratings, gradients, glows, blocks, noise.

Left out on purpose, to be test pictures of kinds that no training has seen (unseen.py): zone plates, fans of
lines that meet in a point, herringbone, fine grids of crossing lines, lines of a slope near 1:2 or 2:1, noise
of equally likely levels, faint noise on black, mosaics of equal squares of random levels, flat shapes of
which all levels are under 16, pictures of one level, and black borders. Checkerboards of low contrast are
left out too, but dither to several levels comes near them.
"""

import numpy as np
from PIL import Image, ImageDraw

from car.arrays import Doubles, Pixels
from drawn import tools
from drawn.tools import Rng


def stripes(side: int, angle: float, period: float, part: float, soft: bool) -> Doubles:
    """Coverage [side, side] of parallel lines: `part` of each period (pixels) is ink. soft: antialiased."""
    along, _ = tools.turned(side, angle)
    width = part * period
    if not soft:
        return (np.mod(along, period) < width).astype(float)
    from_middle = np.abs(np.mod(along - width / 2 + period / 2, period) - period / 2)
    return np.clip(width / 2 - from_middle + 0.5, 0, 1)


def hatching(rng: Rng, side: int) -> Pixels:
    """Regions filled with parallel or crossed lines of 1 to 5 pixels, each at an angle of its own."""
    paper, ink = tools.colours(rng, 2)
    soft, outlined = rng.random(2) < 0.5
    coverage = np.zeros((side, side))
    image = Image.new("L", (side, side))
    draw = ImageDraw.Draw(image)
    for region in range(rng.integers(1, 9)):
        x, y = rng.uniform(0, side, 2).tolist()
        place = np.ones((side, side), bool)
        if region:
            image.paste(0, (0, 0, side, side))
            draw.polygon(tools.blob(rng, (x, y), rng.uniform(0.1, 0.45) * side), fill=255)
            place = np.asarray(image) > 0
        width = rng.uniform(1, 5) if soft else float(rng.integers(1, 6))
        period = width + rng.uniform(1, 8)
        lines = stripes(side, tools.any_angle(rng), period, width / period, bool(soft))
        if rng.random() < 0.3:  # wider apart: no fine grid
            lines = np.maximum(lines, stripes(side, tools.any_angle(rng), 2.5 * period + 8, 0.2, bool(soft)))
        coverage = np.where(place, lines, coverage)
        if region and outlined:
            edge = place & ~(np.roll(place, 1, 0) & np.roll(place, 1, 1))
            coverage[edge] = 1
    return tools.blend(coverage, paper, ink)


def bayer(order: int) -> Doubles:
    """The matrix of ordered dither of side 2**order: each of 0..4**order - 1 once."""
    matrix = np.zeros((1, 1))
    for _ in range(order):
        matrix = np.block([[4 * matrix, 4 * matrix + 2], [4 * matrix + 3, 4 * matrix + 1]])
    return matrix


def dithered(field: Doubles, order: int, levels: int) -> Doubles:
    """A field [H, W] of 0..255 by ordered dither to so many levels: [H, W] of 0..1."""
    matrix = (bayer(order) + 0.5) / 4**order
    times = [-(-length // len(matrix)) for length in field.shape]
    threshold = np.tile(matrix, times)[: field.shape[0], : field.shape[1]]
    return np.minimum(np.floor(field / 255 * (levels - 1) + threshold), levels - 1) / (levels - 1)


def dither(rng: Rng, side: int) -> Pixels:
    """Ordered dither, matrices of 2, 4 and 8, to 2 to 4 levels of two colours or of each of R, G and B."""
    order, levels = int(rng.integers(1, 4)), int(rng.choice([2, 2, 3, 4]))
    scale = int(rng.choice([1, 1, 1, 2, 3]))
    small = -(-side // scale)
    if rng.random() < 0.7:
        paper, ink = tools.colours(rng, 2)
        picture = tools.blend(dithered(tools.tones(rng, small), order, levels), paper, ink)
    else:
        channels = [dithered(tools.tones(rng, small), order, levels) for _ in range(3)]
        picture = tools.rounded(255 * np.stack(channels, axis=-1))
    return tools.enlarged(picture, scale, side)


def diffusion(rng: Rng, side: int) -> Pixels:
    """Floyd and Steinberg's dither to black and white, to two colours, or to a palette of 3 to 12."""
    scale = int(rng.choice([1, 1, 1, 2]))
    small = -(-side // scale)
    image = Image.fromarray(tools.rounded(tools.tones(rng, small)))
    if rng.random() < 0.6:
        paper, ink = tools.colours(rng, 2)
        return tools.enlarged(tools.blend(np.asarray(image.convert("1")), paper, ink), scale, side)
    number = int(rng.integers(3, 13))
    if rng.random() < 0.5:
        picture, palette = image.convert("RGB"), np.linspace(0, 255, number).repeat(3)
    else:
        channels = [image, *(Image.fromarray(tools.rounded(tools.tones(rng, small))) for _ in range(2))]
        picture, palette = Image.merge("RGB", channels), np.array(tools.colours(rng, number)).ravel()
    known = Image.new("P", (1, 1))
    known.putpalette(tools.rounded(palette).tobytes())
    made = picture.quantize(palette=known, dither=Image.Dither.FLOYDSTEINBERG)
    return tools.enlarged(np.asarray(made.convert("RGB")), scale, side)


def dots(field: Doubles, angle: float, period: float, zoom: int) -> Doubles:
    """Coverage of a screen of dots that are larger where the field [H, H], 0..255, is darker: 0..1.

    zoom: by how many samples along each side of a pixel it is averaged; with 1 it has no greys.
    """
    side = len(field)
    fine = np.asarray(field).repeat(zoom, axis=0).repeat(zoom, axis=1)
    along, across = tools.turned(side * zoom, angle)
    wave = np.cos(2 * np.pi * along / period / zoom) + np.cos(2 * np.pi * across / period / zoom)
    ink = wave > 2 * (fine / 127.5 - 1)
    return ink.reshape(side, zoom, side, zoom).mean(axis=(1, 3))


def halftone(rng: Rng, side: int) -> Pixels:
    """Dot screens of 3 to 12 pixels: one ink at an angle, or cyan, magenta, yellow and black at four."""
    zoom, period = int(rng.choice([1, 3])), 3 * 4 ** rng.random()
    if rng.random() < 0.65:
        paper, ink = tools.colours(rng, 2)
        return tools.blend(dots(tools.tones(rng, side), tools.any_angle(rng), period, zoom), paper, ink)
    picture = np.full((side, side, 3), 255.0)
    start = rng.uniform(0, np.pi / 2)
    for degrees, absorbed in ((15, (1, 0, 0)), (75, (0, 1, 0)), (0, (0, 0, 1)), (45, (0.9, 0.9, 0.9))):
        black = degrees == 45
        field = tools.tones(rng, side) / (1 if not black else 2) + (128 if black else 0)
        screen = dots(field, start + np.radians(degrees), period, zoom)
        picture *= 1 - screen[..., np.newaxis] * np.array(absorbed)
    return tools.rounded(picture)


def squares(side: int, width: float, height: float, left: float, top: float) -> Pixels:
    """A checkerboard of squares of width x height pixels, moved by left and top: [side, side] of 0 and 1."""
    across = np.floor((np.arange(side) + left) / width).astype(int)
    down = np.floor((np.arange(side) + top) / height).astype(int)
    return ((across + down[:, np.newaxis]) % 2).astype(np.uint8)


def checkerboard(rng: Rng, side: int) -> Pixels:
    """Checkerboards of 1 to 8 pixels a square, whole and fractional, one or four in a picture."""
    paper, ink = tools.colours(rng, 2)
    mask = np.zeros((side, side), np.uint8)
    parts = int(rng.integers(1, 3))
    for top in range(0, side, -(-side // parts)):
        for left in range(0, side, -(-side // parts)):
            width = float(rng.integers(1, 9)) if rng.random() < 0.6 else rng.uniform(1, 8)
            height = width if rng.random() < 0.7 else rng.uniform(1, 8)
            whole = squares(side, width, height, rng.uniform(0, 16), rng.uniform(0, 16))
            mask[top:, left:] = whole[top:, left:]
    return tools.blend(mask, paper, ink)


def wave(rng: Rng, side: int, angle: float, period: float) -> Doubles:
    """A grating of 0..1 as a sine, as sharp or as soft stripes: [side, side]."""
    along, _ = tools.turned(side, angle)
    if rng.random() < 0.35:
        return np.asarray(0.5 + 0.5 * np.cos(2 * np.pi * along / period))
    return stripes(side, angle, period, rng.uniform(0.3, 0.7), rng.random() < 0.4)


def grating(rng: Rng, side: int) -> Pixels:
    """Gratings of 2 to 16 pixels, whole and fractional: stripes or sines, in one or several parts."""
    paper, ink = tools.colours(rng, 2)
    coverage = np.zeros((side, side))
    parts = int(rng.integers(1, 4))
    for top in range(0, side, -(-side // parts)):
        period = float(rng.integers(2, 17)) if rng.random() < 0.5 else 2 * 8 ** rng.random()
        coverage[top:] = wave(rng, side, tools.any_angle(rng), period)[top:]
    return tools.blend(coverage, paper, ink)


def moire(rng: Rng, side: int) -> Pixels:
    """Two gratings, nearly alike, one over the other."""
    paper, ink = tools.colours(rng, 2)
    angle, period = tools.any_angle(rng), rng.uniform(2.2, 9)
    first = wave(rng, side, angle, period)
    second = wave(rng, side, angle + rng.normal(0, 0.03), period * rng.uniform(0.9, 1.1))
    return tools.blend(np.maximum(first, second) if rng.random() < 0.5 else first * second, paper, ink)


def gradient(rng: Rng, side: int) -> Pixels:
    """From colour to colour along a line or away from a point; as fine as can be, or in bands."""
    ends = tools.colours(rng, int(rng.integers(2, 5)))
    if rng.random() < 0.6:
        place, _ = tools.turned(side, rng.uniform(0, 2 * np.pi))
    else:
        x, y = rng.uniform(0, side, 2)
        place = np.hypot(np.arange(side) - x, np.arange(side)[:, np.newaxis] - y)
    place = (place - place.min()) / (place.max() - place.min())
    levels = None if rng.random() < 0.5 else int(rng.integers(3, 41))
    if rng.random() < 0.4:  # a part of the way, for a faint slope
        start, length = rng.uniform(0, 0.6), rng.uniform(0.1, 0.4)
        ends = [tools.between(ends, start), tools.between(ends, start + length)]
    return tools.shade(place, ends, levels)


def glow(rng: Rng, side: int) -> Pixels:
    """Soft lights on black or near it, 5 to 80 levels strong."""
    y, x = np.mgrid[:side, :side]
    picture = np.full((side, side, 3), rng.uniform(0, 7) * (rng.random() < 0.6))
    grey = rng.random() < 0.5
    for _ in range(rng.integers(1, 6)):
        away = np.hypot(x - rng.uniform(0, side), y - rng.uniform(0, side)) / (rng.uniform(0.08, 0.5) * side)
        colour = np.ones(3) if grey else rng.uniform(0.2, 1, 3)
        picture += 5 * 16 ** rng.random() * np.exp(-(away**2) / 2)[..., np.newaxis] * colour
    return tools.rounded(picture)


def flats(rng: Rng, side: int) -> Pixels:
    """Flat rectangles of all sizes, on no grid, with or without gaps; black or from level 16 on."""
    levels = rng.integers(16, 256, (256, 3)) * (rng.random((256, 1)) > 0.06)
    if rng.random() < 0.5:
        levels[:] = levels[:, :1]
    picture = np.empty((side, side, 3), np.uint8)
    gap, smallest = int(rng.choice([0, 0, 1, 3])), int(rng.integers(4, min(40, side // 2)))
    picture[:] = 255 * rng.integers(0, 2)
    waiting = [(0, 0, side, side)]
    while waiting:
        top, left, bottom, right = waiting.pop()
        down = bottom - top > right - left
        length = max(bottom - top, right - left)
        if length < 2 * smallest or (rng.random() < 0.08 and length < side):
            picture[top : bottom - gap, left : right - gap] = levels[rng.integers(256)]
            continue
        cut = int(rng.integers(smallest, length - smallest + 1))
        if down:
            waiting += [(top, left, top + cut, right), (top + cut, left, bottom, right)]
        else:
            waiting += [(top, left, bottom, left + cut), (top, left + cut, bottom, right)]
    return picture


def noise(rng: Rng, side: int) -> Pixels:
    """Noise of two levels, gaussian about a grey, or the grain of a film on a gradient; never near black."""
    what = rng.integers(0, 3)
    if what == 0:
        paper, ink = tools.colours(rng, 2)
        return tools.blend(rng.random((side, side)) < rng.uniform(0.05, 0.95), paper, ink)
    deep = 3 if rng.random() < 0.4 else 1  # channels that have a grain of their own
    grain = rng.normal(0, 1, (side, side, deep))
    if what == 1:
        return np.repeat(tools.rounded(rng.uniform(80, 200) + rng.uniform(4, 45) * grain), 3 // deep, axis=2)
    coarse = Image.fromarray(grain[..., 0].astype(np.float32))
    size = int(side * rng.uniform(0.4, 1))
    soft = np.asarray(coarse.resize((side, side), Image.Resampling.BICUBIC, box=(0, 0, size, size)), float)
    ground = 50 + gradient(rng, side) * (150 / 255)
    return tools.rounded(ground + rng.uniform(2, 20) * soft[..., np.newaxis])
