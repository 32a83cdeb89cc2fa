"""All that is drawn, with Pillow: sheets of patches and pictures, and the losses.

A plotting package for the one plot would be a dependency for one function.
"""

import math
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from car import levels
from car.arrays import Pixels
from car.errors import printable
from car.files import whole_file

SHEET_COLUMNS, SHEET_ROWS = 3, 6  # pairs on a sheet of patches
SHEET_TITLES = ("JPG", "BMP", "JPG - BMP, 4 times")
GAP, HEAD = 8, 18  # pixels of a sheet: between its panels, and for their titles
SHOWN_PATCH_SIDE = 128  # pixels; smaller patches are magnified by a whole number
PLOT_WIDTH, PLOT_HEIGHT = 900, 520  # pixels
OVERSAMPLING = 2  # drawn so many times as large, then reduced: smooth lines
PLOT_LEFT, PLOT_RIGHT, PLOT_TOP, PLOT_BOTTOM = 70, 20, 60, 50  # margins around the axes
VALIDATION_COLUMN, JPG_VALIDATION_COLUMN = 3, 4  # columns of the CSV row
CURVES = (  # column of the CSV row, name, colour, width
    (2, "JPG itself, training", "#a8c8e4", 1),
    (JPG_VALIDATION_COLUMN, "JPG itself, validation: the line to beat", "#e8a0a0", 2),
    (1, "training", "#1f77b4", 2),
    (VALIDATION_COLUMN, "validation", "#d62728", 2),
)


# ---- sheets --------------------------------------------------------------------------------


def side_by_side(panels: Sequence[Pixels], titles: Sequence[str]) -> Image.Image:
    """Set grey or RGB uint8 panels of one height in a row under their titles. Returns a PIL image.

    A panel has at least the width of its title.
    """
    font = ImageFont.load_default()
    widths = [
        max(panel.shape[1], math.ceil(font.getlength(title)))
        for panel, title in zip(panels, titles, strict=True)
    ]
    sheet = Image.new(
        "RGB", (sum(widths) + GAP * len(widths) + GAP, panels[0].shape[0] + HEAD + GAP), "white"
    )
    draw, x = ImageDraw.Draw(sheet), GAP
    for panel, title, width in zip(panels, titles, widths, strict=True):
        draw.text((x, 3), title, fill="black", font=font)
        sheet.paste(Image.fromarray(panel).convert("RGB"), (x, HEAD))
        x += width + GAP
    return sheet


def difference(after: Pixels, before: Pixels, gain: int = 4) -> Pixels:
    """Signed difference of two uint8 arrays as a picture: 128 where equal, `gain` times magnified."""
    return np.clip(128 + gain * (after.astype(np.int16) - before), 0, 255).astype(np.uint8)


def sheet_of_pairs(jpg: Pixels, bmp: Pixels, names: Sequence[str] = ()) -> Image.Image:
    """A sheet of pairs of patches, uint8 [N, side, side] each: JPG, BMP and their difference.

    names: of the images that they are from, written below them, as far as there is room.
    """
    below = 16 if any(names) else 4  # pixels
    zoom = max(1, SHOWN_PATCH_SIDE // jpg.shape[-1])
    panels = []
    for first in range(0, len(jpg), SHEET_ROWS):
        some = slice(first, first + SHEET_ROWS)
        for patches in (jpg[some], bmp[some], difference(jpg[some], bmp[some])):
            shown = patches.repeat(zoom, axis=1).repeat(zoom, axis=2)
            framed = np.pad(shown, ((0, SHEET_ROWS - len(shown)), (0, below), (0, 0)), constant_values=255)
            panels.append(np.concatenate(framed))
    sheet = side_by_side(panels, SHEET_TITLES * (len(panels) // len(SHEET_TITLES)))
    across, down = (sheet.width - GAP) // (len(panels) // len(SHEET_TITLES)), zoom * jpg.shape[-1]
    for place, name in enumerate(names):
        column, row = divmod(place, SHEET_ROWS)
        write_cut(sheet, name, GAP + column * across, HEAD + row * (down + below) + down + 1, across - GAP)
    return sheet


def write_cut(image: Image.Image, text: str, x: int, y: int, width: int) -> None:
    """Write a line on a picture, of what is too long for that width its end, all in pixels."""
    font, shown = ImageFont.load_default(), printable(text)
    while font.getlength(shown) > width:
        shown = "..." + shown.removeprefix("...")[1:]
    ImageDraw.Draw(image).text((x, y), shown, fill="black", font=font)


def comparison(before: Pixels, after: Pixels, truth: Pixels | None) -> Image.Image:
    """JPG | corrected | BMP (where there is one) | what changed, of uint8 pictures of one size."""
    panels, titles = [before, after], ["JPG", "corrected"]
    if truth is not None:
        panels.append(truth)
        titles.append("BMP")
    panels.append(difference(levels.luma_of(after), levels.luma_of(before)))
    titles.append("what changed, 4 times, grey = nothing")
    return side_by_side(panels, titles)


def save_png(path: Path, image: Image.Image, whole: Callable[[Path], None] | None = None) -> None:
    """Write a drawn picture as PNG, whole or not at all; whole: of whole_file."""
    with whole_file(path, whole=whole) as file:
        image.save(file, "PNG")


# ---- losses --------------------------------------------------------------------------------


def _ticks(low: float, high: float) -> list[float]:
    """Round numbers (1, 2 or 5 times a power of ten) between low and high, at most nine."""
    power = 10 ** math.floor(math.log10(high - low))
    step = next(s for s in (power / 10, power / 5, power / 2, power, 2 * power) if (high - low) / s <= 8)
    return [number * step for number in range(math.ceil(low / step), math.floor(high / step) + 1)]


def draw_losses(path: Path, rows: Sequence[Sequence[float]]) -> None:
    """Draw training and validation loss over the steps beside the JPG's own MSE, to a PNG.

    rows: as in losses.csv; losses in squared grey levels, nan where there is none. The axis ends at 1.6
    times the JPG's MSE, as single steps can lie far above, but the last row is always inside. A net that
    ends above the JPG is named as what it is.
    """
    values = [row[column] for row in rows for column, *_ in CURVES if not math.isnan(row[column])]
    last_values = [rows[-1][column] for column, *_ in CURVES if not math.isnan(rows[-1][column])]
    low = min(values)
    high = min(max(values), max(1.6 * max(row[JPG_VALIDATION_COLUMN] for row in rows), *last_values))
    room = 0.05 * (high - low) or 1.0
    low, high, last = low - room, max(high, low) + room, max(rows[-1][0], 1)
    font = ImageFont.load_default(12 * OVERSAMPLING)
    image = Image.new("RGB", (PLOT_WIDTH * OVERSAMPLING, PLOT_HEIGHT * OVERSAMPLING), "white")
    draw = ImageDraw.Draw(image)

    def place(step: float, loss: float) -> tuple[float, float]:
        x = PLOT_LEFT + (PLOT_WIDTH - PLOT_LEFT - PLOT_RIGHT) * step / last
        y = PLOT_TOP + (PLOT_HEIGHT - PLOT_TOP - PLOT_BOTTOM) * (high - min(loss, high)) / (high - low)
        return x * OVERSAMPLING, y * OVERSAMPLING

    def write(x: float, y: float, text: str, anchor: str) -> None:
        draw.text((x * OVERSAMPLING, y * OVERSAMPLING), text, fill="black", anchor=anchor, font=font)

    for loss in _ticks(low, high):
        draw.line([place(0, loss), place(last, loss)], fill="#dddddd", width=OVERSAMPLING)
        write(PLOT_LEFT - 8, place(0, loss)[1] / OVERSAMPLING, f"{loss:g}", "rm")
    for step in _ticks(0, last):
        x = place(step, low)[0] / OVERSAMPLING
        draw.line(
            [
                (x * OVERSAMPLING, (PLOT_HEIGHT - PLOT_BOTTOM) * OVERSAMPLING),
                (x * OVERSAMPLING, (PLOT_HEIGHT - PLOT_BOTTOM + 5) * OVERSAMPLING),
            ],
            fill="black",
            width=OVERSAMPLING,
        )
        write(x, PLOT_HEIGHT - PLOT_BOTTOM + 8, f"{step:g}", "mt")
    draw.rectangle([place(0, high), place(last, low)], outline="black", width=OVERSAMPLING)
    write(PLOT_WIDTH / 2, PLOT_HEIGHT - 14, "steps", "mm")
    write(PLOT_LEFT, 16, "mean squared error in squared grey levels", "lm")
    x = PLOT_LEFT
    for column, name, colour, width in CURVES:
        points = [place(row[0], row[column]) for row in rows if not math.isnan(row[column])]
        if len(points) == 1:
            draw.circle(points[0], 3 * OVERSAMPLING, fill=colour)
        draw.line(points, fill=colour, width=width * OVERSAMPLING, joint="curve")
        draw.line(
            [(x * OVERSAMPLING, 42 * OVERSAMPLING), ((x + 24) * OVERSAMPLING, 42 * OVERSAMPLING)],
            fill=colour,
            width=3 * OVERSAMPLING,
        )
        write(x + 30, 42, name, "lm")
        x += 56 + draw.textlength(name, font=font) / OVERSAMPLING
    if rows[-1][VALIDATION_COLUMN] > rows[-1][JPG_VALIDATION_COLUMN]:
        text = "at the end worse than no correction: validation lies above the JPG itself"
        left_of_the_rise = (PLOT_LEFT + 10) * OVERSAMPLING, (PLOT_TOP + 10) * OVERSAMPLING
        draw.text(left_of_the_rise, text, fill="#d62728", anchor="lt", font=font)
    save_png(path, image.resize((PLOT_WIDTH, PLOT_HEIGHT), Image.Resampling.LANCZOS))
