"""Pictures of things: screens, maps, charts, line art, cartoons, shapes, sprites, codes to be scanned."""

import itertools

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from car.arrays import Pixels
from drawn import texts, tools


def code_lines(
    rng: tools.Rng,
    draw: ImageDraw.ImageDraw,
    box: tuple[int, int, int, int],
    size: float,
    inks: list[tools.Colour],
) -> None:
    """Indented lines of coloured words in cells of one width."""
    left, top, right, bottom = box
    depth, y = 0, float(top)
    while y + size < bottom:
        depth = int(np.clip(depth + rng.integers(-1, 2), 0, 4))
        x = left + depth * size * 2
        for word in texts.words(rng, int(rng.integers(0, 6))).split():
            if x + len(word) * size * 0.62 < right:
                x = texts.monospaced(draw, (x, y), word + " ", size, inks[int(rng.integers(len(inks)))])
        y += round(size * 1.3)


def rows_and_buttons(
    rng: tools.Rng,
    draw: ImageDraw.ImageDraw,
    box: tuple[int, int, int, int],
    size: float,
    inks: list[tools.Colour],
) -> None:
    """Rows of a list, one of them selected, each with its button, box to tick or icon."""
    left, top, right, bottom = box
    font, step = ImageFont.load_default(size), round(size * 1.8)
    for y in range(top, bottom - step, step):
        if rng.random() < 0.2:
            draw.rectangle((left, y, right, y + step), fill=inks[1])
        draw.text((left + step, y + size * 0.3), texts.words(rng, 3), fill=inks[0], font=font)
        tick = (left + 3, y + 3, left + step - 6, y + step - 6)
        if rng.random() < 0.5:
            draw.rectangle(tick, outline=inks[0])
        else:
            draw.ellipse(tick, fill=inks[2], outline=inks[0])
        if rng.random() < 0.4:
            button = (right - 4 * step, y + 2, right - 4, y + step - 3)
            if button[2] > button[0]:
                draw.rectangle(button, fill=inks[2], outline=inks[0])
                draw.text((button[0] + 4, y + size * 0.3), texts.words(rng, 1)[:6], fill=inks[0], font=font)


def screen(rng: tools.Rng, side: int) -> Pixels:
    """Windows with title bars, menus, lists, buttons and code, before a plain ground with icons."""
    ground, ink, *others = tools.colours(rng, 6)
    image, draw = tools.canvas(side, 1, ground)
    draw.fontmode = str(rng.choice(["1", "L"]))
    for _ in range(rng.integers(0, 12)):
        x, y = (int(at) for at in rng.integers(0, side - 20, 2))
        icon = Image.fromarray(tools.sprite(rng, int(rng.integers(8, 17)), [ground, ink, *others]))
        image.paste(icon, (x, y))
    for _ in range(rng.integers(1, 4)):
        size = float(rng.integers(9, 16))
        left, top = (int(at) for at in rng.integers(-10, side // 3 + 1, 2))
        right, bottom = (int(at) for at in rng.integers(side * 2 // 3, side + 20, 2))
        paper, letters, *more = tools.colours(rng, 6)
        bar = top + round(size * 1.7)
        bottom = max(bottom, bar + 40)
        draw.rectangle((left, top, right, bottom), fill=paper, outline=ink)
        draw.rectangle((left, top, right, bar), fill=letters, outline=ink)
        title = ImageFont.load_default(size)
        draw.text((left + 5, top + size * 0.2), texts.words(rng, 3), fill=paper, font=title)
        inside = (left + 5, bar + 4, right - 12, bottom - 2)
        what = code_lines if rng.random() < 0.5 else rows_and_buttons
        what(rng, draw, inside, size, [letters, *more])
        draw.rectangle((right - 10, bar, right, bottom), outline=letters)  # the bar to scroll by
        draw.rectangle((right - 9, bar + 9, right - 1, bar + 40), fill=more[0])
    return tools.shrunk(image, side)


def geographic_map(rng: tools.Rng, side: int) -> Pixels:
    """Heights in flat colours or white, with contour lines, roads that have edges, and names."""
    zoom = tools.zoom_of(rng)
    field = tools.smooth(rng, side * zoom)
    count = int(rng.integers(3, 12))
    level = np.minimum((field / 256 * count).astype(int), count - 1)
    paper, ink, *others = tools.colours(rng, 3 + count)
    flat = np.array(others[:count] if rng.random() < 0.7 else [paper] * count, np.uint8)[level]
    for _ in range(int(rng.integers(1, 3)) * zoom // 2 + 1):  # contours grow by a pixel at each turn
        step = np.zeros(level.shape, bool)
        step[1:] |= level[1:] != level[:-1]
        step[:, 1:] |= level[:, 1:] != level[:, :-1]
        flat[step] = ink
    image = Image.fromarray(flat)
    draw = ImageDraw.Draw(image)
    for _ in range(rng.integers(1, 6)):
        way = tools.walk(rng, side, int(rng.integers(4, 12)))
        points = [(x * zoom, y * zoom) for x, y in way]
        width = int(rng.integers(2, 7)) * zoom
        draw.line(points, fill=ink, width=width + 2 * zoom, joint="curve")
        draw.line(points, fill=paper, width=width, joint="curve")
    for _ in range(rng.integers(2, 12)):
        font = ImageFont.load_default(float(rng.integers(8, 16)) * zoom)
        at = rng.uniform(0, side * zoom * 0.9, 2)
        draw.text(
            (at[0], at[1]), texts.words(rng, 1), fill=ink, font=font, stroke_width=zoom, stroke_fill=paper
        )
    return tools.shrunk(image, side)


def chart(rng: tools.Rng, side: int) -> Pixels:
    """Bars or curves between axes, over wide lines of a grid, with numbers."""
    zoom = tools.zoom_of(rng)
    paper, ink, rule, *others = tools.colours(rng, 8)
    image, draw = tools.canvas(side, zoom, paper)
    left, bottom = side * zoom * rng.uniform(0.08, 0.2), side * zoom * rng.uniform(0.75, 0.92)
    font, lines = ImageFont.load_default(10.0 * zoom), int(rng.integers(3, max(side // 24, 4)))
    for y in np.linspace(side * zoom * 0.05, bottom, lines):
        draw.line((left, y, side * zoom, y), fill=rule, width=zoom)
        draw.text((2 * zoom, y - 5 * zoom), str(rng.integers(0, 1000)), fill=ink, font=font)
    number = int(rng.integers(3, 20))
    xs = np.linspace(left, side * zoom, number + 1)
    if rng.random() < 0.5:
        for x, after in itertools.pairwise(xs.tolist()):
            top = bottom * rng.uniform(0.1, 0.95)
            fill = others[int(rng.integers(len(others)))]
            draw.rectangle((x + zoom, top, after - zoom, bottom), fill=fill, outline=ink, width=zoom)
    else:
        for fill in others:
            ys = bottom * np.clip(0.5 + np.cumsum(rng.normal(0, 0.12, number + 1)), 0.02, 1)
            points = list(zip(xs.tolist(), ys.tolist(), strict=True))
            draw.line(points, fill=fill, width=int(rng.integers(1, 4)) * zoom, joint="curve")
            for x, y in points:
                draw.ellipse((x - 3 * zoom, y - 3 * zoom, x + 3 * zoom, y + 3 * zoom), fill=fill)
    draw.line((left, 0, left, bottom, side * zoom, bottom), fill=ink, width=zoom)
    return tools.shrunk(image, side)


def line_art(rng: tools.Rng, side: int) -> Pixels:
    """Lines, curves, ellipses and boxes of 1 to 5 pixels, nothing filled."""
    zoom = tools.zoom_of(rng)
    paper, ink, *others = tools.colours(rng, 4)
    image, draw = tools.canvas(side, zoom, paper)
    one_ink, widths = rng.random() < 0.7, (1, int(rng.integers(2, 6)))
    for _ in range(rng.integers(6, 8 + side // 8)):
        fill = ink if one_ink else [ink, *others][int(rng.integers(3))]
        width = zoom * int(rng.integers(widths[0], widths[1] + 1))
        (x, y), (across, down) = rng.uniform(0, side * zoom, 2), rng.uniform(0.03, 0.4, 2) * side * zoom
        box = (x, y, x + across, y + down)
        what = rng.integers(0, 5)
        if what == 0:
            draw.line((x, y, *rng.uniform(0, side * zoom, 2)), fill=fill, width=width)
        elif what == 1:
            draw.ellipse(box, outline=fill, width=width)
        elif what == 2:
            draw.rectangle(box, outline=fill, width=width)
        elif what == 3:
            start = rng.uniform(0, 360)
            draw.arc(box, start, start + rng.uniform(40, 300), fill=fill, width=width)
        else:
            points = [(a * zoom, b * zoom) for a, b in tools.walk(rng, side, int(rng.integers(2, 10)))]
            draw.line(points, fill=fill, width=width, joint="curve")
    return tools.shrunk(image, side)


def cartoon(rng: tools.Rng, side: int) -> Pixels:
    """Flat coloured regions with outlines, before a sky and a ground; some have eyes and a mouth."""
    zoom = tools.zoom_of(rng)
    sky, ink, *others = tools.colours(rng, 9)
    image, draw = tools.canvas(side, zoom, sky)
    width = zoom * int(rng.integers(1, 6))
    horizon = rng.uniform(0.4, 1) * side * zoom
    draw.rectangle(
        (-width, horizon, side * zoom + width, side * zoom), fill=others[0], outline=ink, width=width
    )
    for _ in range(rng.integers(3, 16)):
        centre, radius = rng.uniform(0, side * zoom, 2), rng.uniform(0.04, 0.25) * side * zoom
        x, y = centre.tolist()
        points = tools.blob(rng, (x, y), radius)
        draw.polygon(points, fill=others[int(rng.integers(1, len(others)))])
        draw.line([*points, *points[:2]], fill=ink, width=width, joint="curve")
        if rng.random() < 0.5:
            for eye in (x - radius / 3, x + radius / 3):
                for size, fill in ((radius / 5, "white"), (radius / 10, ink)):
                    draw.ellipse((eye - size, y - size, eye + size, y + size), fill=fill, outline=ink)
            mouth = (x - radius / 3, y, x + radius / 3, y + radius / 2)
            draw.arc(mouth, 20, 160, fill=ink, width=width)
    return tools.shrunk(image, side)


def star(centre: tools.Point, radius: float, points: int, depth: float, turn: float) -> list[tools.Point]:
    """Corners of a star of so many points, or of a polygon of twice as many where depth is 1."""
    around = turn + np.arange(2 * points) * np.pi / points
    away = radius * np.where(np.arange(2 * points) % 2, depth, 1)
    return [
        (float(centre[0] + r * np.cos(a)), float(centre[1] + r * np.sin(a)))
        for r, a in zip(away, around, strict=True)
    ]


def shapes(rng: tools.Rng, side: int) -> Pixels:
    """Logos: few large discs, rings, rounded boxes, stars and letters with smooth edges."""
    zoom = 4
    paper, *inks = tools.colours(rng, 5)
    image, draw = tools.canvas(side, zoom, paper)
    for _ in range(rng.integers(3, 13)):
        fill = inks[int(rng.integers(len(inks)))]
        x, y = rng.uniform(0.1, 0.9, 2).tolist()
        x, y, radius = x * side * zoom, y * side * zoom, rng.uniform(0.06, 0.4) * side * zoom
        box = (x - radius, y - radius, x + radius, y + radius)
        what = rng.integers(0, 5)
        if what == 0:
            draw.ellipse(box, fill=fill)
        elif what == 1:
            draw.ellipse(box, outline=fill, width=int(rng.uniform(0.1, 0.5) * radius))
        elif what == 2:
            draw.rounded_rectangle(box, radius * rng.uniform(0.1, 0.9), fill=fill)
        elif what == 3:
            corners = star((x, y), radius, int(rng.integers(3, 9)), rng.uniform(0.4, 1), rng.uniform(0, 6))
            draw.polygon(corners, fill=fill)
        else:
            font = ImageFont.load_default(float(radius))
            word = texts.words(rng, 1)[: int(rng.integers(1, 5))]
            draw.text((x - radius, y - radius / 2), word, fill=fill, font=font, stroke_width=int(radius / 30))
    return tools.shrunk(image, side)


def pixel_art(rng: tools.Rng, side: int) -> Pixels:
    """Sprites of few colours, each of their pixels 2 to 8 pixels wide."""
    scale = int(rng.integers(2, 9))
    palette = tools.colours(rng, int(rng.integers(3, 7)))
    cells = int(rng.integers(8, 17))
    gap = int(rng.integers(0, 4))
    across = -(-side // (scale * (cells + gap)))
    small = np.full((across * (cells + gap), across * (cells + gap), 3), palette[0], np.uint8)
    for top in range(0, len(small), cells + gap):
        for left in range(0, len(small), cells + gap):
            small[top : top + cells, left : left + cells] = tools.sprite(rng, cells, palette)
    return tools.enlarged(small, scale, side)


def matrix_code(rng: tools.Rng, modules: int) -> Pixels:
    """Random squares, a finder in three corners as QR codes have them: [modules, modules] of 0 and 1."""
    code = rng.integers(0, 2, (modules, modules)).astype(np.uint8)
    finder = np.zeros((8, 8), np.uint8)
    finder[:7, :7] = 1
    finder[1:6, 1:6] = 0
    finder[2:5, 2:5] = 1
    code[:8, :8], code[:8, -8:], code[-8:, :8] = finder, finder[:, ::-1], finder[::-1]
    return code


def bar_code(rng: tools.Rng, side: int) -> Pixels:
    """Bars and gaps of 1 to 4 modules from top to bottom: [side, side] of 0 and 1, modules of one pixel."""
    widths = rng.integers(1, 5, side)
    return np.tile(np.repeat(np.arange(side) % 2, widths)[:side].astype(np.uint8), (side, 1))


def code(rng: tools.Rng, side: int) -> Pixels:
    """Codes to be scanned: a square one of modules of 2 to 8 pixels, or bars of 1 to 4 with a number."""
    paper, ink = tools.colours(rng, 2)
    scale = int(rng.integers(2, 9))
    if rng.random() < 0.5:
        modules = max(int(rng.integers(side // (2 * scale), side // scale)), 17)
        mask = np.zeros((side, side), np.uint8)
        drawn = matrix_code(rng, modules).repeat(scale, axis=0).repeat(scale, axis=1)[:side, :side]
        top, left = (int(rng.integers(0, side - length + 1)) for length in drawn.shape)
        mask[top : top + drawn.shape[0], left : left + drawn.shape[1]] = drawn
        return tools.blend(mask, paper, ink)
    mask = tools.enlarged(bar_code(rng, side), int(rng.integers(1, 5)), side)
    for row in range(1, 1 + side // 128):  # several codes, one above the other
        mask[row * 128 - 24 : row * 128] = 0
    if rng.random() < 0.3:
        mask = mask.T
    image = Image.fromarray(tools.blend(mask, paper, ink))
    draw = ImageDraw.Draw(image)
    for row in range(1, 1 + side // 128):
        number = str(rng.integers(10**11, 10**12))
        texts.monospaced(draw, (6, row * 128 - 21), number, 14, ink)
    return np.asarray(image)
