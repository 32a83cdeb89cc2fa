"""Compare the suite with jpegqs, a filter without a net that changes coefficients within their rounding.

    sudo apt-get install jpegqs                        (Debian, Ubuntu)
    python benchmarks/jpegqs.py FOLDER
    python benchmarks/jpegqs.py FOLDER --quality 20 --repeat 3

Each image of FOLDER is saved in colour, 4:2:0, at each quality. Printed are the gain in dB over the JPEG, R,
G and B together, mean (least), and megapixels a second over all of them, the start of a program included:
jpegqs by default, at its best (-q 6), and run_car_images.py. Times are medians of --repeat runs in turns.
"""

import argparse
import functools
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

from timing import ROOT, in_turns  # first: it lets the suite be found

# isort: split
import numpy as np

from car import cli, figures, images, pairs
from car.errors import UserError

SHARPEST = "6"  # the largest of jpegqs's -q


def arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    """Parse the command line."""
    parser = cli.parser(__doc__)
    parser.set_defaults(workdir=".")  # there is no WORKDIR: the folder is what the shell says
    parser.add_argument("folder", help="of clean images")
    parser.add_argument(
        "--quality",
        nargs="+",
        type=cli.whole_number(1, 100),
        default=[10, 20, 40, 75, 90],
        metavar="Q",
        help="(10 20 40 75 90)",
    )
    parser.add_argument("--repeat", type=cli.positive, default=1, metavar="N", help="(1)")
    return cli.parse(parser, argv, inputs=["folder"])


def run_jpegqs(jpgs: Sequence[Path], results: Path, *options: str) -> None:
    """Each JPG through jpegqs, which uses all processors, into a folder."""
    for jpg in jpgs:
        command = ["jpegqs", "--info", "0", *options, str(jpg), str(results / jpg.name)]
        subprocess.run(command, check=True, capture_output=True)


def run_suite(jpgs: Sequence[Path], results: Path) -> None:
    """The folder of these JPGs through run_car_images.py."""
    folder = jpgs[0].parent
    command = [ROOT / "run_car_images.py", folder.parent, ROOT / "pretrained", folder.name, results.name]
    subprocess.run([sys.executable, *map(str, command)], check=True, capture_output=True)


def gain(jpg: Path, result: Path, clean: Path) -> float:
    """By how many dB a result is nearer to the clean picture than the JPG."""
    truth = images.read_pixels(clean)
    before, after = (figures.psnr(figures.mse(images.read_pixels(path), truth)) for path in (jpg, result))
    return after - before


@cli.script
def main(argv: Sequence[str] | None = None) -> int:
    """Print the table. Returns the exit status."""
    args = arguments(argv)
    clean = [source.clean for source in pairs.find_clean(args.folder).sources]
    if not clean:
        raise UserError(f"{args.folder} holds no images")
    for quality in args.quality:
        with tempfile.TemporaryDirectory() as scratch:
            folder, pixels = Path(scratch), 0
            plain, sharpest, suite = "jpegqs", f"jpegqs -q {SHARPEST}", "run_car_images.py"
            for name in ("jpgs", plain, sharpest, suite):
                (folder / name).mkdir()
            jpgs = [folder / f"jpgs/{number:04}.jpg" for number in range(len(clean))]
            for jpg, path in zip(jpgs, clean, strict=True):
                picture = images.read_pixels(path)
                pixels += picture.shape[0] * picture.shape[1]
                jpg.write_bytes(images.jpeg_bytes(picture, quality))
            runs: dict[str, Callable[[], object]] = {
                plain: functools.partial(run_jpegqs, jpgs, folder / plain),
                sharpest: functools.partial(run_jpegqs, jpgs, folder / sharpest, "-q", SHARPEST),
                suite: functools.partial(run_suite, jpgs, folder / suite),
            }
            for name, spent in in_turns(runs, args.repeat).items():
                results = sorted(
                    path for path in (folder / name).iterdir() if path.suffix in (".jpg", ".bmp")
                )
                gains = [gain(*one) for one in zip(jpgs, results, clean, strict=True)]
                rate = pixels / 1e6 / float(np.median(spent))
                shown = f"{np.mean(gains):+.2f} dB ({min(gains):+.2f}), {rate:.2f} megapixels a second"
                cli.say(f"quality {quality}, {name}: {shown}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
