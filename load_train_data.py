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
import contextlib
import dataclasses
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from car import cli, files, frames, split, stop
from car.errors import Stopped, UserError, some_of

if TYPE_CHECKING:  # what loads TensorFlow or numpy is imported where it is used, once the arguments are good
    from car.pairs import Found, Source
    from car.record_set import Cutting, Written

# Of the files that a run which was killed can have left in the folder that it filled.
NAMES = rf"\.?{split.SPLIT_FILE}(\.partial)?|\w+_\d+\.tfrecords"


def make_parser(manual: str | None) -> argparse.ArgumentParser:
    """The parser of the command line that both loaders share; manual: the docstring of one, its --help."""
    parser = cli.parser(manual)
    parser.add_argument("workdir", metavar="WORKDIR", help="folder that the others are joined to")
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
    parser.add_argument(
        "--seed", type=cli.seed, default=0, metavar="N", help="of the split and of the order (0)"
    )
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
    return parser


def check_arguments(parser: argparse.ArgumentParser, args: argparse.Namespace) -> None:
    """Join paths to WORKDIR, and check what was parsed."""
    cli.check(parser, args, inputs=["data", "also"], outputs=["records"])
    args.stride = args.stride or args.patch_size
    args.folders = [args.data, *args.also]
    if any(not 1 <= quality <= 100 for quality in [*(args.quality or []), *(args.before or [])]):
        parser.error("argument --quality, --before: a JPEG quality is 1..100")
    if (args.shrink > 1 or args.before) and not args.quality:
        parser.error("argument --shrink, --before: only with --quality; a pair stays as it is")
    try:
        split.group_of("", args.group_by)
    except Exception as error:  # re.error, renamed in Python 3.13
        parser.error(f"argument --group-by: {error}")


def arguments(manual: str | None, argv: Sequence[str] | None) -> argparse.Namespace:
    """Parse the command line of a loader, and check it."""
    parser = make_parser(manual)
    args = parser.parse_args(argv)
    check_arguments(parser, args)
    return args


def load(which: str, manual: str | None, argv: Sequence[str] | None) -> int:
    """Write the records of one set, "train" or "val". Returns the exit status."""
    args = arguments(manual, argv)
    cli.load_tensorflow()
    from car import images

    images.lift_limit_of_pillow()
    with place_of(args) as folder:
        return write_set(args, which, folder)


@cli.script
def main(argv: Sequence[str] | None = None) -> int:
    """Write the training set."""
    return load("train", __doc__, argv)


@contextlib.contextmanager
def place_of(args: argparse.Namespace) -> Iterator[Path]:
    """The folder that the records go into, held during the block against a second run."""
    folder = args.records.resolve()  # a link to a folder stays one: what it points to is replaced
    folder.parent.mkdir(parents=True, exist_ok=True)
    with files.locked(args.records, folder.with_name(f".{folder.name}.lock")):
        yield folder


def write_set(args: argparse.Namespace, which: str, folder: Path) -> int:
    """Write the records of one set into a folder, and say what was done. Returns the status."""
    from car import record_set, records

    chosen = choose(args, which)
    cutting = cutting_of(args)
    stop.hold("image")
    with records.naming(args.records), files.whole_folder(folder, NAMES) as partial:
        writer = records.RecordWriter(partial, which, args.patch_size)
        written = record_set.Written()
        with cli.Progress(len(chosen.sources), "images") as progress:
            for source in chosen.sources:
                if stop.asked():
                    raise Stopped(
                        f"stopped by {stop.name()}; {args.records} is as it was, "
                        f"the same command starts again"
                    )
                made = record_set.write_image(source, writer, cutting)
                written.add(made)
                tell(made)
                progress.step(note=rate(writer.total, progress))
        writer.close()
        refuse_empty(written, args, which)
        sums = {name: frames.frames_of(partial / name).sum for name in writer.counts}
        split.write(partial, content_of(args, chosen, written, writer.counts, sums))
    return summarize(args, chosen, written, len(writer.counts))


def cutting_of(args: argparse.Namespace) -> "Cutting":
    """How the options ask images to be cut."""
    from car import record_set

    fields = dataclasses.fields(record_set.Cutting)
    return record_set.Cutting(**{field.name: getattr(args, field.name) for field in fields})


# ---- which images --------------------------------------------------------------------------


class Chosen(NamedTuple):
    """The images of a set."""

    which: str  # the set: "train" or "val"
    found: "Found"  # in all folders
    sets: dict[str, list[str]]  # {set: names}
    sources: list["Source"]  # of this set, in the order of the records


def choose(args: argparse.Namespace, which: str) -> Chosen:
    """The images of a set; what was passed over is said. Raises UserError for none."""
    refuse_foreign_files(args.records, which)
    found = find_sources(args)
    for line in found.passed:
        cli.say(line)
    if not found.sources:
        wanted = (
            "images"
            if args.quality
            else "pairs NAME.jpg + NAME.bmp, .png or .tif (clean images alone need --quality)"
        )
        twins = f" but those of one name, {some_of(found.twins)}" if found.twins else ""
        raise UserError(f"{', '.join(map(str, args.folders))}: no {wanted} found{twins}")
    return Chosen(which, found, *choose_set(found.sources, which, args))


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


# ---- what came of them ---------------------------------------------------------------------


def tell(made: "Written") -> None:
    """Say what came of an image, or of some, just now."""
    for name, reason in made.bad:  # which begins with the file's name
        folder, slash, _ = name.rpartition("/")
        cli.say(f"left out: {folder}{slash}{reason}")
    for name, count in {**dict.fromkeys(made.small, 0), **made.patches}.items():
        cli.detail(f"{name}: {count} patches")


def rate(patches: int, progress: cli.Progress) -> str:
    """How many patches were written, and how fast, for the line of progress."""
    return f"{patches} patches, {patches / progress.seconds:.0f} a second"


def refuse_empty(written: "Written", args: argparse.Namespace, which: str) -> None:
    """Raise UserError where no image gave a patch."""
    if not written.records:
        why = f"{len(written.bad)} bad, {len(written.small)} under {args.patch_size} pixels"
        raise UserError(f"no image of the {which} set gave a patch: {why}")


def content_of(
    args: argparse.Namespace, chosen: Chosen, written: "Written", counts: dict[str, int], sums: dict[str, str]
) -> split.Split:
    """What split.json holds. counts, sums: of the record files by name."""
    from car import record_set

    return {
        "set": chosen.which,
        "sets": chosen.sets,
        "seed": args.seed,
        "group_by": args.group_by,
        "all": args.all,
        "folders": [str(folder.resolve()) for folder in args.folders],
        **record_set.content(written, cutting_of(args), counts, sums),
    }


def summarize(args: argparse.Namespace, chosen: Chosen, written: "Written", record_files: int) -> int:
    """Say what was done. Returns the exit status."""
    found, which, bad, small = chosen.found, chosen.which, written.bad, written.small
    used = len(chosen.sources) - len(bad) - len(small)
    cli.say(f"{which} set in {args.records}: {used} of {len(found.sources)} images used")
    if not args.all:
        cli.say("split by image: " + ", ".join(f"{name} {len(chosen.sets[name])}" for name in split.SETS))
    if told := written.depth.describe():
        cli.say(told)
    if found.lonely:
        cli.say(f"skipped, no partner: {some_of(found.lonely)}")
    if found.twins:
        cli.say(f"skipped, two of one name (rename or remove one): {some_of(found.twins)}")
    if small:
        cli.say(f"skipped, smaller than {args.patch_size}x{args.patch_size}: {some_of(small)}")
    if bad:
        cli.say(f"left out as bad: {some_of([name for name, _ in bad])}")
    size, mse = f"{args.patch_size}x{args.patch_size}", written.mse(args.patch_size)
    cli.say(f"patches: {written.records} of {size} in {record_files} files")
    cli.say(f"MSE between JPG and BMP patches: {mse:.3f} (the loss that training has to beat)")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())
