"""EXIF, kept byte for byte, so that what points into it (a MakerNote's own offsets) stays valid.

It is a small TIFF file: a header with the byte order and the place of the first directory, IFD0; a directory
is a count, entries of 12 bytes (tag, type, count of values, the values or their place) and the place of the
next one (TIFF 6.0, section 2; EXIF 2.32, section 4.5 and 4.6).
"""

import struct
from collections.abc import Sequence
from typing import Any, NamedTuple

from PIL import ExifTags

from car.errors import some_of

EXIF_START = b"Exif\0\0"  # of APP1 (EXIF 2.32, 4.7.2)
ORIENTATION = 0x0112  # the EXIF tag
SHORT, LONG, IFD = 3, 4, 13  # types of TIFF
# Bytes of a value of each type (TIFF 6.0, section 2; IFD is of its supplement, 129 is EXIF 3.0's UTF-8).
TYPE_BYTES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4, 129: 1}
# Tags that are the place of a further directory (EXIF 2.32, 4.6.3), by the directory that they stand in.
INNER = {("IFD0", 0x8769): "Exif", ("IFD0", 0x8825): "GPS", ("Exif", 0xA005): "Interop"}
THUMBNAIL = (0x0201, 0x0202)  # tags of IFD1: its place and its number of bytes


class Entry(NamedTuple):
    """One tag in a directory."""

    place: int  # of its 12 bytes
    tag: int
    type: int
    values: int  # their number
    offset: int  # of the values, where they take over 4 bytes; else these, as a LONG

    @property
    def end(self) -> int:
        """Where its values end; 0 where they stand in the entry itself, or the type is not known."""
        size = TYPE_BYTES.get(self.type, 0) * self.values
        return self.offset + size if size > 4 else 0

    def values_in(self, tiff: bytes) -> bytes:
        """The values of a tag of single bytes."""
        return tiff[self.offset : self.end] if self.end else tiff[self.place + 8 :][: min(self.values, 4)]


class Directory(NamedTuple):
    """A directory of tags: the entries that are there whole."""

    entries: list[Entry]
    sure: int  # so many of them; where it is cut, the others may be values that are taken for entries
    end: int  # behind the place of the next one
    next: int  # that place; 0 where there is none
    cut: bool  # more entries should be there


def upright(segments: Sequence[bytes], lost: list[str]) -> tuple[int, bytes]:
    """The orientation, and the EXIF that says upright, from the segments without their start.

    lost: takes lines on what was lost, here and below. EXIF of over 64 KiB is cut into several segments; one
    that begins with a header is another EXIF.
    """
    if not segments:
        return 1, b""
    own = [segment for segment in segments[1:] if not byte_order(segment)]
    if len(own) < len(segments) - 1:
        lost.append("of several EXIFs the first was taken")
    tiff = bytearray(b"".join([segments[0], *own]))
    order, orientation, damaged = byte_order(tiff), 1, None
    top = int.from_bytes(tiff[4:8], order or "little")
    if order and (directory := directory_at(tiff, order, top)):
        turns = [entry for entry in directory.entries if turn_of(tiff, order, entry)]
        orientation = turn_of(tiff, order, turns[0]) if turns else 1
        for entry in turns:
            size = TYPE_BYTES[entry.type]
            tiff[entry.place + 8 : entry.place + 8 + size] = (1).to_bytes(size, order)
        damaged = _mend(tiff, order, top, "IFD0")
    if damaged is None or (damaged and not int.from_bytes(tiff[top : top + 2], "big")):  # no tag is left
        lost.append("its EXIF is damaged and was left out")
        return orientation, b""
    if damaged:
        tags = f"damaged tags: {some_of(damaged)}" if damaged[1:] else f"a damaged tag ({damaged[0]})"
        lost.append(f"its EXIF has {tags}")
    return orientation, EXIF_START + bytes(tiff)


def byte_order(tiff: bytes | bytearray) -> Any:
    """The byte order that a TIFF header names, "little" or "big"; None where there is no such header."""
    return {b"II*\0": "little", b"MM\0*": "big"}.get(bytes(tiff[:4]))


def directory_at(tiff: bytes | bytearray, order: str, place: int) -> Directory | None:
    """The directory at a place, or None where none can be. Entries that are not whole are not among them.

    A table that the bytes cannot hold ends where its first value begins, or with the types that are known.
    """
    if not 8 <= place <= len(tiff) - 2:
        return None
    sign, first = "<" if order == "little" else ">", place + 2
    (count,) = struct.unpack_from(f"{sign}H", tiff, place)
    places = range(first, min(first + 12 * count, len(tiff) - 11), 12)
    entries = [Entry(place, *struct.unpack_from(f"{sign}HHII", tiff, place)) for place in places]
    end = first + 12 * count
    if len(entries) < count:
        limit = len(tiff)
        for entry in entries:
            if entry.type not in TYPE_BYTES:
                limit = min(limit, entry.place + 4)
            elif entry.place + 12 <= limit and entry.place < entry.offset < entry.end <= len(tiff):
                limit = min(limit, entry.offset)
        whole = (limit - first) // 12 if limit == len(tiff) else max(0, limit - 4 - first) // 12
        return Directory(entries, whole, first + 12 * whole + 4, 0, True)
    following = struct.unpack_from(f"{sign}I", tiff, end)[0] if end + 4 <= len(tiff) else 0
    return Directory(entries, count, end + 4, following, False)


def first_directory(tiff: bytes) -> list[Entry]:
    """The tags of the first directory of EXIF, mended, without EXIF_START."""
    order = byte_order(tiff)
    directory = directory_at(bytearray(tiff), order, int.from_bytes(tiff[4:8], order)) if order else None
    return directory.entries if directory else []


def turn_of(tiff: bytes | bytearray, order: Any, entry: Entry) -> int:
    """The orientation, 1..8, that an entry says; 0 where it says none."""
    if entry.tag != ORIENTATION or entry.type not in (SHORT, LONG) or entry.values < 1 or entry.end:
        return 0
    value = int.from_bytes(tiff[entry.place + 8 : entry.place + 8 + TYPE_BYTES[entry.type]], order)
    return value if value in range(1, 9) else 0


def _mend(tiff: bytearray, order: Any, place: int, kind: str) -> list[str] | None:
    """Take the damaged tags out of a directory and of those that it leads to. Returns their names.

    Entries behind a damaged one move up in their table; no value moves. None where no directory is there.
    Of each kind one is visited, so that directories that lead to each other end.
    """
    directory = directory_at(tiff, order, place)
    if directory is None or (directory.cut and not directory.sure):
        return None
    entries = directory.entries[: directory.sure]
    names = ExifTags.GPSTAGS if kind == "GPS" else ExifTags.TAGS
    damaged = ["the end of a cut table"] if directory.cut else []
    good, visited, following = bytearray(), set(), directory.next
    thumbnail = sum(e.offset for e in entries if kind == "IFD1" and e.tag in THUMBNAIL)  # its end
    for entry in entries:
        end = thumbnail if kind == "IFD1" and entry.tag in THUMBNAIL else entry.end
        inner, bad = INNER.get((kind, entry.tag)), end > len(tiff)
        if inner and inner not in visited and entry.type in (LONG, IFD):
            visited.add(inner)
            found = _mend(tiff, order, entry.offset, inner)
            damaged += found or []
            bad = found is None
        if bad:
            damaged.append(names.get(entry.tag, f"0x{entry.tag:04x}"))
        else:
            good += tiff[entry.place : entry.place + 12]
    if kind == "IFD0" and following:
        found = _mend(tiff, order, following, "IFD1")
        damaged += ["thumbnail"] if found is None else found
        following = 0 if found is None else following
    if len(good) < 12 * len(entries) or directory.cut or following != directory.next:
        table = (len(good) // 12).to_bytes(2, order) + good + following.to_bytes(4, order)
        tiff[place : directory.end] = table.ljust(len(tiff[place : directory.end]), b"\0")
    return damaged
