"""Look at the records that the loaders wrote, and verify every one of them.

    python read_tfrecord.py WORKDIR tfrecords/train
    python read_tfrecord.py WORKDIR tfrecords/train --sheet pairs.png

Prints files, records, grey-level ranges, and MSE and PSNR of the JPG patches against the BMP
ones. A damaged file is named with the record. --sheet draws pairs from all over the set, JPG |
BMP | difference.
"""

import argparse
from pathlib import Path

import car_shell
import numpy as np
import tensorflow as tf
from car_shell import whole_file

from car_ds_loader import RecordFile, RecordSet, check_records, parse_batch
from car_images import difference, side_by_side
from car_metrics import psnr
from car_types import Pixels

SHEET_COLUMNS, SHEET_ROWS = 3, 6  # pairs on a sheet
SHOWN_SIDE = 128  # pixels; smaller patches are magnified by a whole number
TITLES = ("JPG", "BMP", "JPG - BMP, 4 times")


def arguments() -> argparse.Namespace:
    """Parse the command line."""
    parser = car_shell.parser(__doc__)
    parser.add_argument("workdir", metavar="WORKDIR")
    parser.add_argument("records", help="folder of record files, joined to WORKDIR")
    parser.add_argument(
        "--sheet", metavar="FILE.png", help="draw pairs of patches into this file, joined to WORKDIR"
    )
    args = car_shell.parse(parser, None, inputs=["records"])
    if args.sheet and not args.sheet.lower().endswith(".png"):
        parser.error("argument --sheet: a file name that ends in .png")
    return args


def spread_pairs(records: RecordSet, count: int) -> tuple[Pixels, Pixels]:
    """Pairs (jpg, bmp), [N, side, side] each, evenly spread over a RecordSet."""
    stride = max(1, records.total // count)
    dataset = tf.data.TFRecordDataset([str(file.path) for file in records.files])
    batch = next(iter(dataset.shard(stride, 0).take(count).batch(count)))
    jpg, bmp = (patches.numpy().astype(np.uint8)[..., 0] for patches in parse_batch(batch, records.side))
    return jpg, bmp


def draw_sheet(path: Path, records: RecordSet) -> None:
    """Draw pairs from all over a RecordSet to a PNG."""
    jpg, bmp = spread_pairs(records, SHEET_COLUMNS * SHEET_ROWS)
    panels = []
    for first in range(0, len(jpg), SHEET_ROWS):
        some = slice(first, first + SHEET_ROWS)
        for patches in (jpg[some], bmp[some], difference(jpg[some], bmp[some])):
            zoom = max(1, SHOWN_SIDE // records.side)
            shown = patches.repeat(zoom, axis=1).repeat(zoom, axis=2)
            framed = np.pad(shown, ((0, SHEET_ROWS - len(shown)), (0, 4), (0, 0)), constant_values=255)
            panels.append(np.concatenate(framed))
    with whole_file(path) as file:
        side_by_side(panels, TITLES * (len(panels) // len(TITLES))).save(file, "PNG")


def describe(file: RecordFile) -> str:
    """A RecordFile as a line for people."""
    return (
        f"{file.path.name}: {file.count} records, JPG {file.jpg_range[0]}..{file.jpg_range[1]}, "
        f"BMP {file.bmp_range[0]}..{file.bmp_range[1]}, MSE {file.mse:.3f}, PSNR {psnr(file.mse):.2f} dB"
    )


def main() -> int:
    """Verify, print, draw. Returns the exit status."""
    args = arguments()
    records = check_records(args.records, lambda file: print(describe(file), flush=True))
    print(
        f"{args.records}: {len(records.files)} files, {records.total} records of "
        f"{records.side}x{records.side}, all whole; MSE {records.mse:.3f}, PSNR {psnr(records.mse):.2f} dB"
    )
    if args.sheet:
        draw_sheet(args.workdir / args.sheet, records)
        print(f"sheet: {args.workdir / args.sheet}")
    return 0


if __name__ == "__main__":
    car_shell.run(main)
