"""Look at the records that the loaders wrote, and verify every one of them.

    python read_tfrecord.py WORKDIR tfrecords/train
    python read_tfrecord.py WORKDIR tfrecords/train --sheet pairs.png

Prints files, records, grey-level ranges, and MSE and PSNR of the JPG patches against the BMP
ones. A damaged file is named with the record. --sheet draws pairs from all over the set, JPG |
BMP | difference.
"""

import argparse
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

from car import cli

if TYPE_CHECKING:  # it loads TensorFlow, which --help needs not
    from car.records import RecordFile


def arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    """Parse the command line."""
    parser = cli.parser(__doc__)
    parser.add_argument("workdir", metavar="WORKDIR")
    parser.add_argument("records", help="folder of record files, joined to WORKDIR")
    parser.add_argument(
        "--sheet", metavar="FILE.png", help="draw pairs of patches into this file, joined to WORKDIR"
    )
    args = cli.parse(parser, argv, inputs=["records"])
    if args.sheet and not args.sheet.lower().endswith(".png"):
        parser.error("argument --sheet: a file name that ends in .png")
    return args


def describe(file: "RecordFile") -> str:
    """A RecordFile as a line for people."""
    from car import figures

    jpg, bmp = ("{}..{}".format(*levels) for levels in (file.jpg_range, file.bmp_range))
    quality = f"MSE {file.mse:.3f}, PSNR {figures.psnr(file.mse):.2f} dB"
    return f"{file.path.name}: {file.count} records, JPG {jpg}, BMP {bmp}, {quality}"


@cli.script
def main(argv: Sequence[str] | None = None) -> int:
    """Verify, print, draw. Returns the exit status."""
    args = arguments(argv)
    cli.load_tensorflow()
    from car import figures, pictures, records

    found = records.check_records(args.records, lambda file: cli.say(describe(file)))
    cli.say(
        f"{args.records}: {len(found.files)} files, {found.total} records of {found.side}x{found.side}, "
        f"all whole; MSE {found.mse:.3f}, PSNR {figures.psnr(found.mse):.2f} dB"
    )
    if args.sheet:
        sheet = args.workdir / args.sheet
        pairs = records.spread_pairs(found, pictures.SHEET_COLUMNS * pictures.SHEET_ROWS)
        pictures.save_png(sheet, pictures.sheet_of_pairs(*pairs))
        cli.say(f"sheet: {sheet}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
