"""Measure what 16 bits bring: results in whole grey levels against results in steps of 1/257 of a level.

    python benchmarks/depth.py
    python benchmarks/depth.py FOLDER --quality 30 75

A made sky, and with FOLDER its photographs at half their size. Both are known finer than in whole grey
levels: the sky by a formula, a photograph as the mean of four pixels. Of each: the error against that, R, G
and B together; how many levels of green there are; and the typical step from a pixel to its neighbour where
they differ (median), which in a smooth place is what banding shows.
"""

import argparse
import io
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from car import cli

if TYPE_CHECKING:
    from car.arrays import Doubles, Pixels

HEIGHT, WIDTH = 512, 768  # of the sky


def arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    """Parse the command line."""
    parser, quality = cli.parser(__doc__), cli.whole_number(1, 100)
    parser.set_defaults(workdir=".")  # there is no WORKDIR: the folder is what the shell says
    parser.add_argument("folder", nargs="?", default=".", help="of photographs")
    parser.add_argument("--quality", nargs="+", type=quality, default=[30], metavar="Q", help="(30)")
    return cli.parse(parser, argv, inputs=["folder"])


def sky() -> "Doubles":
    """A sky from the zenith to the horizon, RGB [H, W, 3], grey levels that are not whole."""
    import numpy as np

    down, across = np.mgrid[:HEIGHT, :WIDTH]
    part = (0.9 * down / (HEIGHT - 1) + 0.1 * across / (WIDTH - 1))[..., np.newaxis]
    zenith, horizon = np.array([90.0, 130.0, 190.0]), np.array([140.0, 170.0, 215.0])
    return zenith + part * (horizon - zenith)


def halved(pixels: "Pixels") -> "Doubles":
    """A picture, uint8 [H, W, 3], at half its size, each pixel the mean of four."""
    height, width = (length // 2 for length in pixels.shape[:2])
    fours = pixels[: 2 * height, : 2 * width].reshape(height, 2, width, 2, 3)
    return fours.mean(axis=(1, 3))


def measured(levels: "Doubles", truth: "Doubles") -> tuple[float, int, float]:
    """Error (rms, grey levels), number of levels of green, median step between unequal neighbours."""
    import numpy as np

    green = levels[..., 1]
    steps = np.abs(np.diff(green, axis=1))
    step = float(np.median(steps[steps > 0])) if steps.any() else 0.0
    return float(np.sqrt(np.mean(np.square(levels - truth)))), len(np.unique(green)), step


@cli.script
def main(argv: Sequence[str] | None = None) -> int:
    """Print the table. Returns the exit status."""
    args = arguments(argv)
    cli.load_tensorflow()
    import numpy as np
    from PIL import Image

    import model_car
    from car import images, pairs

    truths = {"sky": sky()}
    if args.folder != Path("."):
        for source in pairs.find_clean(args.folder).sources:
            pixels = images.read_pixels(source.clean)
            if pixels.ndim == 3:
                truths[source.clean.name] = halved(pixels)
    corrector = model_car.load_corrector(bits=16)
    print("picture, quality: error, levels, step of the JPG | of 8 bits | of 16 bits")
    for name, truth in truths.items():
        for quality in args.quality:
            file = io.BytesIO()
            Image.fromarray(np.rint(truth).astype(np.uint8)).save(file, "JPEG", quality=quality)
            corrected = corrector.correct(file.getvalue())
            fine, jpg = corrected.pixels / 257, corrected.before / 257
            columns = (measured(levels, truth) for levels in (jpg, np.rint(fine), fine))
            shown = " | ".join(f"{error:.3f} {count:6} {step:.3f}" for error, count, step in columns)
            print(f"{name}, {quality}: {shown}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
