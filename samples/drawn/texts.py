"""Pages of text, and text for the other kinds."""

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from car.arrays import Doubles, Pixels
from drawn import tools

Font = ImageFont.ImageFont | ImageFont.FreeTypeFont

LETTERS = "etaoinshrdlucmfwypvbgkjqxz"  # from the most common on


def words(rng: tools.Rng, number: int) -> str:
    """As many words of random letters and numbers, with capitals and punctuation, in one line."""
    weights = np.linspace(3, 0.2, len(LETTERS))
    made = []
    for _ in range(number):
        letters = rng.choice(list(LETTERS), rng.integers(1, 11), p=weights / weights.sum())
        word = "".join(letters)
        style = rng.random()
        if style < 0.08:
            word = str(rng.integers(0, 10 ** int(rng.integers(1, 7))))
        elif style < 0.22:
            word = word.capitalize()
        elif style < 0.28:
            word = word.upper()
        elif style < 0.32:
            word = f"({word})"
        made.append(word + str(rng.choice(["", ",", ".", ";", ":", "!", "?"], p=[0.82] + [0.03] * 6)))
    return " ".join(made)


def page(rng: tools.Rng, side: int, size: float, sharp: bool, font: Font | None = None) -> Image.Image:
    """White text on black, "L" of side x side. sharp: no greys between; size: of the font in pixels."""
    image = Image.new("L", (side, side))
    draw = ImageDraw.Draw(image)
    draw.fontmode = "1" if sharp else "L"
    heavy = size / 14 if rng.random() < 0.3 else 0.0  # emboldened by a stroke of this width
    margin, leading = rng.uniform(0, 0.08) * side, rng.uniform(1.1, 1.7)
    title = rng.random() < 0.3
    y = margin
    while y < side:
        height = size * 1.8 if title else size
        line = words(rng, int(rng.integers(1, 4 + int(2 * side / height))))
        indent = height * 2 * (rng.random() < 0.15)
        if font is None:
            face = ImageFont.load_default(height)
            draw.text((margin + indent, y), line, fill=255, font=face, stroke_width=round(heavy))
        else:
            draw.text((margin + indent, y), line, fill=255, font=font)
        y += height * leading * (1 if rng.random() < 0.9 else 2)
        title = False
    return image


def turned_page(rng: tools.Rng, side: int, size: float) -> Image.Image:
    """A page that is turned, slanted and stretched, "L" of side x side."""
    large = page(rng, 2 * side, size, sharp=False)
    angle = rng.choice([rng.normal(0, 0.06), rng.uniform(0, 2 * np.pi)])
    slant, stretch = rng.uniform(-0.4, 0.4), rng.uniform(0.7, 1.4)
    turn = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]])
    matrix = np.array([[1 / stretch, slant], [0, 1]]) @ turn
    a, b, d, e = matrix.ravel()
    c, f = np.array([side, side]) - matrix @ np.array([side / 2, side / 2])
    return large.transform((side, side), Image.Transform.AFFINE, (a, b, c, d, e, f), Image.Resampling.BICUBIC)


def subpixels(rng: tools.Rng, side: int, size: float) -> Doubles:
    """Coverage [side, side, 3] of a page on a screen whose pixels are stripes of red, green and blue."""
    fine = np.asarray(page(rng, 3 * side, 3 * size, sharp=False).reduce((1, 3)), float) / 255
    taps = np.array([1, 1, 1]) / 3 if rng.random() < 0.5 else np.array([1, 2, 3, 2, 1]) / 9
    wide = np.pad(fine, ((0, 0), (len(taps) // 2, len(taps) // 2)))
    return sum(tap * wide[:, i : i + 3 * side] for i, tap in enumerate(taps)).reshape(side, side, 3)


def coverage(rng: tools.Rng, side: int) -> Doubles:
    """What of each pixel is ink, 0..1, in one of five ways: [side, side], or [side, side, 3] in subpixels."""
    size = 8 * 7.5 ** rng.random()
    way = rng.integers(0, 5)
    if way == 0:
        scale = int(rng.integers(1, 4))
        small = page(rng, -(-side // scale), 11.0, True, ImageFont.load_default_imagefont())
        return tools.enlarged(np.asarray(small), scale, side) / 255
    if way == 1:
        return subpixels(rng, side, size)
    image = turned_page(rng, side, size) if way == 2 else page(rng, side, size, sharp=way == 3)
    return np.asarray(image) / 255


def text(rng: tools.Rng, side: int) -> Pixels:
    """Text: sharp, smooth, of a bitmap font, turned, or in coloured subpixels; 8 to 60 pixels high."""
    paper, ink = tools.colours(rng, 2)
    while not (part := coverage(rng, side)).any():
        pass  # short lines, turned out of the picture
    return tools.blend(part, paper, ink)


def monospaced(
    draw: ImageDraw.ImageDraw, at: tools.Point, line: str, size: float, fill: tools.Colour
) -> float:
    """Draw each letter in a cell of the same width, as editors do. Returns x behind the last."""
    font, pitch = ImageFont.load_default(size), round(size * 0.62)
    for place, letter in enumerate(line):
        draw.text((at[0] + place * pitch, at[1]), letter, fill=fill, font=font)
    return at[0] + len(line) * pitch
