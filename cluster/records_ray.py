"""Write records on all machines of a Ray cluster: what load_train_data.py and load_val_data.py do.

    python cluster/records_ray.py WORKDIR data tfrecords/train
    python cluster/records_ray.py WORKDIR data tfrecords/val --set val
    python cluster/records_ray.py s3://bucket/work data tfrecords/train --address auto

The same records in the same files, byte for byte, with their options. WORKDIR, data and records are folders
that all machines see, or addresses of a store: s3://, gs://, hdfs://. Without --address a cluster is made of
this machine alone. Stopped or killed, the same command goes on.
"""

import argparse
import contextlib
import pickle
import re
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

import load_train_data
from car import cli, files, split, stop
from car.errors import Stopped
from cluster import on_ray

if TYPE_CHECKING:
    from car.pairs import Source
    from cluster import storage
    from cluster.record_parts import Assembly, Folder, Image, Made

# So few that little is lost with a machine, so many that a part is worth its files. The same at each start of
# the command, which goes on from the parts that it finds.
IMAGES_IN_A_PART = 8
READY = "set"  # in a store: the folder, among the parts, of files that are about to get their place


def make_parser() -> argparse.ArgumentParser:
    """The parser of the command line: that of the loaders, and what a cluster needs."""
    parser = load_train_data.make_parser(__doc__)
    parser.add_argument(
        "--set", choices=("train", "val"), default="train", help="which set is written (train)"
    )
    parser.add_argument("--address", help="of the cluster's head, HOST:PORT, or auto on one of its machines")
    return parser


@cli.script
def main(argv: Sequence[str] | None = None) -> int:
    """Write a set. Returns the exit status: 1 if an image was bad."""
    parser = make_parser()
    args = parser.parse_args(argv)
    on_ray.check_installed()
    with tempfile.TemporaryDirectory(prefix="car_ray_") as scratch:
        image = draw_stores(args, Path(scratch).resolve())
        load_train_data.check_arguments(parser, args)
        with load_train_data.place_of(args) as folder:
            return write_set(args, image, folder)


def draw_stores(args: argparse.Namespace, root: Path) -> "storage.Image":
    """Replace addresses among the arguments by paths of an image of their stores, drawn in this folder."""
    from cluster import storage

    image = storage.Image(root)
    args.data, args.records = (image.drawn(args.workdir, name) for name in (args.data, args.records))
    args.also = [image.drawn(args.workdir, name) for name in args.also]
    args.workdir = image.folder(args.workdir)
    older = Path(args.workdir, args.records, split.SPLIT_FILE)
    if image.holds(older) and older.exists():
        image.fetch([older])
    return image


def write_set(args: argparse.Namespace, image: "storage.Image", folder: Path) -> int:
    """Write a set into a folder, and say what was done. Returns the exit status."""
    from car import record_set
    from cluster import storage
    from cluster.record_parts import Folder, plan

    parts = Folder(image.systems, image.address_of(folder.with_name(f".{folder.name}.parts")))
    if image.holds(folder):
        cli.say(f"{args.records}: a store knows no locks; let no second run write there")
        forget_published(args, parts)
    chosen = load_train_data.choose(args, args.set)
    # The parts last, as no process may be at work in them.
    with files.naming(args.records), parts.cleared(), on_ray.joined(args.address):
        stop.hold("step")
        made = write_parts(args, image, chosen.sources, parts)
        written = record_set.Written()
        for part in made:
            written.add(part.written)
        if not written.records:
            storage.remove_tree(*parts)
        load_train_data.refuse_empty(written, args, args.set)
        assemblies = plan(made, args.set)
        counts = {file.name: file.records for file in assemblies}
        with new_folder(args, image, folder, parts) as results:
            sums = put_together(args, assemblies, parts, results)
            content = load_train_data.content_of(args, chosen, written, counts, sums)
            content["folders"] = [str(image.address_of(data.resolve())) for data in args.folders]
            with parts.scratch() as scratch:
                split.write(scratch, content)
                results.bring(scratch / split.SPLIT_FILE)
    storage.remove_tree(*parts)
    return load_train_data.summarize(args, chosen, written, len(counts))


@contextlib.contextmanager
def new_folder(
    args: argparse.Namespace, image: "storage.Image", folder: Path, parts: "Folder"
) -> Iterator["Folder"]:
    """The folder in which the files of the set are put together; they take their place after the block.

    On a disk as a whole. In a store, where no folder can be renamed, one after the other and split.json last:
    who reads the folder in these moments finds sums that differ, and so does who reads it after a kill. The
    same command then ends the work.
    """
    from cluster import storage
    from cluster.record_parts import Folder

    if not image.holds(folder):
        with files.whole_folder(folder, load_train_data.NAMES) as partial:
            yield Folder(image.systems, image.address_of(partial))
        return
    ready, target = parts / READY, Folder(image.systems, image.address_of(folder))
    storage.make_folder(*ready)
    yield ready
    storage.make_folder(*target)
    names = storage.names(*ready)
    for name in sorted(names, key=lambda name: name == split.SPLIT_FILE):
        storage.move(image.systems, ready.address / name, target.address / name)
    for name in set(storage.names(*target)) - set(names):  # of an older, larger set
        if of_set(args, name):
            storage.remove(image.systems, target.address / name)


def forget_published(args: argparse.Namespace, parts: "Folder") -> None:
    """Take from the image of the records what a run that was killed had brought to its place in a store."""
    from cluster import storage

    if storage.exists(parts.systems, parts.address / READY / split.SPLIT_FILE):
        for path in args.records.iterdir() if args.records.exists() else ():
            if of_set(args, path.name):
                path.unlink()


def of_set(args: argparse.Namespace, name: str) -> bool:
    """Whether a file of that name is one of records of the set that is written."""
    return re.fullmatch(rf"{args.set}_\d+\.tfrecords", name) is not None


def write_parts(
    args: argparse.Namespace, image: "storage.Image", sources: Sequence["Source"], parts: "Folder"
) -> list["Made"]:
    """Have the images written in parts, and say what came of each. Returns the parts in their order."""
    from cluster import record_parts

    blocks = [sources[first : first + IMAGES_IN_A_PART] for first in range(0, len(sources), IMAGES_IN_A_PART)]
    todo = [
        record_parts.Part(number, [image_of(source, image) for source in block])
        for number, block in enumerate(blocks)
    ]
    rows = [{"part": pickle.dumps(part)} for part in todo]
    made: dict[int, Made] = {}
    patches = 0
    with cli.Progress(len(sources), "images") as progress:
        cutting = load_train_data.cutting_of(args)
        for row in on_ray.through(rows, record_parts.Writer, [cutting, parts], on_gpus=False):
            part: Made = pickle.loads(row["made"])
            made[part.number] = part
            patches += part.written.records
            load_train_data.tell(part.written)
            progress.step(len(blocks[part.number]), load_train_data.rate(patches, progress))
    go_on_unless_stopped(args)
    return [made[number] for number in range(len(blocks))]


def image_of(source: "Source", image: "storage.Image") -> "Image":
    """A source as any machine finds it."""
    from cluster.record_parts import Image

    jpg = None if source.jpg is None else image.address_of(source.jpg)
    return Image(source.name, jpg, image.address_of(source.clean))


def put_together(
    args: argparse.Namespace, assemblies: Sequence["Assembly"], parts: "Folder", results: "Folder"
) -> dict[str, str]:
    """Have the files of the set put together in a folder. Returns {name: sum of its records}."""
    from cluster import record_parts

    rows = [{"file": pickle.dumps(file)} for file in assemblies]
    sums: dict[str, str] = {}
    with cli.Progress(len(assemblies), "files") as progress:
        for row in on_ray.through(rows, record_parts.Assembler, [parts, results], on_gpus=False):
            name, found = pickle.loads(row["sum"])
            sums[name] = found
            progress.step()
    go_on_unless_stopped(args)
    return {file.name: sums[file.name] for file in assemblies}


def go_on_unless_stopped(args: argparse.Namespace) -> None:
    """Raise Stopped where a signal asked for the end."""
    if stop.asked():
        raise Stopped(f"stopped by {stop.name()}; {args.records} is as it was, the same command goes on")


if __name__ == "__main__":
    sys.exit(main())
