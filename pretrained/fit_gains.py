"""Fit the gains of a set of weights: by what the net's change is multiplied, frequency by frequency.

    python pretrained/fit_gains.py LOG QUALITY FOLDER [FOLDER ...]

Compresses the luma of every image of the folders at QUALITY, corrects it by LOG's weights, and compares
the coefficients of each 8x8 block's change with what the change should have been. Each gain is the one
with which, limited to the file's steps as correction does it, the mean squared error is least; an image
counts by its error in parts of what it is without gains. They are written into LOG's weights.
"""

import argparse
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

import car_shell
import numpy as np
from car_images import compress, find_clean, read_luma
from car_jpeg import COSINES, SIDE, blocks_of, reach_of, steps_of_quality
from car_shell import Progress, UserError
from car_types import Doubles, Floats, Pixels
from PIL import Image

from model_car import RADIUS, WEIGHTS_FILE, CarNet, load_net, read_arrays, save_weights
from run_car_images import TILE_SIDE, correct_plane, make_forward

GAINS = np.arange(0.10, 2.0, 0.02, dtype=np.float32)  # that are tried


def arguments() -> argparse.Namespace:
    """Parse the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("log", type=Path, metavar="LOG")
    parser.add_argument("quality", type=int, choices=range(1, 101), metavar="QUALITY")
    parser.add_argument("folders", type=Path, nargs="+", metavar="FOLDER")
    parser.add_argument(
        "--shrink", type=car_shell.positive, default=1, metavar="N", help="as of load_train_data.py (1)"
    )
    return parser.parse_args()


def errors_by_gain(decoded: Pixels, corrected: Floats, clean: Pixels, steps: Floats) -> Doubles:
    """Squared error of each coefficient with each of GAINS, summed over an image: float64 [gains, 64].

    decoded, clean: uint8 [H, W]; corrected: float32 [H, W]; sides are multiples of 8.
    """
    blocks = blocks_of(decoded)
    change, truth = (
        blocks_of(np.clip(plane, 0, 255).astype(np.float32) - decoded) @ COSINES.T
        for plane in (corrected, clean)
    )
    limits = reach_of(blocks.min(axis=1), blocks.max(axis=1))[:, np.newaxis] * steps.reshape(-1)
    return np.stack(
        [
            np.square(np.clip(gain * change, -limits, limits) - truth).sum(axis=0, dtype=np.float64)
            for gain in GAINS
        ]
    )


def fit(net: CarNet, quality: int, images: list[Path], shrink: int) -> Floats:
    """The best gains of a net for JPEGs of that quality: float32 [8, 8]."""
    forward, steps = make_forward(net, RADIUS), steps_of_quality(quality)
    one = int(np.abs(GAINS - 1).argmin())
    total = np.zeros((len(GAINS), SIDE * SIDE))
    with Progress(len(images), "images") as progress:
        for image in images:
            clean = np.asarray(Image.fromarray(read_luma(image)).reduce(shrink))
            height, width = (length // SIDE * SIDE for length in clean.shape)
            clean = clean[:height, :width]
            decoded = compress(clean, quality)
            errors = errors_by_gain(decoded, correct_plane(decoded, forward, TILE_SIDE, RADIUS), clean, steps)
            total += errors / max(errors[one].sum(), 1)
            progress.step()
    return GAINS[total.argmin(axis=0)].reshape(SIDE, SIDE)


def main() -> int:
    """Fit, print and save the gains."""
    args = arguments()
    images = [source.clean for folder in args.folders for source in find_clean(folder)]
    if not images:
        raise UserError("the folders hold no images")
    net = load_net(args.log)
    net.gains = fit(net, args.quality, images, args.shrink)
    step = int(read_arrays(args.log / WEIGHTS_FILE)["step"])
    save_weights(net, args.log, step, net.val_loss, net.val_jpg_mse)
    print(np.array2string(net.gains, precision=2, floatmode="fixed"))
    return 0


if __name__ == "__main__":
    car_shell.run(main)
