"""Correct pictures on all machines of a Ray cluster: what run_car_images.py does, with its arguments.

    python cluster/correct_ray.py WORKDIR pretrained photographs corrected --recursive
    python cluster/correct_ray.py s3://bucket/work pretrained photographs corrected --address auto

WORKDIR, log, data and results are folders that all machines see, or addresses of a store: s3://, gs://,
hdfs://. Without --address a cluster is made of this machine alone. Stopped or killed, the same command with
--skip-existing goes on.
"""

import argparse
import dataclasses
import math
import pickle
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from pathlib import Path
from typing import TYPE_CHECKING

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

import run_car_images
from car import cli, files, find, images, jobs, stop
from car.errors import BadImage, some_of

if TYPE_CHECKING:
    from car.correct import Corrector
    from car.find import Picture
    from car.jobs import Job
    from car.journal import Journal
    from car.saying import Saved
    from car.weights import Bank
    from cluster import storage, worker

PICTURES_IN_A_BLOCK, BYTES_IN_A_BLOCK = 64, 2**24  # at the most: of them results wait until all are done
BLOCKS_FOR_EACH = 4  # of a process at the least, so that all end at about the same time
# What the run that leads keeps of a folder of results: of a store it is fetched and brought back.
KEPT = (".car_results*.jsonl", "figures*.csv", "index*.html", "report/data*.js")


def make_parser() -> argparse.ArgumentParser:
    """The parser of the command line: that of run_car_images.py, and what a cluster needs."""
    parser = run_car_images.make_parser(__doc__)
    parser.add_argument("--address", help="of the cluster's head, HOST:PORT, or auto on one of its machines")
    parser.add_argument(
        "--cores",
        type=cli.positive,
        default=1,
        metavar="N",
        help="of each process; more need less memory in all, and are slower in all (1)",
    )
    return parser


@cli.script
def main(argv: Sequence[str] | None = None) -> int:
    """Correct the pictures. Returns the exit status: 1 if one was bad."""
    parser = make_parser()
    args = parser.parse_args(argv)
    for option in ("dry_run", "shard"):
        if getattr(args, option) != parser.get_default(option):
            name = option.replace("_", "-")
            parser.error(
                f"argument --{name}: only of run_car_images.py; here the cluster shares the work out"
            )
    from cluster import on_ray

    on_ray.check_installed()
    with tempfile.TemporaryDirectory(prefix="car_ray_") as scratch:
        image = draw_stores(args, Path(scratch))
        run_car_images.check_arguments(parser, args)
        with on_ray.joined(args.address):
            return correct(args, image)


def draw_stores(args: argparse.Namespace, root: Path) -> "storage.Image":
    """Replace addresses among the arguments by paths of an image of their stores, drawn in this folder."""
    from cluster import storage

    image = storage.Image(root)
    for name in ("log", "data", "results", "records"):
        if given := getattr(args, name):
            setattr(args, name, image.drawn(args.workdir, given))
    args.workdir = image.folder(args.workdir)
    fetch_what_is_read(args, image)
    return image


def fetch_what_is_read(args: argparse.Namespace, image: "storage.Image") -> None:
    """Fetch what this process reads of an image's files: weights, splits, a list, journals."""
    from car import journal

    def below(folder: str | None, *patterns: str) -> list[Path]:
        place = Path(args.workdir, folder) if folder else None
        if place is None or not image.holds(place):
            return []
        return [path for pattern in patterns for path in place.glob(pattern) if path.is_file()]

    image.fetch(below(args.log, "model_checkpoint*", "*/model_checkpoint*", "chroma.npz", "*/chroma.npz"))
    image.fetch([*below(args.log, "split.json"), *below(args.records, "split.json")])
    image.fetch(below(args.results, *KEPT, f"{journal.HANDED_IN}/*.jsonl"))
    results, data = Path(args.workdir, args.results), Path(args.workdir, args.data)
    if image.holds(results):
        image.fetch(path for name in journal.uncertain_in(results) if (path := results / name).exists())
    if image.holds(data) and data.is_file() and data.suffix.lower() not in find.JPEG_SUFFIXES:
        image.fetch([data])
        draw_list(data, image)


def draw_list(file: Path, image: "storage.Image") -> None:
    """Draw the files that a list of a store names; its addresses become paths of the image."""
    from cluster import storage

    lines = file.read_text("utf-8", "surrogateescape").splitlines()
    paths = [image.path_of(line) if storage.is_address(line) else file.parent / line for line in lines]
    for path in paths:
        if image.holds(path):
            image.draw(path)
    drawn = [str(path) if storage.is_address(line) else line for line, path in zip(lines, paths, strict=True)]
    file.write_text("\n".join(drawn) + "\n", "utf-8", "surrogateescape")


# ---- the work ------------------------------------------------------------------------------


def correct(args: argparse.Namespace, image: "storage.Image") -> int:
    """Correct what the arguments ask for. Returns the exit status."""
    from car import folder, journal, preview, saying
    from cluster import storage

    job, bank, pictures, unreadable = run_car_images.make_plan(args)
    if image.unnamed:
        cli.say(f"passed over, as no folder can hold their names: {some_of(image.unnamed)}")
    if args.precision == "bfloat16":
        cli.load_tensorflow()
        run_car_images.say_layers(args, bank)
    options = run_car_images.options_of(args)
    args.results.mkdir(parents=True, exist_ok=True)
    if image.holds(args.results):
        cli.say(f"{image.address_of(args.results)}: a store knows no locks; let no second run write there")
    with files.part_locked(args.results, 1, 1) as lock:
        stop.hold("block of pictures")
        image.remove_partials(args.results)
        job = jobs.with_names(job, lock)
        way = OnCluster(image, bank, {**options, "conv": args.conv}, args.cores)
        outcome = folder.correct_all(
            job, preview.corrector_of(bank, **options), pictures, unreadable, way.through
        )
        way.bring_back(args.results)
        storage.remove_folder(image.systems, image.address_of(args.results / journal.HANDED_IN))
        saying.say_outcome(job, outcome)
    return 1 if outcome.bad else 0


class OnCluster:
    """The way of pictures through the cluster (folder.Way), and what it brought back to a store so far."""

    def __init__(
        self, image: "storage.Image", bank: "Bank", options: Mapping[str, object], cores: int
    ) -> None:
        self._image, self._bank, self._options, self._cores = image, bank, options, cores
        self._brought: dict[Path, int] = {}  # time of each file, as it was brought back last
        self._taken_over: list[storage.Address] = []  # journals that were handed in, and are there still
        self._due = 0.0  # when they are brought back and removed next

    def through(
        self,
        job: "Job",
        journal: "Journal",
        corrector: "Corrector",
        pictures: Sequence["Picture"],
        watch: Callable[[float], None],
    ) -> Iterator[tuple["Picture", "Future[Saved]"]]:
        """Yield (picture, future of Saved), block by block; result() raises BadImage for a bad picture."""
        from cluster import on_ray, worker

        by_name = {picture.name: picture for picture in pictures}
        items: list[worker.Item] = []
        for picture in pictures:
            try:
                items.append(self._item_of(job, journal, picture))
            except BadImage as reason:
                yield picture, _settled(None, reason)
        task = self._task_of(job, journal, corrector)
        number, _ = on_ray.processes(self._cores)
        blocks = blocks_of(job, items, number * BLOCKS_FOR_EACH)
        while blocks:
            lost: list[worker.Block] = []
            for done in self._done(blocks, task, lost):
                if done.lines:
                    journal.take_over(done.lines)
                    self._taken_over.append(worker.handed_in_at(task, done.block))
                job.depth.images += done.depth.images
                job.depth.found += done.depth.found
                for name, saved, why in done.made:
                    yield by_name[name], _settled(saved, BadImage(why))
                if time.monotonic() > self._due:
                    self.bring_back(job.results)
            # What was handed in of blocks that were lost is no longer needed once these are done.
            befores = {block.before for block in blocks if block.before is not None}
            self._taken_over += [worker.handed_in_at(task, number) for number in befores]
            # One picture of them took its process with it: each is now on its own.
            first = 1 + max(block.number for block in blocks)
            blocks = [] if stop.asked() else worker.one_by_one(lost, first)

    def _done(
        self, blocks: "Sequence[worker.Block]", task: "worker.Task", lost: "list[worker.Block]"
    ) -> "Iterator[worker.Done]":
        """What comes of blocks, as they end; those of several pictures that are lost together are in lost."""
        from cluster import on_ray, worker

        def given_up(number: int) -> on_ray.Row:
            block = blocks[number]
            if len(block.items) > 1:
                lost.append(block)
            return {"done": pickle.dumps(worker.not_done(block))}

        work = [{"block": pickle.dumps(block)} for block in blocks]
        for row in on_ray.through(work, worker.Worker, [task], self._cores, given_up=given_up):
            done: worker.Done = pickle.loads(row["done"])
            yield done

    def bring_back(self, results: Path) -> None:
        """Bring to a store what changed of the files that this process keeps.

        Only then what was handed in is removed: its lines are in the journal there.
        """
        from car import rows
        from cluster import storage

        began = time.monotonic()
        patterns = KEPT if self._image.holds(results) else ()
        for path in (path for pattern in patterns for path in results.glob(pattern)):
            if self._brought.get(path) != (changed := path.stat().st_mtime_ns):
                storage.put(self._image.systems, path, self._image.address_of(path))
                self._brought[path] = changed
        while self._taken_over:
            storage.remove(self._image.systems, self._taken_over.pop())
        self._due = rows.next_due(began, time.monotonic())

    def _item_of(self, job: "Job", journal: "Journal", picture: "Picture") -> "worker.Item":
        """What a worker must know of a picture. Raises BadImage where its result cannot be written."""
        from cluster import worker

        with images.reading(picture.name):
            if not all(map(files.name_fits, paths := job.files_of(job.name(picture)))):
                raise BadImage("the name of its result would be too long")
            jobs.check_place(job, picture)
            known = {}
            for path in filter(Path.exists, paths):
                # Of a store the file here is empty: the worker compares the one there.
                if not (entries := journal.known(path)) or not self._image.holds(path):
                    journal.check_replaceable(path)
                known[path.relative_to(job.results).as_posix()] = entries
        needed = [picture.path, find.clean_beside(picture.path, job.inputs)]
        from_store = [path for path in needed if path and self._image.holds(path)]
        return worker.Item(picture, {p.name: self._image.address_of(p) for p in from_store}, known)

    def _task_of(self, job: "Job", journal: "Journal", corrector: "Corrector") -> "worker.Task":
        from car import folder
        from cluster import worker

        bare = dataclasses.replace(job, found=(), told_apart={}, skip_existing=False)
        settings, results = folder.settings_for(job, corrector), self._image.address_of(job.results)
        return worker.Task(
            bare, settings, journal.run, self._bank, self._options, results, self._image.systems, self._cores
        )


def _settled(saved: "Saved | None", reason: BadImage) -> "Future[Saved]":
    future: Future[Saved] = Future()
    if saved:
        future.set_result(saved)
    else:
        future.set_exception(reason)
    return future


def blocks_of(job: "Job", items: Sequence["worker.Item"], at_least: int) -> "list[worker.Block]":
    """Items in blocks of about as many bytes each, in order: at_least so many, where there are as many."""
    from cluster import worker

    sizes = [max(1, item.picture.path.stat().st_size) for item in items]
    most_bytes = min(BYTES_IN_A_BLOCK, sum(sizes) / at_least)
    most = min(PICTURES_IN_A_BLOCK, math.ceil(len(items) / at_least))
    cuts, held, bytes_held = [0], 0, 0
    for place, size in enumerate(sizes):
        if held and (held == most or bytes_held + size > most_bytes):
            cuts.append(place)
            held = bytes_held = 0
        held, bytes_held = held + 1, bytes_held + size
    parts = [items[first:last] for first, last in zip(cuts, [*cuts[1:], len(items)], strict=True)]
    names = [[item.picture.name for item in part] for part in parts]
    told = [{name: job.told_apart[name] for name in some if name in job.told_apart} for some in names]
    return [worker.Block(number, part, told[number]) for number, part in enumerate(parts) if part]


if __name__ == "__main__":
    sys.exit(main())
