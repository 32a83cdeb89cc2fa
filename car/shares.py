"""Work that processes which train together share out, so that none of them reads all the records.

Every process does its share, and they exchange what they found. Where one finds a fault, it says so in words,
and the others end with a line too.
"""

import dataclasses
import hashlib
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from car import cli, records
from car.arrays import Doubles
from car.errors import UserError


class Company(NamedTuple):
    """The processes that train together, as one of them sees them."""

    number: int  # of this process, from 0: the chief
    size: int
    exchange: Callable[
        [bytes], list[bytes]
    ]  # what this process has to say -> what each of them has, in order


ALONE = Company(0, 1, lambda said: [said])


def together(company: Company, work: Callable[[], bytes]) -> list[bytes]:
    """Do the share of this process. Returns what each of them found, in order.

    Raises UserError where work does, and where that of another process did.
    """
    try:
        found = work()
    except UserError:
        company.exchange(b"")
        raise
    of_all = company.exchange(b"+" + found)
    if b"" in of_all:
        raise UserError(
            f"process {of_all.index(b'')} of the cluster has ended with a fault, and says which; mend it, "
            f"and start all of them again with the same commands"
        )
    return [said[1:] for said in of_all]


def by_chief(company: Company, work: Callable[[], Doubles]) -> Doubles:
    """What the chief's work gives, [N, columns], in every process."""

    def said() -> bytes:
        return b"" if company.number else json.dumps(work().tolist()).encode()

    return np.array(json.loads(together(company, said)[0]))


# ---- the records read through --------------------------------------------------------------


class Piece(NamedTuple):
    """Records of one file: all, from start to stop in bytes."""

    file: int  # its place among the files of the set
    start: int
    stop: int


def pieces_of(sizes: Sequence[int], frame: int, number: int, count: int) -> list[Piece]:
    """The pieces that fall to process `number` of `count`; sizes: of the files in bytes.

    frame: bytes of the first record in its frame, by which the others are taken to be found. All records in
    their order are cut into `count` equal runs. A file that holds no whole number of such frames, one of
    another program or a cut one, is not cut up: it goes to the process whose run holds its first record.
    """
    held = [max(1, -(-size // frame)) for size in sizes]
    before, pieces = 0, []
    first, last = (sum(held) * share // count for share in (number, number + 1))
    for file, size in enumerate(sizes):
        if size % frame or not size:
            start, stop = 0, size if first <= before < last else -1
        else:
            start, stop = (frame * min(max(place - before, 0), held[file]) for place in (first, last))
        if start < stop or start == stop == size == 0:
            pieces.append(Piece(file, start, stop))
        before += held[file]
    return pieces


def check_piece(path: Path, side: int, frame: int, piece: Piece) -> tuple[Piece, records.Part]:
    """Read a piece through, or the whole file where it does not lie in frames of this size.

    Returns what was read. Raises UserError with the file, the record's number and the reason.
    """
    size = path.stat().st_size
    if (piece.start, piece.stop) != (0, size):
        part = records.check_part(path, side, piece.start, piece.stop)
        if part and part.frame == frame:
            return piece, part
    return Piece(piece.file, 0, size), records.check_file(path, side)


def read_through(folder: Path, company: Company = ALONE) -> records.RecordSet:
    """Read a folder of records through, each process its share, with a line for it. Returns the RecordSet.

    Raises UserError where a file is missing, damaged, cut, or does not hold what split.json says: in the
    process that finds it with the file and the record.
    """
    found = check_together(folder, company) if company.size > 1 else records.check_records(folder)
    size = f"{found.side}x{found.side}"
    cli.say(f"{folder}: {found.total} patches of {size}, MSE of the JPG {found.mse:.3f}")
    if company.size > 1 and not found.frame:
        cli.say(f"{folder}: its records differ in length, so each process reads all of them, not its share")
    return found


def check_together(folder: Path, company: Company) -> records.RecordSet:
    """As records.check_records, each process its share; the RecordSet is the same in all."""

    def check_share() -> bytes:
        paths, _ = records.listed_files(folder)
        sizes = [path.stat().st_size for path in paths]
        side, frame = records.first_record(paths[0])
        seen = hashlib.sha256(json.dumps([[path.name for path in paths], sizes, side]).encode()).hexdigest()
        checked = []
        for piece in pieces_of(sizes, frame, company.number, company.size):
            read, part = check_piece(paths[piece.file], side, frame, piece)
            checked.append((read, dataclasses.asdict(part)))
        return json.dumps({"seen": seen, "side": side, "checked": checked}).encode()

    return joined(folder, [json.loads(said) for said in together(company, check_share)])


def joined(folder: Path, found: Sequence[dict[str, Any]]) -> records.RecordSet:
    """The set of which each process has read a share. Raises UserError where they saw different sets."""
    if len({share["seen"] for share in found}) > 1:
        raise UserError(
            f"{folder} holds other record files for one process than for another; give all the same"
        )
    side, (paths, written) = found[0]["side"], records.listed_files(folder)
    parts: list[list[tuple[Piece, records.Part]]] = [[] for _ in paths]  # of each file, in order
    for piece, part in (pair for share in found for pair in share["checked"]):
        parts[piece[0]].append((Piece(*piece), records.Part(**part)))
    files = []
    for path, of_file in zip(paths, parts, strict=True):
        whole = [part for piece, part in of_file if piece.stop - piece.start == path.stat().st_size]
        files.append(records.file_of(path, side, whole[:1] or [part for _, part in of_file]))
        if written:
            records.compare(files[-1], written)
    return records.RecordSet(tuple(files), side)
