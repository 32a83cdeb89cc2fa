"""Record files: written, followed, read through and verified.

A record is a tf.train.Example with two bytes features: the JPG patch and the BMP patch,
each side x side int16, little-endian, row-major, grey levels 0..255. Files are numbered
from 1 (train_1.tfrecords), 10,000 records each, uncompressed. Nothing else is needed to
read them; the split.json beside them adds counts and sums to check against.
"""

import contextlib
import functools
import math
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from car import files, frames, split
from car.arrays import Integers, Pixels
from car.errors import UserError, reason_of

JPG, BMP = "train/image1", "train/image2"  # the val files use the same two names
FEATURES = {name: tf.io.FixedLenFeature([], tf.string) for name in (JPG, BMP)}
RECORDS_AT_A_TIME = 500  # while checking
PIXELS_AT_A_TIME = 2**18  # of patches that are written, or looked at


@contextlib.contextmanager
def naming(path: Path) -> Iterator[None]:
    """As files.naming, for the faults of TensorFlow's file system too.

    Not for the loss of another process of a cluster, which can show anywhere.
    """
    try:
        with files.naming(path):
            yield
    except (tf.errors.UnavailableError, tf.errors.AbortedError, tf.errors.CancelledError):
        raise
    except tf.errors.OpError as error:
        raise UserError(f"{path}: {reason_of(error)}") from error


@dataclass(frozen=True)  # no NamedTuple: `count` is one of a tuple's own methods
class RecordFile:
    """A record file that has been read through and found whole."""

    path: Path
    count: int
    frame: int  # bytes of each record in its frame; 0 where they differ
    sum: str  # of its records in their order, see frames.Frames
    mse: float  # between JPG and BMP patches, squared grey levels
    jpg_range: tuple[int, int]  # (lowest, highest) grey level
    bmp_range: tuple[int, int]


class RecordSet(NamedTuple):
    """A folder of record files that has been read through and found whole."""

    files: tuple[RecordFile, ...]  # by number
    side: int  # patch side in pixels

    @property
    def total(self) -> int:
        """Number of records in all files."""
        return sum(file.count for file in self.files)

    @property
    def mse(self) -> float:
        """Between JPG and BMP patches, squared grey levels: the loss to beat."""
        return sum(file.mse * file.count for file in self.files) / self.total

    @property
    def frame(self) -> int:
        """Bytes of each record in its frame, by which a record is found by its place; 0 where they differ."""
        sizes = {file.frame for file in self.files}
        return sizes.pop() if len(sizes) == 1 else 0


# ---- the record ----------------------------------------------------------------------------


def record_builder(side: int) -> Callable[[Pixels, Pixels], bytes]:
    """Return a function (jpg, bmp) -> one record (bytes), for patches [side, side] in grey levels 0..255.

    Records of one side differ in their patches alone. So one is serialized by TensorFlow, and its
    parts around the patches serve for all: several times as fast as a tf.train.Example for each.
    """
    size = 2 * side * side
    # The byte before a patch ends its length, and as the end of a varint is under 0x80; so a mark of
    # bytes above begins just where its patch does.
    marks = b"\xfe" * size, b"\xff" * size
    feature = {
        name: tf.train.Feature(bytes_list=tf.train.BytesList(value=[mark]))
        for name, mark in zip((JPG, BMP), marks, strict=True)
    }
    whole = tf.train.Example(features=tf.train.Features(feature=feature)).SerializeToString(
        deterministic=True
    )
    head, rest = whole.split(marks[0])
    middle, tail = rest.split(marks[1])

    def build(jpg: Pixels, bmp: Pixels) -> bytes:
        return b"".join((head, jpg.astype("<i2").tobytes(), middle, bmp.astype("<i2").tobytes(), tail))

    return build


def side_of(record: tf.Tensor) -> int:
    """The patch side in pixels of one serialized record, from its byte count (2 * side * side)."""
    parsed = tf.io.parse_single_example(record, FEATURES)
    sides = []
    for name in (JPG, BMP):
        size = len(parsed[name].numpy())
        sides.append(math.isqrt(size // 2))
        if sides[-1] == 0 or 2 * sides[-1] ** 2 != size:
            raise ValueError(f"{size} bytes are no square int16 patch")
    if sides[0] != sides[1]:
        jpg, bmp = (f"{side}x{side}" for side in sides)
        raise ValueError(f"its patches differ in size: JPG {jpg}, BMP {bmp}")
    return sides[0]


def parse_batch(records: tf.Tensor, side: int) -> tuple[tf.Tensor, tf.Tensor]:
    """Parse serialized records [N] into (jpg, bmp), int16 [N, side, side, 1] each, at one go."""
    parsed = tf.io.parse_example(records, FEATURES)
    shape = [tf.size(records), side, side, 1]  # patches of another size cannot pass for more of them
    jpg, bmp = (
        tf.reshape(tf.io.decode_raw(parsed[name], tf.int16, little_endian=True), shape) for name in (JPG, BMP)
    )
    return jpg, bmp


# ---- writing -------------------------------------------------------------------------------


class RecordWriter:
    """Writes records into numbered files of 10,000, and keeps count."""

    def __init__(self, folder: Path, prefix: str, side: int) -> None:
        self.folder, self.prefix = folder, prefix
        self.counts: dict[str, int] = {}  # {file name: records}
        self._side, self._name = side, ""
        self._file: tf.io.TFRecordWriter | None = None
        self.squares = 0  # of the differences between JPG and BMP patches, squared grey levels

    def write(self, jpg: Pixels, bmp: Pixels) -> None:
        """Write pairs of patches, uint8 [rows, columns, side, side] each (tiles.patches)."""
        at_a_time = max(1, PIXELS_AT_A_TIME // self._side**2)
        for row in zip(jpg, bmp, strict=True):
            for first in range(0, jpg.shape[1], at_a_time):
                self._write(*(some[first : first + at_a_time] for some in row))

    def _write(self, jpg: Pixels, bmp: Pixels) -> None:
        for pair in zip(jpg, bmp, strict=True):
            if self._file is None or self.counts[self._name] == frames.RECORDS_PER_FILE:
                self.close()
                self._name = f"{self.prefix}_{len(self.counts) + 1}.tfrecords"
                self._file = tf.io.TFRecordWriter(str(self.folder / self._name))
                self.counts[self._name] = 0
            self._file.write(self._build(*pair))
            self.counts[self._name] += 1
        self.squares += int(np.square(jpg.astype(np.int32) - bmp).sum())

    @functools.cached_property
    def _build(self) -> Callable[[Pixels, Pixels], bytes]:
        """Made for the first patch that there is: of a side by mistake it would take gigabytes."""
        return record_builder(self._side)

    @property
    def total(self) -> int:
        """Records written so far."""
        return sum(self.counts.values())

    def close(self) -> None:
        """Close the file at hand."""
        if self._file is not None:
            self._file.close()


# ---- files and their check -----------------------------------------------------------------


def record_files(folder: Path) -> list[Path]:
    """Return the *.tfrecords of a folder by number. Raises UserError for none, or a gap in the numbers."""
    numbered: dict[tuple[str, int], Path] = {}
    for path in folder.glob("*.tfrecords"):
        match = re.fullmatch(r"(.*)_(\d+)\.tfrecords", path.name)
        if match is None or not path.is_file():
            raise UserError(f"{path}: record files are files named like train_1.tfrecords")
        key = match[1], int(match[2])
        if key in numbered:
            raise UserError(f"{path} and {numbered[key].name} have one number; remove one of them")
        numbered[key] = path
    if not numbered:
        raise UserError(f"{folder} holds no *.tfrecords; write them with load_train_data.py")
    prefixes = {prefix for prefix, _ in numbered}
    if len(prefixes) > 1:
        raise UserError(f"{folder} mixes record files named {' and '.join(sorted(prefixes))}")
    prefix = prefixes.pop()
    for number in range(1, len(numbered) + 1):
        if (prefix, number) not in numbered:
            raise UserError(f"{folder / f'{prefix}_{number}.tfrecords'} is missing")
    return [numbered[key] for key in sorted(numbered)]


def records_from(path: tf.Tensor, start: tf.Tensor, buffer_size: int) -> tf.data.Dataset:
    """The serialized records of a file from the one whose frame begins at byte start."""

    def read(path: tf.Tensor, start: tf.Tensor) -> tf.data.Dataset:
        dataset = tf.raw_ops.TFRecordDatasetV2(
            filenames=[path], compression_type="", buffer_size=buffer_size, byte_offsets=[start]
        )
        return tf.data.experimental.from_variant(dataset, tf.TensorSpec([], tf.string))

    # In a function: outside of one TensorFlow 2.21 loses byte_offsets where it optimizes the pipeline.
    return tf.data.Dataset.from_tensors((path, tf.cast(start, tf.int64))).flat_map(read)


def _first_bad_record(path: Path, side: int, whole: int) -> tuple[int, str]:
    """Find the first record of a file that cannot be read, from 1. Returns (number, reason).

    whole: the number of records to look into; if they are good, the next one's frame is not.
    """
    number = 1
    try:
        for record in tf.data.TFRecordDataset(str(path)).take(whole):
            found = side_of(record)
            if found != side:
                return number, f"holds a patch of {found}x{found}, the others {side}x{side}"
            jpg, bmp = parse_batch(record[tf.newaxis], side)
            for patch in (jpg, bmp):
                if int(tf.reduce_min(patch)) < 0 or int(tf.reduce_max(patch)) > 255:
                    return number, "has grey levels outside 0..255"
            number += 1
    except (tf.errors.OpError, ValueError) as error:
        return number, reason_of(error)
    return number, "is cut, or its length is damaged"


@dataclass(frozen=True)
class Part:
    """Records that lie one after the other in a file, read through and found whole."""

    count: int
    frame: int  # bytes of each record in its frame; 0 where they differ
    checksums: str  # in hex, 4 bytes of each record; of a whole file just their sum, see frames.Frames
    squares: float  # over all pixels, of the difference between JPG and BMP
    lows: list[int]  # grey levels of JPG and BMP patches
    highs: list[int]


def check_part(path: Path, side: int, start: int = 0, stop: int | None = None) -> Part | None:
    """Read a file through from byte start to stop (its end): frames, checksums, schema, patch size, range.

    Returns None where anything is wrong.
    """
    checksums = bytearray()
    whole = start == 0 and stop is None
    followed = frames.frames_of(path, start, stop, *() if whole else (checksums.extend,))
    if not (followed.whole and followed.count):
        return None
    squares = 0.0
    lows, highs = np.full(2, np.iinfo(int).max), np.full(2, np.iinfo(int).min)  # of JPG and BMP patches
    records = records_from(str(path), start, 2**20).take(followed.count).batch(RECORDS_AT_A_TIME)
    try:
        for batch in records:
            jpg, bmp = (patches.numpy() for patches in parse_batch(batch, side))
            # Whole numbers: their sum is the same however the records are shared out.
            squares += float(np.square(jpg - bmp, dtype=np.float32).sum(dtype=np.float64))
            lows = np.minimum(lows, [jpg.min(), bmp.min()])
            highs = np.maximum(highs, [jpg.max(), bmp.max()])
    except (tf.errors.OpError, ValueError):
        return None
    if lows.min() < 0 or highs.max() > 255:
        return None
    kept = followed.sum if whole else checksums.hex()
    return Part(followed.count, followed.frame, kept, squares, lows.tolist(), highs.tolist())


def check_file(path: Path, side: int) -> Part:
    """Read a record file through. Raises UserError with the file, the record's number and the reason."""
    part = check_part(path, side)
    if part is None:
        followed = frames.frames_of(path)
        if followed.whole and not followed.count:
            raise UserError(f"{path} holds no records; write the set again with the loader")
        number, reason = _first_bad_record(path, side, followed.count)
        raise UserError(f"{path}: record {number}: {reason}; write the set again with the loader")
    return part


def file_of(path: Path, side: int, parts: Sequence[Part]) -> RecordFile:
    """The record file of which these are the parts, in order."""
    ranges = (
        (min(part.lows[which] for part in parts), max(part.highs[which] for part in parts))
        for which in (0, 1)
    )
    count, sizes = sum(part.count for part in parts), {part.frame for part in parts}
    mse = sum(part.squares for part in parts) / (count * side * side)
    kept = [part.checksums for part in parts]
    total = kept[0] if len(parts) == 1 else frames.sum_of(map(bytes.fromhex, kept))
    return RecordFile(path, count, sizes.pop() if len(sizes) == 1 else 0, total, mse, *ranges)


def first_record(path: Path) -> tuple[int, int]:
    """(side of its patches in pixels, its bytes with the frame) of a file's first record, or a UserError."""
    with open(path, "rb") as file:
        head = file.read(12)
    if not head:
        raise UserError(f"{path} holds no records; write the set again with the loader")
    frame = int.from_bytes(head[:8], "little") + frames.FRAME_BYTES
    try:
        if len(head) < 12 or frame > path.stat().st_size:
            raise ValueError("is cut, or its length is damaged")
        return side_of(next(iter(tf.data.TFRecordDataset(str(path))))), frame
    except (tf.errors.OpError, ValueError) as error:
        raise UserError(
            f"{path}: record 1: {reason_of(error)}; write the set again with the loader"
        ) from error


def compare(file: RecordFile, written: split.Split) -> None:
    """Raise UserError where split.json says that the loader wrote other records into a file."""
    expected = written["files"].get(file.path.name, 0)
    if file.count != expected:
        fault = "missing" if file.count < expected else "too many"
        raise UserError(
            f"{file.path} holds {file.count} records, {expected} by {split.SPLIT_FILE}: record "
            f"{min(file.count, expected) + 1} is {fault}; write the set again with the loader"
        )
    if file.sum != written.get("sums", {}).get(file.path.name, file.sum):
        raise UserError(
            f"{file.path}: its records are whole, but by {split.SPLIT_FILE} not those that the loader wrote, "
            f"or in another order: the file was exchanged or edited; write the set again with the loader"
        )


def listed_files(folder: Path) -> tuple[list[Path], split.Split | None]:
    """The record files of a folder by number, and its split.json. Raises UserError for one missing."""
    paths, written = record_files(folder), split.read(folder)
    for name in written["files"] if written else ():
        if folder / name not in paths:
            raise UserError(f"{folder / name} is missing; {split.SPLIT_FILE} lists it")
    return paths, written


def check_records(folder: Path, watch: Callable[[RecordFile], None] = lambda file: None) -> RecordSet:
    """Read every record of a folder through and return its RecordSet; watch sees each RecordFile.

    Raises UserError where a file is missing, damaged, cut, or does not hold what split.json says.
    """
    paths, written = listed_files(folder)
    side, checked = first_record(paths[0])[0], []
    for path in paths:
        checked.append(file_of(path, side, [check_file(path, side)]))
        if written:
            compare(checked[-1], written)
        watch(checked[-1])
    return RecordSet(tuple(checked), side)


def all_pairs(records: RecordSet) -> Iterator[tuple[Integers, Integers]]:
    """All pairs of a set in order, some at a time: (jpg, bmp), int16 [N, side, side, 1] each."""
    at_a_time = min(RECORDS_AT_A_TIME, max(1, 2 * PIXELS_AT_A_TIME // records.side**2))
    dataset = tf.data.TFRecordDataset([str(file.path) for file in records.files], buffer_size=2**23)
    for batch in dataset.batch(at_a_time):
        jpg, bmp = (patches.numpy() for patches in parse_batch(batch, records.side))
        yield jpg, bmp
