"""Measure weights on a folder of clean images by the papers' protocol, as run_car_images.py corrects.

    python benchmarks/quality.py FOLDER
    python benchmarks/quality.py FOLDER --weights work/log --quality 5 10 50 95 --plot quality.png
    python benchmarks/quality.py FOLDER --as colour
    python benchmarks/quality.py FOLDER --twice 30 --quality 75 90

Protocol: colour image -> MATLAB's rgb2ycbcr luma, rounded to uint8 -> grey JPEG by Pillow ->
corrected -> rounded and clipped to uint8 -> PSNR over the whole image, no border cropped ->
mean over images. Figures by it compare directly with the tables of AR-CNN and DnCNN.

--as colour: Pillow's default JPEG of the colour image (4:2:0), PSNR of R, G and B together.
--as full-range: the luma that JPEG itself takes of a colour image, 0..255 in place of 16..235.
--twice Q: saved at quality Q, cut by a row and a column, so that the blocks shift, and saved again.
"""

import argparse
import math
import sys
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

import numpy as np
from car_images import Source, decode_jpeg, find_clean, jpeg_bytes, luma_of, read_pixels
from car_metrics import mse, psnr, ssim
from car_shell import Progress, UserError, run, whole_file
from car_types import Pixels

from model_car import RADIUS, load_nets
from run_car_images import (
    TILE_SIDE,
    Choose,
    apply_correction,
    chosen_planes,
    correct_planes,
    make_choice,
)

BLOCK = 8

Table = dict[int, list[list[float]]]  # by quality, a row for each image


def matlab_luma(pixels: Pixels) -> Pixels:
    """Luma 16..235, uint8 [H, W], of uint8 RGB [H, W, 3], as MATLAB's rgb2ycbcr; grey as it is."""
    if pixels.ndim == 2:
        return pixels
    return np.rint(16 + pixels @ np.array([65.481, 128.553, 24.966]) / 255).astype(np.uint8)


# What is compressed, and what the result is held against, of a picture's uint8 pixels.
PICTURES: dict[str, Callable[[Pixels], Pixels]] = {
    "luma": matlab_luma,
    "full-range": luma_of,
    "colour": lambda pixels: pixels,
}


def psnr_b(picture: Pixels, truth: Pixels) -> float:
    """PSNR with the blocking effect factor added to the MSE, in dB, of two uint8 [H, W] planes.

    Yim and Bovik: Quality Assessment of Deblocked Images, IEEE TIP 20 (2011).
    """
    on_edge, elsewhere = [], []
    for plane in (picture.astype(np.float64), picture.T.astype(np.float64)):
        squares = np.square(np.diff(plane, axis=1))
        edge = np.arange(squares.shape[1]) % BLOCK == BLOCK - 1
        on_edge.append(squares[:, edge].ravel())
        elsewhere.append(squares[:, ~edge].ravel())
    difference = np.concatenate(on_edge).mean() - np.concatenate(elsewhere).mean()
    factor = math.log2(BLOCK) / math.log2(min(picture.shape)) * max(0.0, float(difference))
    return psnr(mse(picture, truth) + factor)


def figures(picture: Pixels, truth: Pixels) -> tuple[float, float, float]:
    """(PSNR, SSIM, PSNR-B) of uint8 pictures; of colour ones the PSNR alone, the others nan."""
    if picture.ndim == 3:
        return psnr(mse(picture.reshape(-1, 3), truth.reshape(-1, 3))), np.nan, np.nan
    return psnr(mse(picture, truth)), ssim(picture, truth), psnr_b(picture, truth)


def draw(path: Path, table: Table) -> None:
    """Draw PSNR by quality, the JPEG and the corrected, and the gain with its worst image."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 4), layout="constrained")
    left, right = figure.subplots(1, 2)
    qualities = list(table)
    images = np.array(list(table.values()))  # [qualities, images, columns]
    before, after = images[..., 0].mean(axis=1), images[..., 3].mean(axis=1)
    worst = (images[..., 3] - images[..., 0]).min(axis=1)
    left.plot(qualities, before, "o-", color="tab:red", label="JPEG")
    left.plot(qualities, after, "o-", color="tab:blue", label="corrected")
    left.set_ylabel("PSNR, dB")
    right.plot(qualities, after - before, "o-", color="tab:blue", label="mean gain")
    right.plot(qualities, worst, "o--", color="tab:grey", label="image that gains least")
    right.axhline(0, color="black", linewidth=0.8)
    right.set_ylabel("gain, dB")
    for axes in (left, right):
        axes.set_xlabel("JPEG quality")
        axes.grid(alpha=0.3)
        axes.legend()
    with whole_file(path) as file:
        figure.savefig(file, format="png", dpi=110)


def arguments() -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path)
    parser.add_argument(
        "--weights", type=Path, default=ROOT / "pretrained", metavar="LOG", help="(pretrained)"
    )
    parser.add_argument(
        "--quality", nargs="+", type=int, default=[10, 20, 30, 40], metavar="Q", help="(10 20 30 40)"
    )
    parser.add_argument("--as", dest="kind", choices=PICTURES, default="luma", help="(luma)")
    parser.add_argument("--twice", type=int, metavar="Q", help="saved before at this quality, and cut")
    for option in ("--ensemble", "--ignore-header", "--luma-only"):
        parser.add_argument(option, action="store_true", help="as of run_car_images.py")
    parser.add_argument("--plot", type=Path, metavar="FILE", help="draw PSNR and gain by quality as PNG")
    args = parser.parse_args()
    if not args.folder.is_dir():
        parser.error(f"there is no folder {args.folder}")
    args.patch_size, args.overlap = TILE_SIDE, RADIUS
    return args


def measure(sources: list[Source], choose: Choose, args: argparse.Namespace) -> Table:
    """{quality: a row for each image of PSNR, SSIM, PSNR-B before, and the same after}."""
    table: Table = {quality: [] for quality in args.quality}
    picture_of = PICTURES[args.kind]
    with Progress(len(sources), "images") as progress:
        for source in sources:
            clean = truth = picture_of(read_pixels(source.clean))
            if args.twice:
                clean = decode_jpeg(jpeg_bytes(clean, args.twice)).pixels[1:, 1:]
                truth = truth[1:, 1:]
            for quality, rows in table.items():
                jpeg = decode_jpeg(jpeg_bytes(clean, quality))
                jpeg = jpeg._replace(planes=chosen_planes(jpeg.planes, args))
                corrected = apply_correction(jpeg, correct_planes(jpeg.planes, choose, args), 1.0)
                rows.append([*figures(jpeg.pixels, truth), *figures(corrected, truth)])
            progress.step()
    return table


def main() -> int:
    """Print the table."""
    args = arguments()
    sources = find_clean(args.folder)
    if not sources:
        raise UserError(f"{args.folder} holds no images")
    table = measure(sources, make_choice(load_nets(args.weights), RADIUS), args)
    print(f"{'':7}   {'JPEG':^23}   {'corrected':^23}   {'gain':^15}")
    print(
        f"quality   {'PSNR    SSIM    PSNR-B':>23}   {'PSNR    SSIM    PSNR-B':>23}   {'mean    least':>15}"
    )
    for quality, images in table.items():
        rows = np.array(images)
        means = rows.mean(axis=0)
        gains = rows[:, 3] - rows[:, 0]
        before, after = (f"{p:7.3f}  {s:.4f}  {b:6.3f}" for p, s, b in (means[:3], means[3:]))
        print(f"{quality:7d}   {before}   {after}   {gains.mean():+7.3f} {gains.min():+7.3f}")
    if args.plot:
        draw(args.plot, table)
    return 0


if __name__ == "__main__":
    run(main)
