"""Cut images into pairs of JPG and BMP patches and write them as TFRecords: the training set.

    python load_train_data.py WORKDIR data tfrecords/train
    python load_val_data.py   WORKDIR data tfrecords/val

WORKDIR/data holds pairs NAME.jpg + NAME.bmp (or .png, .tif). With --quality no JPG is needed: every image is
taken as clean and compressed in memory at each of the qualities:

    python load_train_data.py . photographs tfrecords/train --quality 10 20 30 40

70 % of the images (the same for both scripts) become train_1.tfrecords, ...; 20 % are for
load_val_data.py, 10 % for nobody: correct them with `run_car_images.py --split test`.
--all takes the whole folder, for data that is split already.
"""

import argparse
import hashlib
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from car import cli, files, split, stop
from car.errors import BadImage, Stopped, UserError, some_of

if TYPE_CHECKING:  # what loads TensorFlow or numpy is imported where it is used, once the arguments are good
    from car.levels import Depth
    from car.pairs import Found, Pair, Source
    from car.records import RecordWriter


def arguments(manual: str | None, argv: Sequence[str] | None) -> argparse.Namespace:
    """Parse the command line that both loaders share."""
    parser = cli.parser(manual)
    parser.add_argument("workdir", metavar="WORKDIR")
    parser.add_argument("data", help="folder of images, joined to WORKDIR")
    parser.add_argument("records", help="folder to write, joined to WORKDIR")
    parser.add_argument(
        "--also", nargs="+", default=[], metavar="FOLDER", help="further folders of images, joined to WORKDIR"
    )
    parser.add_argument("--recursive", action="store_true", help="also the folders in those of images")
    parser.add_argument(
        "--quality",
        nargs="+",
        type=int,
        metavar="Q",
        help="make the JPGs from the images, at these qualities (1..100)",
    )
    parser.add_argument(
        "--shrink",
        type=cli.positive,
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
    parser.add_argument(
        "--bits",
        type=cli.whole_number(9, 16),
        metavar="N",
        help="bits that clean images of 16 bits use, 9..16 (12 where no level is over 4095, else 16)",
    )
    parser.add_argument("--all", action="store_true", help="the whole folder is this set; no split")
    parser.add_argument(
        "--group-by",
        default=split.SLICES_OF_A_SERIES,
        metavar="REGEX",
        help="names in which this matches the same text stay in one set (those alike but for _slice_NNN)",
    )
    parser.add_argument("--seed", type=cli.seed, default=0, help="of the split and of the order (0)")
    parser.add_argument(
        "--patch-size",
        type=cli.positive,
        default=32,
        metavar="P",
        help="side of a patch in pixels (32)",
    )
    parser.add_argument(
        "--stride",
        type=cli.positive,
        metavar="S",
        help="from patch to patch, in pixels (their side); patches of P for training with --loss-border B "
        "count each pixel once at P - 2 B",
    )
    args = cli.parse(parser, argv, inputs=["data"], outputs=["records"])
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
        split.group_of("", args.group_by)
    except Exception as error:  # re.error, renamed in Python 3.13
        parser.error(f"argument --group-by: {error}")
    return args


def load(which: str, manual: str | None, argv: Sequence[str] | None) -> int:
    """Write the records of one set, "train" or "val". Returns the exit status."""
    args = arguments(manual, argv)
    cli.load_tensorflow()
    from car import images

    images.lift_limit_of_pillow()
    folder = args.records.resolve()  # a link to a folder stays one: what it points to is replaced
    folder.parent.mkdir(parents=True, exist_ok=True)
    with files.locked(args.records, folder.with_name(f".{folder.name}.lock")):
        return write_set(args, which, folder)


@cli.script
def main(argv: Sequence[str] | None = None) -> int:
    """Write the training set."""
    return load("train", __doc__, argv)


def write_set(args: argparse.Namespace, which: str, folder: Path) -> int:
    """Write the records of one set into a folder, and say what was done. Returns the status."""
    from car import levels, records

    refuse_foreign_files(args.records, which)
    found = find_sources(args)
    sources = found.sources
    for line in found.passed:
        cli.say(line)
    if not sources:
        wanted = (
            "images"
            if args.quality
            else "pairs NAME.jpg + NAME.bmp, .png or .tif (clean images alone need --quality)"
        )
        twins = f" but those of one name, {some_of(found.twins)}" if found.twins else ""
        raise UserError(f"{', '.join(map(str, args.folders))}: no {wanted} found{twins}")
    sets, chosen = choose_set(sources, which, args)

    stop.hold("image")
    names = rf"\.?{split.SPLIT_FILE}(\.partial)?|\w+_\d+\.tfrecords"
    with records.naming(args.records), files.whole_folder(folder, names) as partial:
        writer = records.RecordWriter(partial, which, args.patch_size)
        depth = levels.Depth(args.bits)
        bad, small, digests, coarsenesses, patches = write_records(chosen, writer, args, depth)
        if writer.total == 0:
            why = f"{len(bad)} bad, {len(small)} under {args.patch_size} pixels"
            raise UserError(f"no image of the {which} set gave a patch: {why}")
        content = {
            "set": which,
            "sets": sets,
            "seed": args.seed,
            "group_by": args.group_by,
            "all": args.all,
            "folders": [str(folder.resolve()) for folder in args.folders],
            "quality": args.quality,
            "shrink": args.shrink,
            "before": args.before,
            "bits": args.bits,
            "patch_size": args.patch_size,
            "stride": args.stride,
            "files": writer.counts,
            "sums": {name: records.frames_of(partial / name).sum for name in writer.counts},
            "mse": writer.mse,
            "digests": digests,
            "patches": patches,
        }
        known = [coarseness for coarseness in coarsenesses if coarseness is not None]
        if len(known) == len(coarsenesses):
            content["coarseness"] = [min(known), max(known)]
        split.write(partial, content)

    used = len(chosen) - len(bad) - len(small)
    cli.say(f"{which} set in {args.records}: {used} of {len(sources)} images used")
    if not args.all:
        cli.say("split by image: " + ", ".join(f"{name} {len(sets[name])}" for name in split.SETS))
    if told := depth.describe():
        cli.say(told)
    if found.lonely:
        cli.say(f"skipped, no partner: {some_of(found.lonely)}")
    if found.twins:
        cli.say(f"skipped, two of one name (rename or remove one): {some_of(found.twins)}")
    if small:
        cli.say(f"skipped, smaller than {args.patch_size}x{args.patch_size}: {some_of(small)}")
    if bad:
        cli.say(f"left out as bad: {some_of(bad)}")
    cli.say(f"patches: {writer.total} of {args.patch_size}x{args.patch_size} in {len(writer.counts)} files")
    cli.say(f"MSE between JPG and BMP patches: {writer.mse:.3f} (the loss that training has to beat)")
    return 1 if bad else 0


def refuse_foreign_files(folder: Path, which: str) -> None:
    """Raise UserError where the folder to be replaced holds anything but an older set of this kind."""
    older = split.read(folder) if folder.exists() else None
    ours = {split.SPLIT_FILE, *older["files"]} if older and older["set"] == which else set()
    for path in folder.iterdir() if folder.exists() else ():
        if path.name not in ours:
            raise UserError(
                f"{folder} is to be replaced as a whole, but holds {path.name}; name a folder that "
                f"is empty, new, or holds an older {which} set of this loader only"
            )


def find_sources(args: argparse.Namespace) -> "Found":
    """What all folders hold, as the options ask: pairs, or clean images alone."""
    from car import pairs

    find = pairs.find_clean if args.quality else pairs.find_pairs
    found = [find(folder, args.recursive) for folder in args.folders]
    return pairs.Found(
        [source for one in found for source in one.sources],
        [name for one in found for name in one.lonely],
        [names for one in found for names in one.twins],
        [line for one in found for line in one.passed],
    )


def choose_set(
    sources: list["Source"], which: str, args: argparse.Namespace
) -> tuple[dict[str, list[str]], list["Source"]]:
    """Return ({set: names}, the sources of this set in a seeded order)."""
    names = sorted({source.name for source in sources})
    if args.all:
        sets = {name: names if name == which else [] for name in split.SETS}
    else:
        sets = split.split_names(names, args.seed, args.group_by)
        if args.group_by == split.SLICES_OF_A_SERIES:
            groups = {split.group_of(name, args.group_by) for name in names}
            if len(groups) < len(names):
                count = f"{len(names)} images in {len(groups)} groups"
                cli.say(f"slices of one series stay together: {count} (--group-by)")
    rank = {name: place for place, name in enumerate(split.seeded_order(sets[which], args.seed))}
    chosen = [source for source in sources if source.name in rank]
    return sets, sorted(chosen, key=lambda source: rank[source.name])


class Written(NamedTuple):
    """What came of the images of a set."""

    bad: list[str]  # names
    small: list[str]
    digests: dict[str, str]  # {name: digest of its pixels}
    coarsenesses: set[float | None]  # of the JPGs that gave a patch: None among them where one codes no luma
    patches: dict[str, int]  # {name: how many}, in the order of the records


def write_records(
    chosen: list["Source"], writer: "RecordWriter", args: argparse.Namespace, depth: "Depth"
) -> Written:
    """Write the patches of the chosen images.

    Raises Stopped after the image in hand where a signal asked for it.
    """
    from car import tiles

    bad, small, digests, coarsenesses, patches = made = Written([], [], {}, set(), {})
    with cli.Progress(len(chosen), "images") as progress:
        for source in chosen:
            if stop.asked():
                raise Stopped(
                    f"stopped by {stop.name()}; {args.records} is as it was, the same command starts again"
                )
            try:
                planes = read_pairs(source, args, depth)
            except BadImage as reason:
                if not source.clean.parent.is_dir():
                    raise UserError(f"{source.clean.parent} went away; no set is written") from reason
                bad.append(source.name)
                folder, slash, _ = source.name.rpartition("/")
                cli.say(f"left out: {folder}{slash}{reason}")
                progress.step()
                continue
            clean = planes[0].bmp
            if min(clean.shape) < args.patch_size:
                small.append(source.name)
            elif clean.min() < clean.max():  # blank images are alike without being copies
                digests[source.name] = hashlib.sha256(clean.tobytes()).hexdigest()[:32]
            before = writer.total
            for jpg, bmp, coarseness in planes:
                already = writer.total
                writer.write(*(tiles.patches(plane, args.patch_size, args.stride) for plane in (jpg, bmp)))
                if writer.total > already:
                    coarsenesses.add(coarseness)
            if writer.total > before:  # images of one name, of several folders, follow each other
                patches[source.name] = patches.get(source.name, 0) + writer.total - before
            cli.detail(f"{source.name}: {writer.total - before} patches")
            progress.step(note=f"{writer.total} patches, {writer.total / progress.seconds:.0f} a second")
    writer.close()
    return made


def read_pairs(source: "Source", args: argparse.Namespace, depth: "Depth") -> list["Pair"]:
    """The pair that a source is, or those that args ask to be made of it. Raises BadImage."""
    from car import pairs

    if source.jpg is not None:
        return [pairs.read_pair(source.jpg, source.clean, args.any_pair, depth)]
    return pairs.made_pairs(source, args.quality, args.shrink, args.before, depth)


if __name__ == "__main__":
    sys.exit(main())
