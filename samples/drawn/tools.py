"""What the kinds share: colours, fields of grey levels, canvases, curves, sprites."""

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw

from car.arrays import Doubles, Pixels

Rng = np.random.Generator
Colour = tuple[int, int, int]
Point = tuple[float, float]  # x and y in pixels

LUMA = np.array((0.299, 0.587, 0.114))
LEAST_CONTRAST = 80  # grey levels between paper and ink
# Degrees between a line across the pattern and the slopes 1:2 and 2:1, which are kept for tests.
LEFT_OUT = 6


# ---- colours -


def colours(rng: Rng, number: int) -> list[Colour]:
    """Random colours, or greys; the first two, paper and ink, differ by LEAST_CONTRAST in luma or more."""
    while True:
        chosen = rng.integers(0, 256, (number, 3)).astype(float)
        if rng.random() < 0.5:
            chosen[:2] = np.array([0.0, 255.0])[rng.permutation(2), np.newaxis]
        if abs(chosen[0] @ LUMA - chosen[1] @ LUMA) > LEAST_CONTRAST + 1:
            break
    if rng.random() < 0.5:
        chosen = np.repeat((chosen @ LUMA)[:, np.newaxis], 3, axis=1)
    return [(int(r), int(g), int(b)) for r, g, b in chosen.round()]


def rounded(levels: npt.NDArray[np.floating]) -> Pixels:
    """Levels of any range as uint8, rounded and clipped."""
    return np.clip(np.rint(levels), 0, 255).astype(np.uint8)


def blend(coverage: npt.NDArray[np.generic], paper: Colour, ink: Colour) -> Pixels:
    """Paper where the coverage, [H, W] or [H, W, 3] of 0..1, is 0, ink where it is 1: uint8 [H, W, 3]."""
    share = np.asarray(coverage, float)
    share = share if share.ndim == 3 else share[..., np.newaxis]
    return rounded(np.array(paper) + share * (np.array(ink) - np.array(paper)))


def shade(place: Doubles, ends: list[Colour], levels: int | None) -> Pixels:
    """Colours that change evenly from the first to the last of `ends` as place [...] goes from 0 to 1.

    levels: of how many steps place is made first (banding); None: of none. uint8 [..., 3].
    """
    if levels is not None:
        place = np.floor(np.clip(place, 0, 1 - 1e-9) * levels) / (levels - 1)
    knots = np.linspace(0, 1, len(ends))
    return rounded(np.stack([np.interp(place, knots, channel) for channel in np.array(ends).T], axis=-1))


def between(ends: list[Colour], place: float) -> Colour:
    """The colour at a place of 0..1 on the way from the first to the last."""
    red, green, blue = shade(np.array(place), ends, None).tolist()
    return red, green, blue


def turned(side: int, angle: float) -> tuple[Doubles, Doubles]:
    """Coordinates of each pixel along and across a direction, in pixels: [side, side] each."""
    y, x = np.mgrid[:side, :side].astype(float)
    return x * np.cos(angle) + y * np.sin(angle), y * np.cos(angle) - x * np.sin(angle)


def any_angle(rng: Rng) -> float:
    """An angle in radians: that of the grid or 45 degrees at times, never one of a slope near 1:2."""
    if rng.random() < 0.4:
        return float(rng.integers(0, 4)) * np.pi / 4
    while True:
        angle = rng.uniform(0, 180)
        if min(abs(angle % 90 - slope) for slope in (26.565, 63.435)) > LEFT_OUT:
            return float(np.radians(angle))


def smooth(rng: Rng, side: int) -> Doubles:
    """A field of soft hills, 0..255 with all of that range in use: [side, side]."""
    cells = int(rng.integers(3, 3 + max(side // 24, 2)))
    coarse = Image.fromarray(rng.normal(0, 1, (cells, cells)).astype(np.float32))
    field = np.asarray(coarse.resize((side, side), Image.Resampling.BICUBIC), float)
    return 255 * (field - field.min()) / (field.max() - field.min())


def tones(rng: Rng, side: int) -> Doubles:
    """All tones, to be dithered or screened: hills, a ramp and shaded balls, [side, side] 0..255."""
    along, _ = turned(side, rng.uniform(0, 2 * np.pi))
    ramp = 255 * (along - along.min()) / (along.max() - along.min())
    weight = rng.random()
    field = weight * smooth(rng, side) + (1 - weight) * ramp
    y, x = np.mgrid[:side, :side]
    for _ in range(rng.integers(0, 5)):
        radius, (left, top) = rng.uniform(0.05, 0.3) * side, rng.uniform(0, side, 2)
        away = np.hypot(x - left, y - top) / radius
        ball = rng.uniform(120, 255) * (1 - 0.8 * away**2) + rng.uniform(0, 40)
        field = np.where(away < 1, ball, field)
    return np.clip(field, 0, 255)


def enlarged(picture: Pixels, times: int, side: int) -> Pixels:
    """Each pixel of [h, w, ...] as times x times of them, cut to [side, side, ...]."""
    return picture.repeat(times, axis=0).repeat(times, axis=1)[:side, :side]


def canvas(side: int, zoom: int, paper: Colour) -> tuple[Image.Image, ImageDraw.ImageDraw]:
    """An RGB image of side * zoom pixels a side, to be drawn on and handed to `shrunk`."""
    image = Image.new("RGB", (side * zoom, side * zoom), paper)
    return image, ImageDraw.Draw(image)


def shrunk(image: Image.Image, side: int) -> Pixels:
    """The image at `side` pixels a side, each the mean of those that it covers: antialiased."""
    return np.asarray(image.reduce(image.width // side) if image.width > side else image).copy()


def zoom_of(rng: Rng) -> int:
    """1, which leaves steps in slanted lines, or 4, which makes them smooth."""
    return int(rng.choice([1, 4]))


def walk(rng: Rng, side: int, steps: int) -> list[Point]:
    """Points of a soft curve that wanders over the picture."""
    heading, at = rng.uniform(0, 2 * np.pi), rng.uniform(0, side, 2)
    points = []
    for _ in range(4 * steps):
        points.append((float(at[0]), float(at[1])))
        heading += rng.normal(0, 0.35)
        at = at + side / 24 * np.array([np.cos(heading), np.sin(heading)])
    return points


def blob(rng: Rng, centre: Point, radius: float) -> list[Point]:
    """Points of a closed soft outline of about this radius in pixels."""
    around = np.linspace(0, 2 * np.pi, 72, endpoint=False)
    away = np.ones(72)
    for wave in range(2, 6):
        away += rng.normal(0, 0.35 / wave) * np.cos(wave * around + rng.uniform(0, 2 * np.pi))
    away *= radius
    return list(
        zip(
            (centre[0] + away * np.cos(around)).tolist(),
            (centre[1] + away * np.sin(around)).tolist(),
            strict=True,
        )
    )


def sprite(rng: Rng, cells: int, palette: list[Colour]) -> Pixels:
    """A small symmetric figure: uint8 [cells, cells, 3]. palette[0] is the ground."""
    half = rng.integers(0, len(palette), (cells, (cells + 1) // 2))
    y, x = np.mgrid[:cells, : half.shape[1]]
    away = np.hypot(y - (cells - 1) / 2, x - (cells - 1) / 2) / cells
    half[away + rng.uniform(-0.15, 0.15, half.shape) > 0.45] = 0
    for _ in range(2):  # a pixel takes its neighbour's colour at times: patches, not noise
        take = rng.random(half.shape) < 0.4
        half = np.where(take, np.roll(half, 1, axis=int(rng.integers(2))), half)
    whole = np.concatenate([half, half[:, : cells // 2][:, ::-1]], axis=1)
    return np.array(palette, np.uint8)[whole]
