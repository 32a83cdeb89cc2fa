"""What a picture's file says beside its pixels: EXIF and its orientation, XMP, IPTC, comment, density, ICC.

EXIF is kept byte for byte, so that what points into it (a MakerNote's own offsets) stays valid. It is a small
TIFF file: a header with the byte order and the place of the first directory, IFD0; a directory is a count,
entries of 12 bytes (tag, type, count of values, the values or their place) and the place of the next one
(TIFF 6.0, section 2; EXIF 2.32, section 4.5 and 4.6).
"""

import contextlib
import io
import re
import struct
from collections.abc import Sequence
from typing import Any, NamedTuple, TypeVar

import numpy as np
from PIL import ExifTags, Image, ImageCms
from PIL.JpegImagePlugin import JpegImageFile

from car import levels, segments
from car.arrays import Pixels, Pixels16
from car.errors import some_of

ORIENTATION = 0x0112  # the EXIF tag
SHORT, LONG, IFD = 3, 4, 13  # types of TIFF
# Bytes of a value of each type (TIFF 6.0, section 2; IFD is of its supplement, 129 is EXIF 3.0's UTF-8).
TYPE_BYTES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4, 129: 1}
# Tags that are the place of a further directory (EXIF 2.32, 4.6.3), by the directory that they stand in.
INNER = {("IFD0", 0x8769): "Exif", ("IFD0", 0x8825): "GPS", ("Exif", 0xA005): "Interop"}
THUMBNAIL = (0x0201, 0x0202)  # tags of IFD1: its place and its number of bytes

Samples = TypeVar("Samples", Pixels, Pixels16)

GREY_MODES = ("1", "L", "LA", "La", "I", "I;16", "I;16L", "I;16B", "F")  # of PIL
EXIF_START = b"Exif\0\0"  # of APP1 (EXIF 2.32, 4.7.2)
IPTC_BLOCK = b"8BIM\x04\x04"  # of Photoshop: its resource 0x0404

TURN_IN_XMP = re.compile(rb"(tiff:Orientation(?:\s*=\s*[\"']|>))[2-8](?=[\"'<])")  # XMP part 2, 2.2.5

# What each format of results holds, by the fields of Metadata.
HELD: dict[str, tuple[str, ...]] = {
    "bmp": ("density",),
    "png": ("exif", "icc_profile", "xmp", "comment", "density", "texts", "colours"),
    "jpg": ("exif", "icc_profile", "xmp", "iptc", "comment", "density"),  # their segments as they were
    "tiff": ("exif", "icc_profile", "xmp", "iptc", "comment", "density"),  # by tags; see output
    "webp": ("exif", "icc_profile", "xmp"),  # chunks EXIF, ICCP, XMP
}
# The same of what belongs to the pixels themselves.
HELD_OF_PIXELS: dict[str, tuple[str, ...]] = {
    "bmp": (),
    "png": ("transparency", "depth of 16 bits"),
    "jpg": (),
    "tiff": ("transparency", "depth of 16 bits"),
    "webp": ("transparency",),
}
NAMES = {
    "exif": "EXIF",
    "icc_profile": "ICC profile",
    "xmp": "XMP",
    "iptc": "IPTC",
    "texts": "further text",
    "colours": "gamma or primaries",
}  # others as they are


class Metadata(NamedTuple):
    """What an image carries beside its pixels. What is not there is empty or None."""

    orientation: int = 1  # by EXIF, 1..8; what `upright` turns by
    exif: bytes = b""  # to be saved with upright pixels; begins with EXIF_START
    icc_profile: bytes | None = None
    xmp: bytes = b""  # UTF-8
    iptc: bytes = b""  # the Photoshop blocks that hold it
    comment: bytes = b""
    density: tuple[float, float] | None = None  # dots an inch, across and down
    lost: tuple[str, ...] = ()  # what was damaged and left out, in words for people
    noted: tuple[str, ...] = ()  # what the reading found, in words for people
    segments: bytes | None = None  # of a JPEG, those that hold in a new saving of the coded pixels
    from_cmyk: bool = False  # the pixels are RGB, those of the file were CMYK
    texts: tuple[tuple[str, str], ...] = ()  # of a PNG, by keyword
    colours: tuple[tuple[bytes, bytes], ...] = ()  # of a PNG, chunks that say what its colours mean
    behind: tuple[str, ...] = ()  # what its file holds beside the picture, in words for people


def read(image: Image.Image, data: bytes = b"") -> Metadata:
    """The metadata of an opened JPEG (PIL); of another image the orientation alone.

    data: the JPEG's file, if its segments and what lies behind the picture are wanted.
    """
    if not isinstance(image, JpegImageFile):
        with contextlib.suppress(Exception):  # whatever Pillow's parsing stumbles over
            if isinstance(exif := image.info.get("exif"), bytes):
                return Metadata(upright_exif([exif.removeprefix(EXIF_START)], [])[0])
            found = image.getexif().get(ORIENTATION, 1)
            return Metadata(found if found in range(1, 9) else 1)
        return Metadata()
    lost: list[str] = []
    orientation, exif = upright_exif(_segments(image, "APP1", EXIF_START), lost)
    profile = fitting_profile(image, lost)
    xmp = first_xmp(
        _segments(image, "APP1", segments.XMP_START), _segments(image, "APP1", segments.MORE_XMP_START), lost
    )
    blocks = b"".join(_segments(image, "APP13", segments.PHOTOSHOP_START))
    iptc = blocks if IPTC_BLOCK in blocks else b""
    comment = _comment(_segments(image, "COM", b""), lost)
    xmp, density = turned(orientation, xmp, _density(image))
    return Metadata(
        *(orientation, exif, profile, xmp, iptc, comment, density, tuple(lost), noted_of(image)),
        segments=segments.kept(data, image.mode == "CMYK") if data else None,
        behind=segments.behind(data),
        from_cmyk=image.mode == "CMYK",
    )


def turned(
    orientation: int, xmp: bytes, density: tuple[float, float] | None
) -> tuple[bytes, tuple[float, float] | None]:
    """XMP that says upright, and the density of pixels that were turned as an orientation says."""
    if orientation >= 5 and density:
        density = density[::-1]
    return (xmp if orientation == 1 else TURN_IN_XMP.sub(rb"\g<1>1", xmp)), density


def _density(image: JpegImageFile) -> tuple[float, float] | None:
    """Dots an inch by JFIF, units 1 and 2 (JFIF 1.02); Pillow 11 does not know the second."""
    an_inch = {1: 1.0, 2: 2.54}.get(image.info.get("jfif_unit", 0), 0.0)
    across, down = (dots * an_inch for dots in image.info.get("jfif_density", (0, 0)))
    return (across, down) if min(across, down) > 0 else None


def _segments(image: JpegImageFile, marker: str, start: bytes) -> list[bytes]:
    """What the segments of one kind hold, in order, without the start that tells the kind."""
    return [data[len(start) :] for name, data in image.applist if name == marker and data.startswith(start)]


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


def upright_exif(segments: Sequence[bytes], lost: list[str]) -> tuple[int, bytes]:
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


def fitting_profile(image: Image.Image, lost: list[str]) -> bytes | None:
    """The ICC profile, if it is one and for the picture's kind: grey or RGB (PNG 3rd edition, 11.3.2.3).

    None of CMYK, whose profile is used up by the reading.
    """
    if "icc_profile" not in image.info:
        return None
    if image.mode == "CMYK":
        return None
    wanted, picture = ("GRAY", "grey") if image.mode in GREY_MODES else ("RGB", "in colour")
    profile: Any = image.info["icc_profile"]  # None where parts of it are missing
    try:
        space = ImageCms.ImageCmsProfile(io.BytesIO(profile)).profile.xcolor_space.strip()
    except Exception:  # whatever littleCMS or Pillow stumbles over
        space = None
    if space == wanted:
        return profile
    fault = f"for {space}, the picture is {picture}: it" if space else "damaged and"
    lost.append(f"its ICC profile is {fault} was left out")
    return None


def noted_of(image: Image.Image) -> tuple[str, ...]:
    """What is to be said of the profile of an opened image in CMYK."""
    if (
        image.mode == "CMYK"
        and "icc_profile" in image.info
        and not levels.from_press(image.info["icc_profile"] or b"")
    ):
        return ("its ICC profile is none of CMYK, which was read as without one",)
    return ()


def first_xmp(packets: Sequence[bytes], further: Sequence[bytes], lost: list[str]) -> bytes:
    """The first XMP packet (XMP part 3, 1.1.3); further ones hold what is over 64 KiB. No text has a NUL."""
    if len(packets) + bool(packets and further) > 1:
        lost.append("of several XMP packets the first was taken")
    xmp = segments.alone(packets[0].rstrip(b"\0")) if packets else b""
    is_without_first = bool(further) and not packets
    if is_without_first or b"\0" in xmp or not _is_utf8(xmp):
        lost.append("its XMP is damaged and was left out")
        return b""
    return xmp


def _comment(comments: Sequence[bytes], lost: list[str]) -> bytes:
    """The comments as one, a line each."""
    texts = [comment.rstrip(b"\0") for comment in comments]
    if any(b"\0" in text for text in texts):
        lost.append("its comment is no text and was left out")
    return b"\n".join(text for text in texts if text and b"\0" not in text)


def _is_utf8(data: bytes) -> bool:
    try:
        return bool(data.decode() or True)
    except UnicodeDecodeError:
        return False


def iptc_of(blocks: bytes) -> bytes:
    """What the first IPTC block among Photoshop's holds: signature, number, name, size, data."""
    place = blocks.find(IPTC_BLOCK) + len(IPTC_BLOCK)
    if place < len(IPTC_BLOCK) or place == len(blocks):
        return b""
    place += (blocks[place] + 2) // 2 * 2  # the name and its length, together even
    return blocks[place + 4 : place + 4 + int.from_bytes(blocks[place : place + 4], "big")]


def decoded(text: bytes) -> str:
    """A comment, which is UTF-8 or, where it is none, Latin-1."""
    return text.decode("utf-8" if _is_utf8(text) else "latin-1")


def held(metadata: Metadata, form: str) -> dict[str, Any]:
    """The fields, with what they hold, that a format of HELD can hold."""
    return {name: getattr(metadata, name) for name in HELD[form] if getattr(metadata, name)}


def left_behind(metadata: Metadata, form: str) -> tuple[str, ...]:
    """The fields of a picture's metadata that a format of HELD cannot hold."""
    left = [
        name
        for name in (*HELD["jpg"], "texts", "colours")
        if getattr(metadata, name) and name not in HELD[form]
    ]
    if form == "jpg" and metadata.segments is None:
        left += [name for name in ("xmp", "iptc", "comment") if not segments.fits(getattr(metadata, name))]
    return tuple(left)


def fate(metadata: Metadata, form: str, transparent: bool, deep: bool) -> tuple[list[str], list[str]]:
    """What a format keeps of a picture, and what it cannot hold: fields, and of HELD_OF_PIXELS."""
    left = left_behind(metadata, form)
    kept = [name for name in held(metadata, form) if name not in left]
    has = {"transparency": transparent, "depth of 16 bits": deep}
    of_pixels = [name for name, is_there in has.items() if is_there]
    kept += [name for name in of_pixels if name in HELD_OF_PIXELS[form]]
    return kept, [*left, *(name for name in of_pixels if name not in HELD_OF_PIXELS[form])]


def describe_left(fields: Sequence[str], form: str) -> str:
    """Say which fields a format cannot hold, and which formats can hold all of them."""
    others = [other for other, held in HELD.items() if set(fields) <= {*held, *HELD_OF_PIXELS[other]}]
    said = f"{form.upper()} holds no {_listed(fields, 'or')}; --format {_listed(others, 'or')} keeps"
    return said + (" them" if fields[1:] else " it")


def named(fields: Sequence[str]) -> str:
    """Fields, and other words among them, as people know them: "EXIF, ICC profile"."""
    return ", ".join(NAMES.get(name, name) for name in fields)


def _listed(fields: Sequence[str], word: str) -> str:
    *names, last = [NAMES.get(name, name) for name in fields]
    return f"{', '.join(names)} {word} {last}" if names else last


def upright(pixels: Samples, orientation: int) -> Samples:
    """Turn coded pixels, grey or RGB, as their EXIF orientation (1..8) says."""
    down, across = (-1 if orientation in turned else 1 for turned in ((3, 4, 6, 7), (2, 3, 7, 8)))
    turned = pixels[::down, ::across]
    return np.ascontiguousarray(turned.swapaxes(0, 1) if orientation >= 5 else turned)


def turned_back(pixels: Samples, orientation: int) -> Samples:
    """The reverse of `upright`: upright pixels as they lie on the coded grid."""
    return upright(pixels, {6: 8, 8: 6}.get(orientation, orientation))
