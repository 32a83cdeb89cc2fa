"""Look at the records that the loaders wrote, and verify every one of them.

    python read_tfrecord.py WORKDIR tfrecords/train
    python read_tfrecord.py WORKDIR tfrecords/train --sheet pairs.png --report looked_at

Prints files, records, grey-level ranges, and MSE and PSNR of the JPG patches against the BMP
ones. A damaged file is named with the record. --sheet draws pairs from all over the set, JPG |
BMP | difference: such as have something on them, with the names of their images where
split.json tells them. --report writes a page of the same, with the pairs that compression
changed most.
"""

import argparse
import functools
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from car import cli, split

if TYPE_CHECKING:  # it loads TensorFlow, which --help needs not
    from car.records import RecordFile, RecordSet


def arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    """Parse the command line."""
    parser = cli.parser(__doc__)
    parser.add_argument("workdir", metavar="WORKDIR", help="folder that the others are joined to")
    parser.add_argument("records", help="folder of record files, joined to WORKDIR")
    parser.add_argument(
        "--sheet", metavar="FILE.png", help="draw pairs of patches into this file, joined to WORKDIR"
    )
    parser.add_argument(
        "--report", metavar="FOLDER", help="write a page into this folder, joined to WORKDIR: index.html"
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
    from car import figures, patch_page, records

    found = records.check_records(args.records, lambda file: cli.say(describe(file)))
    cli.say(
        f"{args.records}: {len(found.files)} files, {found.total} records of {found.side}x{found.side}, "
        f"all whole; MSE {found.mse:.3f}, PSNR {figures.psnr(found.mse):.2f} dB"
    )
    written = split.read(args.records)
    if args.sheet:
        draw_sheet(args.workdir / args.sheet, found, written)
    if args.report:
        folder = args.workdir / args.report
        folder.mkdir(parents=True, exist_ok=True)
        read = functools.partial(records.all_pairs, found)
        cli.say(f"page: {patch_page.write_records(folder, args.records, found, written, read)}")
    return 0


def draw_sheet(path: Path, found: "RecordSet", written: split.Split | None) -> None:
    """Draw pairs from all over a set, such as have something on them. written: what split.json says."""
    from car import patch_page, pictures, records

    contrast = patch_page.measure(records.all_pairs(found)).contrast
    places = patch_page.typical(contrast, pictures.SHEET_COLUMNS * pictures.SHEET_ROWS)
    pairs = patch_page.pick(records.all_pairs(found), places)
    pictures.save_png(path, pictures.sheet_of_pairs(*pairs, split.images_of(written, places)))
    cli.say(f"sheet: {path}")


if __name__ == "__main__":
    sys.exit(main())
