"""A picture of the losses, drawn with Pillow: a plotting package would be a dependency for one file."""

import math

from PIL import Image, ImageDraw

from car_shell import whole_file

WIDTH, HEIGHT = 900, 520
LEFT, RIGHT, TOP, BOTTOM = 70, 20, 60, 50  # margins around the axes, in pixels
CURVES = (  # column of the CSV row, name, colour
    (1, "training", "#1f77b4"),
    (3, "validation", "#d62728"),
    (4, "the JPG itself (validation): the line to beat", "#555555"),
)


def _ticks(low, high):
    """Round numbers (1, 2 or 5 times a power of ten) between low and high."""
    step = 10 ** math.floor(math.log10((high - low) / 2))
    while (high - low) / step > 8:
        step *= 2.5 if round(step / 10 ** math.floor(math.log10(step))) == 2 else 2
    first = math.ceil(low / step)
    return [number * step for number in range(first, math.floor(high / step) + 1)]


def draw_losses(path, rows):
    """Draw training and validation loss over the steps, and the JPG's own MSE, to a PNG.

    rows: as in losses.csv; losses in squared grey levels. The axis ends at 1.6 times the JPG's
    MSE: the first steps of an untrained net lie far above.
    """
    values = [row[column] for row in rows for column, _, _ in CURVES]
    low, high = min(values), min(max(values), 1.6 * max(row[4] for row in rows))
    room = 0.05 * (high - low) or 1.0
    low, high = low - room, high + room
    last = rows[-1][0]

    def place(step, loss):
        x = LEFT + (WIDTH - LEFT - RIGHT) * step / last
        y = TOP + (HEIGHT - TOP - BOTTOM) * (high - min(loss, high)) / (high - low)
        return x, y

    image = Image.new("RGB", (WIDTH, HEIGHT), "white")
    draw = ImageDraw.Draw(image)
    for loss in _ticks(low, high):
        draw.line([place(0, loss), place(last, loss)], fill="#dddddd")
        draw.text((LEFT - 8, place(0, loss)[1]), f"{loss:g}", fill="black", anchor="rm")
    for step in _ticks(0, last):
        x, y = place(step, low)
        draw.line([(x, y), (x, y + 5)], fill="black")
        draw.text((x, y + 8), f"{step:g}", fill="black", anchor="mt")
    draw.rectangle([place(0, high), place(last, low)], outline="black")
    draw.text((WIDTH / 2, HEIGHT - 16), "steps", fill="black", anchor="mm")
    draw.text((LEFT, 14), "mean squared error, squared grey levels", fill="black", anchor="lm")
    x = LEFT
    for column, name, colour in CURVES:
        points = [place(row[0], row[column]) for row in rows]
        if len(points) == 1:
            draw.circle(points[0], 3, fill=colour)
        draw.line(points, fill=colour, width=2)
        draw.line([(x, 38), (x + 24, 38)], fill=colour, width=3)
        draw.text((x + 30, 38), name, fill="black", anchor="lm")
        x += 60 + draw.textlength(name)
    with whole_file(path) as file:
        image.save(file, "PNG")
