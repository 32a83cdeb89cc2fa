"""The frames of a record file: where each record lies, and its checksum, without a look at the record itself.

A record is framed by its length (8 bytes), a checksum of that (4), and a checksum of itself (4); see
https://www.tensorflow.org/tutorials/load_data/tfrecord#tfrecords_format_details.
"""

import hashlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

RECORDS_PER_FILE = 10_000
FRAME_BYTES = 16  # around each record


@dataclass(frozen=True)
class Frames:
    """The records of a file, or of a part of it, as their frames tell."""

    count: int
    frame: int  # bytes of each record in its frame; 0 where they differ
    sum: str  # of the checksums of all records in their order: tells records exchanged, doubled or moved
    whole: bool  # whether the last record ends where the file, or the part, does


def sum_of(checksums: Iterable[bytes]) -> str:
    """The sum of a file by the checksums of its records, in any pieces."""
    digest = hashlib.sha256()
    for piece in checksums:
        digest.update(piece)
    return digest.hexdigest()[:32]


def frames_of(
    path: Path,
    start: int = 0,
    stop: int | None = None,
    watch: Callable[[bytes], object] = lambda checksum: None,
) -> Frames:
    """Follow the frames of a record file from byte start up to stop (its end); watch sees each checksum.

    Lengths are followed here first, as TensorFlow asks for the memory that a length says.
    """
    count, place, checksums, sizes = 0, start, hashlib.sha256(), set()
    with open(path, "rb", buffering=2**20) as file:
        size = file.seek(0, 2) if stop is None else stop
        file.seek(start)
        while place + 12 <= size:
            length = int.from_bytes(file.read(12)[:8], "little")
            place += length + FRAME_BYTES
            if place > size:
                break
            file.seek(length, 1)
            checksum = file.read(4)
            checksums.update(checksum)
            watch(checksum)
            sizes.add(length + FRAME_BYTES)
            count += 1
    return Frames(count, sizes.pop() if len(sizes) == 1 else 0, checksums.hexdigest()[:32], place == size)
