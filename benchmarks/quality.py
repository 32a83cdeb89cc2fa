"""Measure weights on a folder of clean images by the papers' protocol, as run_car_images.py corrects.

    python benchmarks/quality.py FOLDER
    python benchmarks/quality.py FOLDER --weights work/log --quality 5 10 50 95 --plot quality.png
    python benchmarks/quality.py FOLDER --as colour          # or: --as twice

Protocol: colour image -> MATLAB's rgb2ycbcr luma, rounded to uint8 -> grey JPEG by Pillow ->
corrected -> rounded and clipped to uint8 -> PSNR over the whole image, no border cropped ->
mean over images. Figures by it compare directly with the tables of AR-CNN and DnCNN.

--as colour: Pillow's default JPEG of the colour image (4:2:0), PSNR of R, G and B together.
--as full-range: the luma that JPEG itself takes of a colour image, 0..255 in place of 16..235.
--as twice: the luma is first saved at quality 75, then cut by a row and a column, then saved again.
"""

import argparse
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

import numpy as np
from car_shell import Progress, UserError, run, whole_file

from car_images import compress, decode_jpeg, find_clean, jpeg_bytes, luma_of, read_pixels
from car_metrics import mse, psnr, ssim
from model_car import RADIUS, load_nets
from run_car_images import TILE_SIDE, apply_correction, chosen_planes, correct_planes, make_forward_for

FIRST_QUALITY = 75  # of --as twice
BLOCK = 8


def matlab_luma(pixels):
    """Luma 16..235, uint8 [H, W], of uint8 RGB [H, W, 3], as MATLAB's rgb2ycbcr; grey as it is."""
    if pixels.ndim == 2:
        return pixels
    return np.rint(16 + pixels @ np.array([65.481, 128.553, 24.966]) / 255).astype(np.uint8)


def saved_once(pixels):
    """A luma that has been a JPEG before, on another grid: uint8 [H - 1, W - 1]."""
    return compress(matlab_luma(pixels), FIRST_QUALITY)[1:, 1:]


# What is compressed, and what the result is held against: uint8 RGB or grey -> uint8 each.
PICTURES = {
    "luma": (matlab_luma, matlab_luma),
    "full-range": (luma_of, luma_of),
    "colour": (lambda pixels: pixels, lambda pixels: pixels),
    "twice": (saved_once, lambda pixels: matlab_luma(pixels)[1:, 1:]),
}


def psnr_b(picture, truth):
    """PSNR with the blocking effect factor added to the MSE, in dB, of two uint8 [H, W] planes.

    Yim and Bovik: Quality Assessment of Deblocked Images, IEEE TIP 20 (2011).
    """
    factor = 0.0
    on_edge, elsewhere = [], []
    for plane in (picture.astype(np.float64), picture.T.astype(np.float64)):
        squares = np.square(np.diff(plane, axis=1))
        edge = np.arange(squares.shape[1]) % BLOCK == BLOCK - 1
        on_edge.append(squares[:, edge].ravel())
        elsewhere.append(squares[:, ~edge].ravel())
    difference = np.concatenate(on_edge).mean() - np.concatenate(elsewhere).mean()
    if difference > 0:
        factor = np.log2(BLOCK) / np.log2(min(picture.shape)) * difference
    return psnr(mse(picture, truth) + factor)


def figures(picture, truth):
    """(PSNR, SSIM, PSNR-B) of uint8 pictures; of colour ones the PSNR alone, the others nan."""
    if picture.ndim == 3:
        return psnr(mse(picture.reshape(-1, 3), truth.reshape(-1, 3))), np.nan, np.nan
    return psnr(mse(picture, truth)), ssim(picture, truth), psnr_b(picture, truth)


def draw(path, table):
    """Draw PSNR by quality, the JPEG and the corrected, and the gain with its worst image."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 4), layout="constrained")
    left, right = figure.subplots(1, 2)
    qualities = list(table)
    before, after, worst = (
        np.array([column(np.array(rows)) for rows in table.values()])
        for column in (
            lambda r: r[:, 0].mean(),
            lambda r: r[:, 3].mean(),
            lambda r: (r[:, 3] - r[:, 0]).min(),
        )
    )
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


def arguments():
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
    for option in ("--ensemble", "--ignore-header", "--luma-only"):
        parser.add_argument(option, action="store_true", help="as of run_car_images.py")
    parser.add_argument("--plot", type=Path, metavar="FILE", help="draw PSNR and gain by quality as PNG")
    args = parser.parse_args()
    if not args.folder.is_dir():
        parser.error(f"there is no folder {args.folder}")
    args.patch_size, args.overlap = TILE_SIDE, RADIUS
    return args


def measure(sources, forward_for, args):
    """{quality: a row for each image of PSNR, SSIM, PSNR-B before, and the same after}."""
    table = {quality: [] for quality in args.quality}
    to_save, to_truth = PICTURES[args.kind]
    with Progress(len(sources), "images") as progress:
        for source in sources:
            pixels = read_pixels(source.clean)
            clean, truth = to_save(pixels), to_truth(pixels)
            for quality, rows in table.items():
                jpeg = decode_jpeg(jpeg_bytes(clean, quality))
                jpeg = jpeg._replace(planes=chosen_planes(jpeg.planes, args))
                corrected = apply_correction(jpeg, correct_planes(jpeg.planes, forward_for, args), 1.0)
                rows.append([*figures(jpeg.pixels, truth), *figures(corrected, truth)])
            progress.step()
    return table


def main():
    """Print the table."""
    args = arguments()
    sources = find_clean(args.folder)
    if not sources:
        raise UserError(f"{args.folder} holds no images")
    table = measure(sources, make_forward_for(load_nets(args.weights), RADIUS), args)
    print(f"{'':7}   {'JPEG':^23}   {'corrected':^23}   {'gain':^15}")
    print(
        f"quality   {'PSNR    SSIM    PSNR-B':>23}   {'PSNR    SSIM    PSNR-B':>23}   {'mean    least':>15}"
    )
    for quality, rows in table.items():
        rows = np.array(rows)
        means = rows.mean(axis=0)
        gains = rows[:, 3] - rows[:, 0]
        before, after = (f"{p:7.3f}  {s:.4f}  {b:6.3f}" for p, s, b in (means[:3], means[3:]))
        print(f"{quality:7d}   {before}   {after}   {gains.mean():+7.3f} {gains.min():+7.3f}")
    if args.plot:
        draw(args.plot, table)
    return 0


if __name__ == "__main__":
    run(main)
