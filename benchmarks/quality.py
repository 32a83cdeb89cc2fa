"""Measure a net on a folder of clean images by the papers' protocol: PSNR and SSIM of the luma.

    python benchmarks/quality.py FOLDER --weights pretrained --quality 10 20 30 40

Protocol: colour image -> MATLAB's rgb2ycbcr luma, rounded to uint8 -> grey JPEG by Pillow ->
corrected -> rounded and clipped to uint8 -> PSNR over the whole image, no border cropped ->
mean over images. Figures by it compare directly with the tables of AR-CNN and DnCNN.
"""

import argparse
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

import numpy as np
from car_shell import Progress, UserError, run

from car_images import compress, find_clean, read_pixels
from car_metrics import mse, psnr, ssim
from model_car import RADIUS, load_net
from run_car_images import TILE_SIDE, apply_correction, correct_luma, make_forward


def matlab_luma(pixels):
    """Luma 16..235, uint8 [H, W], of uint8 RGB [H, W, 3], as MATLAB's rgb2ycbcr; grey as it is."""
    if pixels.ndim == 2:
        return pixels
    return np.rint(16 + pixels @ np.array([65.481, 128.553, 24.966]) / 255).astype(np.uint8)


def measure(luma, quality, forward, side):
    """(PSNR, SSIM) of the JPEG and of its correction against uint8 luma [H, W]."""
    jpg = compress(luma, quality)
    corrected = apply_correction(jpg, jpg, correct_luma(jpg, forward, side, RADIUS), 1.0)
    return [
        figure for picture in (jpg, corrected) for figure in (psnr(mse(picture, luma)), ssim(picture, luma))
    ]


def main():
    """Print the table."""
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
    parser.add_argument("--patch-size", type=int, default=TILE_SIDE, metavar="P", help="(260)")
    args = parser.parse_args()
    if not args.folder.is_dir():
        parser.error(f"there is no folder {args.folder}")
    sources = find_clean(args.folder)
    if not sources:
        raise UserError(f"{args.folder} holds no images")
    forward = make_forward(load_net(args.weights), RADIUS)
    figures = {quality: [] for quality in args.quality}
    with Progress(len(sources), "images") as progress:
        for source in sources:
            luma = matlab_luma(read_pixels(source.clean))
            for quality in args.quality:
                figures[quality].append(measure(luma, quality, forward, args.patch_size))
            progress.step()
    print("quality   JPEG: PSNR   SSIM     corrected: PSNR   SSIM     gain   worst image")
    for quality, rows in figures.items():
        rows = np.array(rows)
        before, before_ssim, after, after_ssim = rows.mean(axis=0)
        worst = (rows[:, 2] - rows[:, 0]).min()
        jpeg, corrected = f"{before:10.3f}   {before_ssim:.4f}", f"{after:15.3f}   {after_ssim:.4f}"
        print(f"{quality:7d}   {jpeg}   {corrected}   {after - before:+.3f}   {worst:+.3f}")
    return 0


if __name__ == "__main__":
    run(main)
