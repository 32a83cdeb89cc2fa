"""Make CT-like slices as pairs of JPG and BMP, to try the chain without data of one's own.

    python samples/make_ct_slices.py ct/data --series 6 --slices 10

writes series_000_slice_000.jpg and .bmp, ...: 512x512, grey, a round field of view with soft
tissue, organs, bone and noise. Neighbouring slices of a series resemble each other, as real
ones do. The same seed gives the same files.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageFilter

SIDE = 512
AIR, FAT, TISSUE, BONE = 4, 90, 125, 235  # grey levels of a soft-tissue window

Grid = npt.NDArray[np.float64]  # [2, SIDE, SIDE]: y and x of each pixel, -1..1
Point = Sequence[float]  # x and y


def ellipse(grid: Grid, centre: Point, axes: Point, angle: float = 0.0) -> npt.NDArray[np.bool_]:
    """Boolean [SIDE, SIDE]: inside an ellipse. Centre and axes in units of half the side."""
    y, x = grid[0] - centre[1], grid[1] - centre[0]
    along = x * np.cos(angle) + y * np.sin(angle)
    across = y * np.cos(angle) - x * np.sin(angle)
    return (along / axes[0]) ** 2 + (across / axes[1]) ** 2 < 1


def ct_slice(body: np.random.Generator, height: float, noise: np.random.Generator) -> npt.NDArray[np.uint8]:
    """One slice, uint8 [SIDE, SIDE]. body and noise: generators of the series and of the slice.

    height: 0..1 along the series; all shapes change smoothly with it.
    """
    grid = np.mgrid[-1 : 1 : SIDE * 1j, -1 : 1 : SIDE * 1j]
    width, depth = 0.78 + 0.06 * np.sin(3 * height) + 0.05 * body.random(), 0.55 + 0.08 * body.random()
    image = np.full((SIDE, SIDE), AIR, np.float32)
    image[ellipse(grid, (0, 0), (width, depth))] = FAT
    image[ellipse(grid, (0, 0), (width - 0.05, depth - 0.05))] = TISSUE
    for _ in range(9):  # organs, which swell and shrink along the series
        centre = body.uniform(-0.45, 0.45), body.uniform(-0.25, 0.25)
        size = body.uniform(0.05, 0.25, 2) * (
            0.4 + np.sin(np.pi * (height * 0.7 + body.random() * 0.3)) * 0.6
        )
        image[ellipse(grid, centre, size, body.uniform(0, np.pi))] = TISSUE + body.uniform(-35, 40)
    for side in (-1, 1):  # lungs or bowel gas
        image[ellipse(grid, (side * 0.42, -0.1), (0.2 * (1 - height) + 0.02, 0.26 * (1 - height) + 0.02))] = (
            15
        )
    image[ellipse(grid, (0, depth - 0.18), (0.11, 0.09))] = BONE  # vertebra, its canal, ribs
    image[ellipse(grid, (0, depth - 0.12), (0.035, 0.03))] = TISSUE
    for angle in np.linspace(0.2, np.pi - 0.2, 7) + 0.1 * height:
        for sign in (-1, 1):
            centre = (width - 0.09) * np.cos(angle), sign * (depth - 0.09) * np.sin(angle)
            image[ellipse(grid, centre, (0.045, 0.018), angle + np.pi / 2)] = BONE - 20 * body.random()
    smooth = Image.fromarray(image.clip(0, 255).astype(np.uint8)).filter(ImageFilter.GaussianBlur(0.8))
    grain = Image.fromarray(noise.normal(0, 7, (SIDE, SIDE)).astype(np.float32))
    coarse = grain.resize((SIDE, SIDE), Image.Resampling.BICUBIC, box=(0, 0, SIDE * 0.7, SIDE * 0.7))
    image = np.asarray(smooth, np.float32) + np.asarray(coarse)
    image[~ellipse(grid, (0, 0), (0.99, 0.99))] = 0  # the round field of view
    return image.clip(0, 255).round().astype(np.uint8)


def main() -> None:
    """Write the pairs."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path)
    parser.add_argument("--series", type=int, default=6, metavar="N", help="(6)")
    parser.add_argument("--slices", type=int, default=10, metavar="N", help="of each series (10)")
    parser.add_argument("--quality", type=int, default=20, metavar="Q", help="of the JPGs (20)")
    parser.add_argument("--seed", type=int, default=0, help="(0)")
    args = parser.parse_args()
    args.folder.mkdir(parents=True, exist_ok=True)
    for series in range(args.series):
        for number in range(args.slices):
            body = np.random.default_rng([args.seed, series])
            noise = np.random.default_rng([args.seed, series, number])
            image = Image.fromarray(ct_slice(body, number / max(args.slices - 1, 1), noise))
            path = args.folder / f"series_{series:03d}_slice_{number:03d}"
            image.save(path.with_suffix(".bmp"))
            image.save(path.with_suffix(".jpg"), quality=args.quality)
    print(f"{args.series * args.slices} pairs in {args.folder}")


if __name__ == "__main__":
    main()
