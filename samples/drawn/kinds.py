"""The lists of kinds, and a picture of one."""

from collections.abc import Callable

import numpy as np

from car.arrays import Pixels
from drawn import figures, patterns, texts, tools, unseen

KINDS: dict[str, Callable[[tools.Rng, int], Pixels]] = {
    "text": texts.text,
    "screen": figures.screen,
    "lineart": figures.line_art,
    "hatching": patterns.hatching,
    "cartoon": figures.cartoon,
    "map": figures.geographic_map,
    "chart": figures.chart,
    "dither": patterns.dither,
    "diffusion": patterns.diffusion,
    "halftone": patterns.halftone,
    "checkerboard": patterns.checkerboard,
    "grating": patterns.grating,
    "moire": patterns.moire,
    "gradient": patterns.gradient,
    "glow": patterns.glow,
    "flats": patterns.flats,
    "noise": patterns.noise,
    "pixelart": figures.pixel_art,
    "shapes": figures.shapes,
    "code": figures.code,
}


def draw(number: int, side: int, seed: int, untrained: bool = False) -> tuple[str, Pixels]:
    """The (kind, picture) of a number: kinds in turn, uint8 [side, side, 3], or [side, side] if grey.

    untrained: kinds that no net here was trained on (unseen.py).
    """
    some = unseen.KINDS if untrained else KINDS
    kind = list(some)[number % len(some)]
    picture = some[kind](np.random.default_rng([seed, number]), side)
    grey = (picture == picture[..., :1]).all()
    return kind, picture[..., 0] if grey else picture
