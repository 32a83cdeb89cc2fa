"""Fit the gains of a set of weights: by what the net's change is multiplied, frequency by frequency.

    python pretrained/fit_gains.py LOG QUALITY FOLDER [FOLDER ...]

Compresses the luma of every image of the folders at QUALITY, corrects it by LOG's weights, and compares
the coefficients of each 8x8 block's change with what the change should have been. Each gain is the one
with which, limited to the file's steps as correction does it, the mean squared error is least; an image
counts by its error in parts of what it is without gains. They are written into LOG's weights.
"""

import argparse
import dataclasses
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from car import cli
from car.errors import UserError

if TYPE_CHECKING:  # what loads numpy or TensorFlow is imported where it is used, once the arguments are good
    from car.arrays import Doubles, Floats, Pixels
    from car.correct import Corrector


def arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    """Parse the command line."""
    parser = cli.parser(__doc__)
    parser.set_defaults(workdir=".")  # there is no WORKDIR: LOG is what the shell says
    parser.add_argument("log", metavar="LOG")
    parser.add_argument("quality", type=cli.whole_number(1, 100), metavar="QUALITY")
    parser.add_argument("folders", type=Path, nargs="+", metavar="FOLDER")
    parser.add_argument(
        "--shrink", type=cli.positive, default=1, metavar="N", help="as of load_train_data.py (1)"
    )
    return cli.parse(parser, argv, inputs=["log", "folders"])


def errors_by_gain(
    gains: "Floats", decoded: "Pixels", corrected: "Floats", clean: "Pixels", table: "Floats"
) -> "Doubles":
    """Squared error of each coefficient with each of the gains, summed over an image: float64 [gains, 64].

    gains: float32 [gains], tried on all coefficients. decoded, clean: uint8 [H, W]; corrected: float32
    [H, W]; sides are multiples of 8. table: float32 [8, 8].
    """
    import numpy as np

    from car import jpeg

    blocks = jpeg.blocks_of(decoded)
    change, truth = (
        jpeg.blocks_of(np.clip(plane, 0, 255).astype(np.float32) - decoded) @ jpeg.COSINES.T
        for plane in (corrected, clean)
    )
    reach = jpeg.reach_of(blocks.min(axis=1), blocks.max(axis=1))
    limits = reach[:, np.newaxis] * table.reshape(-1)
    return np.stack(
        [
            np.square(np.clip(gain * change, -limits, limits) - truth).sum(axis=0, dtype=np.float64)
            for gain in gains
        ]
    )


def fit(corrector: "Corrector", quality: int, paths: Sequence[Path], shrink: int) -> "Floats":
    """The best gains of the net under None for JPEGs of that quality: float32 [8, 8]."""
    import numpy as np
    from PIL import Image

    from car import choice, images, jpeg, pairs

    gains = np.arange(0.10, 2.0, 0.02, dtype=np.float32)  # that are tried
    one = int(np.abs(gains - 1).argmin())
    table, total = jpeg.table_of_quality(quality), np.zeros((len(gains), jpeg.BLOCK**2))
    with cli.Progress(len(paths), "images") as progress:
        for path in paths:
            clean = np.asarray(Image.fromarray(images.read_luma(path)).reduce(shrink))
            height, width = (length // jpeg.BLOCK * jpeg.BLOCK for length in clean.shape)
            clean = clean[:height, :width]
            decoded = pairs.compress(clean, quality)
            corrected = corrector.through_net(decoded, choice.Choice(None))
            errors = errors_by_gain(gains, decoded, corrected, clean, table)
            total += errors / max(errors[one].sum(), 1)
            progress.step()
    return gains[total.argmin(axis=0)].reshape(jpeg.BLOCK, jpeg.BLOCK)


@cli.script
def main(argv: Sequence[str] | None = None) -> int:
    """Fit, print and save the gains. Returns the exit status."""
    args = arguments(argv)
    cli.load_tensorflow()
    import numpy as np

    import model_car
    from car import pairs, weights

    paths = [source.clean for folder in args.folders for source in pairs.find_clean(folder).sources]
    if not paths:
        raise UserError("the folders hold no images")
    trained = weights.load(args.log)
    corrector = model_car.make_corrector({None: trained}, precision="bfloat16")
    gains = fit(corrector, args.quality, paths, args.shrink)
    weights.save(args.log, dataclasses.replace(trained, gains=gains))
    for row in np.array2string(gains, precision=2, floatmode="fixed").splitlines():
        cli.say(row)
    return 0


if __name__ == "__main__":
    sys.exit(main())
