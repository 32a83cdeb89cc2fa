"""A picture of the losses, drawn with Pillow: a plotting package would be a dependency for one file."""

import math
from collections.abc import Sequence
from pathlib import Path

from car_shell import whole_file
from PIL import Image, ImageDraw, ImageFont

WIDTH, HEIGHT, FINE = 900, 520, 2  # pixels; drawn FINE times as large, then reduced: smooth lines
LEFT, RIGHT, TOP, BOTTOM = 70, 20, 60, 50  # margins around the axes
VALIDATION, JPG_VALIDATION = 3, 4  # columns of the CSV row
CURVES = (  # column of the CSV row, name, colour, width
    (2, "JPG itself, training", "#a8c8e4", 1),
    (JPG_VALIDATION, "JPG itself, validation: the line to beat", "#e8a0a0", 2),
    (1, "training", "#1f77b4", 2),
    (VALIDATION, "validation", "#d62728", 2),
)


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
    high = min(max(values), max(1.6 * max(row[JPG_VALIDATION] for row in rows), *last_values))
    room = 0.05 * (high - low) or 1.0
    low, high, last = low - room, max(high, low) + room, max(rows[-1][0], 1)
    font = ImageFont.load_default(12 * FINE)
    image = Image.new("RGB", (WIDTH * FINE, HEIGHT * FINE), "white")
    draw = ImageDraw.Draw(image)

    def place(step: float, loss: float) -> tuple[float, float]:
        x = LEFT + (WIDTH - LEFT - RIGHT) * step / last
        y = TOP + (HEIGHT - TOP - BOTTOM) * (high - min(loss, high)) / (high - low)
        return x * FINE, y * FINE

    def write(x: float, y: float, text: str, anchor: str) -> None:
        draw.text((x * FINE, y * FINE), text, fill="black", anchor=anchor, font=font)

    for loss in _ticks(low, high):
        draw.line([place(0, loss), place(last, loss)], fill="#dddddd", width=FINE)
        write(LEFT - 8, place(0, loss)[1] / FINE, f"{loss:g}", "rm")
    for step in _ticks(0, last):
        x = place(step, low)[0] / FINE
        draw.line(
            [(x * FINE, (HEIGHT - BOTTOM) * FINE), (x * FINE, (HEIGHT - BOTTOM + 5) * FINE)],
            fill="black",
            width=FINE,
        )
        write(x, HEIGHT - BOTTOM + 8, f"{step:g}", "mt")
    draw.rectangle([place(0, high), place(last, low)], outline="black", width=FINE)
    write(WIDTH / 2, HEIGHT - 14, "steps", "mm")
    write(LEFT, 16, "mean squared error in squared grey levels", "lm")
    x = LEFT
    for column, name, colour, width in CURVES:
        points = [place(row[0], row[column]) for row in rows if not math.isnan(row[column])]
        if len(points) == 1:
            draw.circle(points[0], 3 * FINE, fill=colour)
        draw.line(points, fill=colour, width=width * FINE, joint="curve")
        draw.line([(x * FINE, 42 * FINE), ((x + 24) * FINE, 42 * FINE)], fill=colour, width=3 * FINE)
        write(x + 30, 42, name, "lm")
        x += 56 + draw.textlength(name, font=font) / FINE
    if rows[-1][VALIDATION] > rows[-1][JPG_VALIDATION]:
        text = "at the end worse than no correction: validation lies above the JPG itself"
        left_of_the_rise = (LEFT + 10) * FINE, (TOP + 10) * FINE
        draw.text(left_of_the_rise, text, fill="#d62728", anchor="lt", font=font)
    with whole_file(path) as file:
        image.resize((WIDTH, HEIGHT), Image.Resampling.LANCZOS).save(file, "PNG")
