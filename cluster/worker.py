"""What a process of the cluster does: it corrects a block of pictures, as run_car_images.py would.

It works in a scratch folder, from which results go to their place when the block is done: first what the
journal will say of them (car/journal.py), then each file as a whole. A block that is done twice, as a machine
was lost, gives the same files.
"""

import dataclasses
import pickle
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from car import cli, folder, images, jobs, journal, levels
from car.errors import BadImage
from car.find import Picture
from car.saying import Saved
from cluster import storage
from cluster.storage import Address

if TYPE_CHECKING:
    from car.correct import Corrector
    from car.weights import Bank

Entries = Mapping[str, list[journal.Entry]]  # by name of the file in the results


class Item(NamedTuple):
    """A picture of a block, as the process that leads knows it."""

    picture: Picture
    files: Mapping[
        str, Address
    ]  # to be fetched: the picture and its clean partner, by name; none where local
    known: Entries  # what is there of its results already, and is ours


class Block(NamedTuple):
    """Pictures that one process corrects one after the other."""

    number: int
    items: Sequence[Item]
    told_apart: Mapping[str, str]  # of jobs.Job, those of this block
    before: int | None = None  # the block with which its pictures were lost


@dataclasses.dataclass(frozen=True)
class Task:
    """What all blocks have in common."""

    job: jobs.Job  # without the lists of pictures, which blocks hold
    settings: journal.Settings
    run: int  # of the journal
    bank: "Bank"
    options: Mapping[str, Any]  # of model_car.make_corrector
    results: Address
    systems: storage.Systems
    cores: int  # of a process


class Made(NamedTuple):
    """What came of a picture."""

    name: str  # of the picture
    saved: Saved | None
    reason: str = ""  # why it was left out


class Done(NamedTuple):
    """What came of a block."""

    block: int
    made: Sequence[Made]
    lines: str  # for the journal
    depth: levels.Depth


class Worker:
    """Corrects blocks of pictures, with nets that are loaded once."""

    def __init__(self, task: Task) -> None:
        cli.quiet_libraries()
        images.lift_limit_of_pillow()
        cli.load_tensorflow()
        import tensorflow as tf

        import model_car

        tf.config.threading.set_intra_op_parallelism_threads(task.cores)
        tf.config.threading.set_inter_op_parallelism_threads(task.cores)
        self._task = task
        self._corrector: Corrector = model_car.make_corrector(task.bank, **task.options)

    def __call__(self, row: Mapping[str, bytes]) -> dict[str, bytes]:
        """Correct a Block, pickled under "block". Returns what came of it, a Done pickled under "done"."""
        block: Block = pickle.loads(row["block"])
        with tempfile.TemporaryDirectory(prefix="car_ray_") as scratch:
            return {"done": pickle.dumps(self._correct(block, Path(scratch)))}

    def _correct(self, block: Block, scratch: Path) -> Done:
        task, sources, results = self._task, scratch / "data", scratch / "results"
        results.mkdir()
        job = dataclasses.replace(
            task.job, results=results, told_apart=block.told_apart, depth=dataclasses.replace(task.job.depth)
        )
        made: list[Made] = []
        pictures = list(_fetched(block, task.systems, sources, made))
        book = journal.Journal(results, 1, 1, task.settings)
        book.run = task.run
        if pictures:
            for picture, future in folder.in_order(job, book, self._corrector, pictures, lambda share: None):
                try:
                    made.append(Made(picture.name, future.result()))
                except BadImage as reason:
                    made.append(Made(picture.name, None, str(reason)))
        self._hand_over(job, block, results, made)
        lines = (results / JOURNAL).read_text("ascii") if (results / JOURNAL).exists() else ""
        return Done(block.number, made, lines, job.depth)

    def _hand_over(self, job: jobs.Job, block: Block, results: Path, made: list[Made]) -> None:
        """Bring the results of a block to their place; a picture whose place is taken becomes a bad one."""
        task = self._task
        earlier = self._earlier_attempts(block, results)
        files = {picture.name: job.files_of(job.name(picture)) for picture in map(_picture_of, block.items)}
        known = {item.picture.name: item.known for item in block.items}
        ready: list[Path] = []
        for number, (name, saved, _) in enumerate(made):
            there = [file for file in files[name] if saved and file.exists()]
            try:
                for file in there:
                    inside = file.relative_to(results).as_posix()
                    self._check_place(inside, [*known[name].get(inside, []), *earlier.get(inside, [])])
            except BadImage as reason:
                made[number] = Made(name, None, f"{name}: {reason}")
            else:
                ready += there
        if not ready:
            return
        for folder_of_some in {file.parent for file in ready} - {results}:
            storage.make_folder(task.systems, task.results / folder_of_some.relative_to(results).as_posix())
        storage.make_folder(task.systems, task.results / journal.HANDED_IN)
        storage.put(task.systems, results / JOURNAL, handed_in_at(task, block.number))

        def put(file: Path) -> None:
            storage.put(task.systems, file, task.results / file.relative_to(results).as_posix())

        with ThreadPoolExecutor(storage.TRANSFERS_AT_A_TIME) as transfers:
            list(transfers.map(put, ready))

    def _earlier_attempts(self, block: Block, results: Path) -> Entries:
        """What earlier attempts at a block wrote, before their machines were lost: then it is ours.

        Its lines stay before those of this attempt: of some files it may have been the last one.
        """
        found: dict[str, list[journal.Entry]] = {}
        for number in (block.number, block.before):
            noted = None if number is None else handed_in_at(self._task, number)
            if noted is None or not storage.exists(self._task.systems, noted):
                continue
            before, own = results.parent / "earlier.jsonl", results / JOURNAL
            storage.fetch(self._task.systems, noted, before)
            if own.exists() and number == block.number:
                own.write_text(before.read_text("ascii") + own.read_text("ascii"), "ascii")
            for name, entries in journal.entries_in(before).items():
                found.setdefault(name, []).extend(entries)
        return found

    def _check_place(self, inside: str, known: Sequence[journal.Entry]) -> None:
        """Raise BadImage where a file that is none of those known has this name in the results."""
        task = self._task
        address = task.results / inside
        if not storage.exists(task.systems, address):
            return
        if address.scheme == storage.LOCAL:
            journal.check_replaceable(Path(address.path), known, Path(task.results.path))
            return
        with tempfile.TemporaryDirectory(prefix="car_ray_") as scratch:
            copy = Path(scratch) / Path(inside).name
            storage.fetch(task.systems, address, copy)
            journal.check_replaceable(copy, known, Path(str(task.results)))


def not_done(block: Block) -> Done:
    """What comes of a block with which all processes ended that had it; of several pictures nothing."""
    why = "its process ended each time with it in hand: too little memory?"
    names = [item.picture.name for item in block.items] if len(block.items) == 1 else []
    return Done(block.number, [Made(name, None, f"{name}: {why}") for name in names], "", levels.Depth())


def one_by_one(blocks: Sequence[Block], first: int) -> list[Block]:
    """Blocks of one picture each in the place of these, numbered from first on."""
    items = [(item, block) for block in blocks for item in block.items]
    return [
        Block(number, [item], block.told_apart, block.number)
        for number, (item, block) in enumerate(items, start=first)
    ]


JOURNAL = ".car_results.jsonl"


def handed_in_at(task: Task, number: int) -> Address:
    """Where a block notes what it is about to write."""
    return task.results / journal.HANDED_IN / f"{task.run}_{number}.jsonl"


def _picture_of(item: Item) -> Picture:
    return item.picture


def _fetched(
    block: Block, systems: storage.Systems, folder_of_sources: Path, made: list[Made]
) -> Iterator[Picture]:
    """The pictures of a block on this machine; those that went away are noted as bad."""

    def fetch(item: Item) -> Picture:
        """Fetch what a picture needs."""
        if not item.files:
            return item.picture
        picture = Path(item.picture.name)
        for name, address in item.files.items():
            storage.fetch(systems, address, folder_of_sources / picture.parent / name)
        return item.picture._replace(path=folder_of_sources / picture)

    with ThreadPoolExecutor(storage.TRANSFERS_AT_A_TIME) as transfers:
        for item, future in [(item, transfers.submit(fetch, item)) for item in block.items]:
            try:
                yield future.result()
            except OSError as error:
                name = item.picture.name
                why = "it went away" if isinstance(error, FileNotFoundError) else str(error)
                made.append(Made(name, None, f"{name}: cannot be read: {why}"))
