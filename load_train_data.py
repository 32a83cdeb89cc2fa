"""Cut images into pairs of JPG and BMP patches and write them as TFRecords: the training set.

    python load_train_data.py WORKDIR data tfrecords/train
    python load_val_data.py   WORKDIR data tfrecords/val

WORKDIR/data holds pairs NAME.jpg + NAME.bmp. With --quality no JPG is needed: every image is
taken as clean and compressed in memory at each of the qualities:

    python load_train_data.py . photographs tfrecords/train --quality 10 20 30 40

70 % of the images (the same for both scripts) become train_1.tfrecords, ...; 20 % are for
load_val_data.py, 10 % for nobody: correct them with `run_car_images.py --split test`.
--all takes the whole folder, for data that is split already.
"""

import argparse
import hashlib
from collections.abc import Sequence
from pathlib import Path

import car_shell
import numpy as np
import tensorflow as tf
from car_shell import Progress, Stopped, UserError, naming, some_of, whole_folder
from PIL import Image

from car_ds_loader import RECORDS_PER_FILE, frames_of, record_builder
from car_images import BadImage, Source, compress, find_clean, find_pairs, read_luma, read_pair
from car_jpeg import SIDE as BLOCK
from car_lock import locked
from car_split import (
    SETS,
    SLICES_OF_A_SERIES,
    SPLIT_FILE,
    group_of,
    read_split,
    seeded_order,
    split_names,
    write_split,
)
from car_tiles import patches
from car_types import Pixels


def arguments(manual: str | None, argv: Sequence[str] | None) -> argparse.Namespace:
    """Parse the command line that both loaders share."""
    parser = car_shell.parser(manual)
    parser.add_argument("workdir", metavar="WORKDIR")
    parser.add_argument("data", help="folder of images, joined to WORKDIR")
    parser.add_argument("records", help="folder to write, joined to WORKDIR")
    parser.add_argument(
        "--also", nargs="+", default=[], metavar="FOLDER", help="further folders of images, joined to WORKDIR"
    )
    parser.add_argument(
        "--quality",
        nargs="+",
        type=int,
        metavar="Q",
        help="make the JPGs from the images, at these qualities (1..100)",
    )
    parser.add_argument(
        "--shrink",
        type=car_shell.positive,
        default=1,
        metavar="N",
        help="with --quality: the images at 1/N of their size, which cleans those that were JPGs once (1)",
    )
    parser.add_argument(
        "--before",
        nargs="+",
        type=int,
        metavar="Q",
        help="with --quality: as many JPGs more, of images saved before at one of these, shifted",
    )
    parser.add_argument(
        "--any-pair",
        action="store_true",
        help="take pairs of which the JPG cannot have been made from the BMP",
    )
    parser.add_argument("--all", action="store_true", help="the whole folder is this set; no split")
    parser.add_argument(
        "--group-by",
        default=SLICES_OF_A_SERIES,
        metavar="REGEX",
        help="names in which this matches the same text stay in one set (those alike but for _slice_NNN)",
    )
    parser.add_argument("--seed", type=car_shell.seed, default=0, help="of the split and of the order (0)")
    parser.add_argument(
        "--patch-size",
        type=car_shell.positive,
        default=32,
        metavar="P",
        help="side of a patch in pixels (32)",
    )
    parser.add_argument(
        "--stride",
        type=car_shell.positive,
        metavar="S",
        help="from patch to patch, in pixels (their side); patches of P for training with --loss-border B "
        "count each pixel once at P - 2 B",
    )
    args = car_shell.parse(parser, argv, inputs=["data"], outputs=["records"])
    args.stride = args.stride or args.patch_size
    args.folders = [args.data, *(args.workdir / folder for folder in args.also)]
    for folder in args.folders:
        if not folder.is_dir():
            parser.error(f"there is no folder {folder}")
    if any(not 1 <= quality <= 100 for quality in [*(args.quality or []), *(args.before or [])]):
        parser.error("argument --quality, --before: a JPEG quality is 1..100")
    if (args.shrink > 1 or args.before) and not args.quality:
        parser.error("argument --shrink, --before: only with --quality; a pair stays as it is")
    try:
        group_of("", args.group_by)
    except Exception as error:  # re.error, renamed in Python 3.13
        parser.error(f"argument --group-by: {error}")
    return args


def find_sources(args: argparse.Namespace) -> tuple[list[Source], list[str]]:
    """Return (sources, lonely) of all folders, as the options ask: pairs, or clean images alone."""
    if args.quality:
        return [s for folder in args.folders for s in find_clean(folder)], []
    found = [find_pairs(folder) for folder in args.folders]
    return [s for pairs, _ in found for s in pairs], [n for _, lonely in found for n in lonely]


def choose_set(
    sources: list[Source], which: str, args: argparse.Namespace
) -> tuple[dict[str, list[str]], list[Source]]:
    """Return ({set: names}, the sources of this set in a seeded order)."""
    names = sorted({source.name for source in sources})
    if args.all:
        sets = {name: names if name == which else [] for name in SETS}
    else:
        sets = split_names(names, args.seed, args.group_by)
        if args.group_by == SLICES_OF_A_SERIES:
            groups = {group_of(name, args.group_by) for name in names}
            if len(groups) < len(names):
                count = f"{len(names)} images in {len(groups)} groups"
                print(f"slices of one series stay together: {count} (--group-by)")
    rank = {name: place for place, name in enumerate(seeded_order(sets[which], args.seed))}
    chosen = [source for source in sources if source.name in rank]
    return sets, sorted(chosen, key=lambda source: rank[source.name])


def read_planes(source: Source, args: argparse.Namespace) -> list[tuple[Pixels, Pixels]]:
    """Read a source. Returns [(jpg, bmp)], uint8 [H, W] luma each: one pair, or those that args ask for."""
    if source.jpg is not None:
        return [read_pair(source.jpg, source.clean, args.any_pair)]
    clean = np.asarray(Image.fromarray(read_luma(source.clean)).reduce(args.shrink))
    pairs = [(compress(clean, quality), clean) for quality in args.quality]
    if args.before:
        once, cut = saved_before(clean, args.before, source.name)
        pairs += [(compress(once, quality), cut) for quality in args.quality]
    return pairs


def saved_before(clean: Pixels, qualities: list[int], name: str) -> tuple[Pixels, Pixels]:
    """A plane as if from the web: saved at one of the qualities, then cut at the left and the top.

    Returns (the cut plane as decoded, the clean one cut alike). Quality and cut follow from the name.
    """
    rng = np.random.default_rng(list(name.encode()))
    top, left = rng.integers(1, BLOCK, 2)
    return compress(clean, int(rng.choice(qualities)))[top:, left:], clean[top:, left:]


class RecordWriter:
    """Writes records into numbered files of 10,000, and keeps count."""

    def __init__(self, folder: Path, prefix: str, side: int) -> None:
        self.folder, self.prefix = folder, prefix
        self.counts: dict[str, int] = {}  # {file name: records}
        self._build, self._name = record_builder(side), ""
        self._file: tf.io.TFRecordWriter | None = None
        self._squares, self._pixels = 0, 0

    def write(self, jpg: Pixels, bmp: Pixels) -> None:
        """Write pairs of patches, uint8 [N, side, side] each."""
        for pair in zip(jpg, bmp, strict=True):
            if self._file is None or self.counts[self._name] == RECORDS_PER_FILE:
                self.close()
                self._name = f"{self.prefix}_{len(self.counts) + 1}.tfrecords"
                self._file = tf.io.TFRecordWriter(str(self.folder / self._name))
                self.counts[self._name] = 0
            self._file.write(self._build(*pair))
            self.counts[self._name] += 1
        self._squares += int(np.square(jpg.astype(np.int32) - bmp).sum())
        self._pixels += jpg.size

    @property
    def total(self) -> int:
        """Records written so far."""
        return sum(self.counts.values())

    @property
    def mse(self) -> float:
        """Between the JPG and BMP patches written so far, squared grey levels."""
        return self._squares / max(self._pixels, 1)

    def close(self) -> None:
        """Close the file at hand."""
        if self._file is not None:
            self._file.close()


def refuse_foreign_files(folder: Path, which: str) -> None:
    """Raise UserError where the folder to be replaced holds anything but an older set of this kind."""
    older = read_split(folder) if folder.exists() else None
    ours = {SPLIT_FILE, *older["files"]} if older and older["set"] == which else set()
    for path in folder.iterdir() if folder.exists() else ():
        if path.name not in ours:
            raise UserError(
                f"{folder} is to be replaced as a whole, but holds {path.name}; name a folder that "
                f"is empty, new, or holds an older {which} set of this loader only"
            )


def write_records(
    chosen: list[Source], writer: RecordWriter, args: argparse.Namespace
) -> tuple[list[str], list[str], dict[str, str]]:
    """Write the patches of the chosen images.

    Returns (names of the bad ones, of the small ones, {name: digest of its pixels}). Raises Stopped
    after the image in hand where a signal asked for it.
    """
    bad: list[str] = []
    small: list[str] = []
    digests: dict[str, str] = {}
    with Progress(len(chosen), "images") as progress:
        for source in chosen:
            if car_shell.stop.number:
                raise Stopped(
                    f"stopped by {car_shell.stop.name}; {args.records} is as it was, "
                    f"the same command starts anew"
                )
            try:
                planes = read_planes(source, args)
            except BadImage as reason:
                if not source.clean.parent.is_dir():
                    raise UserError(f"{source.clean.parent} went away; no set is written") from reason
                bad.append(source.name)
                progress.say(f"left out: {reason}")
                progress.step()
                continue
            clean = planes[0][1]
            if min(clean.shape) < args.patch_size:
                small.append(source.name)
            elif clean.min() < clean.max():  # blank images are alike without being copies
                digests[source.name] = hashlib.sha256(clean.tobytes()).hexdigest()[:32]
            for jpg, bmp in planes:
                writer.write(*(patches(plane, args.patch_size, args.stride) for plane in (jpg, bmp)))
            progress.step(note=f"{writer.total} patches, {writer.total / progress.seconds:.0f} a second")
    writer.close()
    return bad, small, digests


def main(which: str = "train", manual: str | None = __doc__, argv: Sequence[str] | None = None) -> int:
    """Write the records of one set, "train" or "val". Returns the exit status."""
    args = arguments(manual, argv)
    records = args.records.resolve()  # a link to a folder stays one: what it points to is replaced
    records.parent.mkdir(parents=True, exist_ok=True)
    with locked(args.records, records.with_name(f".{records.name}.lock")):
        return write_set(args, which, records)


def write_set(args: argparse.Namespace, which: str, records: Path) -> int:
    """Write the records of one set into the folder `records`, and say what was done. Returns the status."""
    refuse_foreign_files(args.records, which)
    sources, lonely = find_sources(args)
    if not sources:
        wanted = "images" if args.quality else "pairs NAME.jpg + NAME.bmp (clean images alone need --quality)"
        raise UserError(f"{', '.join(map(str, args.folders))}: no {wanted} found")
    sets, chosen = choose_set(sources, which, args)

    car_shell.stop.hold()
    names = rf"\.?{SPLIT_FILE}(\.partial)?|\w+_\d+\.tfrecords"
    with naming(args.records), whole_folder(records, names) as partial:
        writer = RecordWriter(partial, which, args.patch_size)
        bad, small, digests = write_records(chosen, writer, args)
        if writer.total == 0:
            why = f"{len(bad)} bad, {len(small)} under {args.patch_size} pixels"
            raise UserError(f"no image of the {which} set gave a patch: {why}")
        write_split(
            partial,
            {
                "set": which,
                "sets": sets,
                "seed": args.seed,
                "group_by": args.group_by,
                "all": args.all,
                "folders": [str(folder.resolve()) for folder in args.folders],
                "quality": args.quality,
                "shrink": args.shrink,
                "before": args.before,
                "patch_size": args.patch_size,
                "stride": args.stride,
                "files": writer.counts,
                "sums": {name: frames_of(partial / name).sum for name in writer.counts},
                "mse": writer.mse,
                "digests": digests,
            },
        )

    print(
        f"{which} set in {args.records}: {len(chosen) - len(bad) - len(small)} of {len(sources)} images used"
    )
    if not args.all:
        print("split by image: " + ", ".join(f"{name} {len(sets[name])}" for name in SETS))
    if lonely:
        print(f"skipped, no partner: {some_of(lonely)}")
    if small:
        print(f"skipped, smaller than {args.patch_size}x{args.patch_size}: {some_of(small)}")
    if bad:
        print(f"left out as bad: {some_of(bad)}")
    print(f"patches: {writer.total} of {args.patch_size}x{args.patch_size} in {len(writer.counts)} files")
    print(f"MSE between JPG and BMP patches: {writer.mse:.3f} (the loss that training has to beat)")
    return 1 if bad else 0


if __name__ == "__main__":
    car_shell.run(main)
