"""What a process of the cluster does for records_ray.py: it writes a part of a set, or puts parts together.

A part is what some images give, in files of its own; all parts are in one folder. Its JSON is written last:
what came of the images, and what the part was made of. So a part that is done twice, as a machine was lost or
the command was started again, is found there, or replaced by the same bytes.

All records of a set have one length. So a file of the set is ranges of bytes of the files of parts.
"""

import contextlib
import dataclasses
import hashlib
import json
import os
import pickle
import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from car import cli, files, frames, images, levels, record_set
from car.pairs import Source
from cluster import storage
from cluster.storage import Address

ATTEMPT = "attempt_"  # what the folders of work in hand begin with


class Image(NamedTuple):
    """An image of a set: a pairs.Source, wherever its files lie."""

    name: str
    jpg: Address | None
    clean: Address


class Part(NamedTuple):
    """Some images of a set, in the order of the records."""

    number: int  # from 0
    images: Sequence[Image]


@dataclass(frozen=True)
class Made:
    """A part that is there."""

    number: int
    made_of: str  # digest of the images' files and of how they are cut
    files: Mapping[str, int]  # {name in the folder of parts: records}
    record_bytes: int  # of a record with its frame; 0 where there is none
    written: record_set.Written


class Range(NamedTuple):
    """Records of a file of a part that follow each other."""

    name: str
    first: int  # byte
    size: int  # bytes


class Assembly(NamedTuple):
    """A file of the set, and what it is put together of."""

    name: str
    records: int
    ranges: Sequence[Range]


class Folder(NamedTuple):
    """A folder on a disk that all machines see, or in a store."""

    systems: storage.Systems
    address: Address

    @contextlib.contextmanager
    def scratch(self) -> Iterator[Path]:
        """A new folder of this machine for work in hand; on the same disk, where this is a disk."""
        on_disk = self.address.path if self.address.scheme == storage.LOCAL else None
        made = Path(tempfile.mkdtemp(prefix=ATTEMPT, dir=on_disk))
        try:
            yield made
        finally:
            shutil.rmtree(made, ignore_errors=True)

    @contextlib.contextmanager
    def cleared(self) -> Iterator[None]:
        """Make this folder; before the block and after it, remove from a disk what killed work has left."""
        storage.make_folder(self.systems, self.address)
        try:
            self._clear()
            yield
        finally:
            self._clear()
            if self.address.scheme == storage.LOCAL:
                storage.remove_folder(self.systems, self.address)  # if nothing came of it

    def _clear(self) -> None:
        if self.address.scheme == storage.LOCAL:
            for left in Path(self.address.path).glob(f"{ATTEMPT}*"):
                shutil.rmtree(left, ignore_errors=True)

    def __truediv__(self, name: str) -> "Folder":
        return self._replace(address=self.address / name)

    def bring(self, file: Path) -> None:
        """Bring a file of such a scratch folder here, as a whole."""
        target = self.address / file.name
        if target.scheme == storage.LOCAL:
            os.replace(file, target.path)
        else:
            with storage.naming(target):
                storage.put(self.systems, file, target)


# ---- a part --------------------------------------------------------------------------------


class Writer:
    """Writes parts."""

    def __init__(self, cutting: record_set.Cutting, parts: Folder) -> None:
        cli.quiet_libraries()
        images.lift_limit_of_pillow()
        cli.load_tensorflow()
        self._cutting, self._parts = cutting, parts

    def __call__(self, row: Mapping[str, bytes]) -> dict[str, bytes]:
        """Write the Part pickled under "part". Returns it as it was Made, pickled under "made"."""
        return {"made": pickle.dumps(self._write(pickle.loads(row["part"])))}

    def _write(self, part: Part) -> Made:
        """Raises UserError, OSError."""
        from car import records

        prefix = f"part_{part.number:06}"
        about = f"{prefix}.json"
        made_of = _digest_of(part.images, self._cutting, self._parts.systems)
        if there := _read(self._parts, about, made_of):
            return there
        written = record_set.Written()
        with self._parts.scratch() as scratch, records.naming(scratch.parent):
            writer = records.RecordWriter(scratch, prefix, self._cutting.patch_size)
            for source in _fetched(part.images, self._parts.systems, scratch / "images"):
                written.add(record_set.write_image(source, writer, self._cutting))
            writer.close()
            sizes = {(scratch / name).stat().st_size // count for name, count in writer.counts.items()}
            made = Made(part.number, made_of, writer.counts, max(sizes, default=0), written)
            (scratch / about).write_text(json.dumps(dataclasses.asdict(made), default=list))  # of sets
            for name in (*writer.counts, about):
                self._parts.bring(scratch / name)
        return made


def _digest_of(some: Sequence[Image], cutting: record_set.Cutting, systems: storage.Systems) -> str:
    """Of all that decides what a part holds; a file that was changed is known by its size or its time."""
    places = [address for image in some for address in image[1:] if address]
    states = [(str(place), *storage.state(systems, place)) for place in places]
    told = [cli.VERSION, dataclasses.asdict(cutting), [image.name for image in some], states]
    return hashlib.sha256(json.dumps(told).encode()).hexdigest()


def _fetched(some: Sequence[Image], systems: storage.Systems, scratch: Path) -> Iterator[Source]:
    """The images on this machine, those of a store fetched, one after the other.

    Of one that went away nothing is there: its reader says so.
    """

    def path_of(address: Address | None, number: int) -> Path | None:
        if address is None or address.scheme == storage.LOCAL:
            return Path(address.path) if address else None
        path = scratch / str(number) / address.path.rpartition("/")[2]
        path.parent.mkdir(parents=True, exist_ok=True)
        with storage.naming(address), contextlib.suppress(FileNotFoundError):
            storage.fetch(systems, address, path)
        return path

    def fetch(numbered: tuple[int, Image]) -> Source:
        number, (name, jpg, clean) = numbered
        there = path_of(clean, number)
        assert there is not None
        return Source(name, path_of(jpg, number), there)

    with ThreadPoolExecutor(storage.TRANSFERS_AT_A_TIME) as transfers:
        for number, source in enumerate(transfers.map(fetch, enumerate(some))):
            yield source
            shutil.rmtree(scratch / str(number), ignore_errors=True)


def _read(parts: Folder, about: str, made_of: str) -> Made | None:
    """The part of that JSON; None where it was made of something else, or is not all there."""
    if storage.state(parts.systems, parts.address / about)[0] < 0:
        return None
    try:
        told: dict[str, Any] = json.loads(storage.read(parts.systems, parts.address / about))
        if told["made_of"] != made_of:
            return None
        written = told.pop("written")
        bad, seen = [(name, reason) for name, reason in written.pop("bad")], set(written.pop("coarsenesses"))
        depth = levels.Depth(**written.pop("depth"))
        made = Made(**told, written=record_set.Written(**written, bad=bad, coarsenesses=seen, depth=depth))
        sizes = [storage.state(parts.systems, parts.address / name)[0] for name in made.files]
    except (ValueError, TypeError, LookupError, AttributeError):
        return None
    return made if sizes == [count * made.record_bytes for count in made.files.values()] else None


# ---- files of the set ----------------------------------------------------------------------


def plan(made: Sequence[Made], which: str) -> list[Assembly]:
    """What each file of a set is put together of: the records of all parts in their order."""
    found: list[tuple[int, list[Range]]] = [(0, [])]
    for part in made:
        for name, count in part.files.items():
            first = 0
            while first < count:
                if found[-1][0] == frames.RECORDS_PER_FILE:
                    found.append((0, []))
                held, ranges = found[-1]
                taken = min(frames.RECORDS_PER_FILE - held, count - first)
                ranges.append(Range(name, first * part.record_bytes, taken * part.record_bytes))
                found[-1] = held + taken, ranges
                first += taken
    return [
        Assembly(f"{which}_{number}.tfrecords", held, ranges)
        for number, (held, ranges) in enumerate(found, start=1)
    ]


class Assembler:
    """Puts files of a set together."""

    def __init__(self, parts: Folder, results: Folder) -> None:
        self._parts, self._results = parts, results

    def __call__(self, row: Mapping[str, bytes]) -> dict[str, bytes]:
        """Put the Assembly pickled under "file" together. Returns (name, sum of its records), pickled."""
        file: Assembly = pickle.loads(row["file"])
        with self._parts.scratch() as scratch, files.naming(scratch.parent):
            with open(scratch / file.name, "wb") as target:
                for name, first, size in file.ranges:
                    storage.copy_range(self._parts.systems, self._parts.address / name, first, size, target)
            found = frames.frames_of(scratch / file.name)
            self._results.bring(scratch / file.name)
        return {"sum": pickle.dumps((file.name, found.sum))}
