"""Measure what is left of a correction where its result is saved as a JPEG again.

    python benchmarks/saved.py FOLDER
    python benchmarks/saved.py FOLDER --quality 90 95 --again 95 98

Each image of FOLDER is saved in colour, 4:2:0, at each quality, corrected, and saved again, 4:4:4. Printed is
the gain in dB over the first JPEG, R, G and B together, as mean and of the image that gains least: of the
correction alone, at each quality of --again, and as run_car_images.py chooses it.
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
from car.errors import UserError

if TYPE_CHECKING:
    from car.arrays import Levels


def arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    """Parse the command line."""
    parser, quality = cli.parser(__doc__), cli.whole_number(1, 100)
    parser.set_defaults(workdir=".")  # there is no WORKDIR: the folder is what the shell says
    parser.add_argument("folder", help="of clean images")
    for option, default in (("--quality", [40, 75, 85, 90, 93, 95, 97]), ("--again", [95, 97, 99, 100])):
        shown = " ".join(map(str, default))
        parser.add_argument(option, nargs="+", type=quality, default=default, metavar="Q", help=f"({shown})")
    return cli.parse(parser, argv, inputs=["folder"])


def saved_again(pixels: "Levels", quality: int | None, first: "Levels") -> "Levels":
    """Pixels as a JPEG of this quality decodes; None: the first JPEG's, which is then copied."""
    import numpy as np
    from PIL import Image

    from car import metadata, output

    if quality is None:
        return first
    file = io.BytesIO()
    output.write(file, pixels, metadata.Metadata(), "jpg", quality)
    return np.asarray(Image.open(file))


@cli.script
def main(argv: Sequence[str] | None = None) -> int:
    """Print the table. Returns the exit status."""
    args = arguments(argv)
    cli.load_tensorflow()
    import numpy as np

    import model_car
    from car import figures, images, output, pairs

    truths = [images.read_pixels(source.clean) for source in pairs.find_clean(args.folder).sources]
    if not truths:
        raise UserError(f"{args.folder} holds no images")
    corrector = model_car.load_corrector()
    print(
        "quality: gain of the correction, mean (least);", *(f"saved at {q};" for q in args.again), "as chosen"
    )
    for quality in args.quality:
        gains = []
        for truth in truths:
            corrected = corrector.correct(images.jpeg_bytes(truth, quality))
            chosen = output.jpeg_quality_for(corrected.planes[0].coarseness)
            results = [corrected.pixels]
            results += [saved_again(corrected.pixels, q, corrected.before) for q in (*args.again, chosen)]
            before, *after = (figures.psnr(figures.mse(some, truth)) for some in (corrected.before, *results))
            gains.append([psnr - before for psnr in after])
        shown = zip(np.mean(gains, axis=0), np.min(gains, axis=0), strict=True)
        print(f"{quality}:", *(f"{mean:+.2f} ({least:+.2f})" for mean, least in shown))
    return 0


if __name__ == "__main__":
    sys.exit(main())
