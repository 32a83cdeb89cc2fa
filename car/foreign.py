"""What files of PNG, WebP, TIFF and BMP carry beside their pixels, as the metadata of a JPEG.

In a TIFF the EXIF is part of its own directories: the tags that do not tell how the pixels are stored are
copied, their values byte for byte, into a TIFF file that holds nothing else (TIFF 6.0, section 2).
"""

import io
import math
import struct
from typing import Any, NamedTuple

from PIL.ImageFile import ImageFile
from PIL.PngImagePlugin import PngImageFile
from PIL.TiffImagePlugin import TiffImageFile

from car import ifd, metadata
from car.errors import BadImage, some_of

XMP_TEXT, COMMENT_TEXT = "XML:com.adobe.xmp", "Comment"  # keywords of a PNG's texts
RAW_EXIF_TEXT = "Raw profile type exif"  # ImageMagick's: a name, a length, and hexadecimal digits
X_DENSITY, XMP, IPTC, PHOTOSHOP, ICC = 282, 700, 33723, 34377, 34675  # tags of TIFF
# Chunks of a PNG that say what its colours mean (PNG 3rd edition, 11.3.2). sRGB's gamma and primaries say
# no more than a file without them.
COLOUR_CHUNKS = (b"cICP", b"sRGB", b"gAMA", b"cHRM")
SRGB_GAMMA = struct.pack(">I", 45455)
SRGB_PRIMARIES = struct.pack(">8I", 31270, 32900, 64000, 33000, 30000, 60000, 15000, 6000)
# Tags that tell how the pixels of a TIFF are stored, where further ones lie, or what has a field of its own.
OF_PIXELS = {
    *(*range(254, 260), *range(262, 267), 273, *range(277, 285), *range(288, 294), 296, 297, 301),
    *(*range(317, 326), 330, *range(332, 335), *range(336, 344), 347, *range(512, 522)),
    *(*range(529, 533), 559, *range(32994, 32999), 34676, 37724, 50674, 50784),
    *(ifd.ORIENTATION, XMP, IPTC, PHOTOSHOP, ICC),
}


def read(image: ImageFile, data: bytes) -> metadata.Metadata:
    """The metadata of a picture, opened (PIL) and loaded; data: its file.

    The orientation is that which the loaded pixels still need.
    """
    lost: list[str] = []
    texts = _texts(image)
    exif, orientation = _exif(image, data, texts, lost)
    profile = metadata.fitting_profile(image, lost)
    xmp = texts.pop(XMP_TEXT, "").encode() or _bytes(image.info.get("xmp"))
    xmp = metadata.first_xmp([xmp] if xmp else [], [], lost)
    told = _turn_of_tiff(data) if isinstance(image, TiffImageFile) else orientation
    xmp, density = metadata.turned(told, xmp, _density(image))
    comment = texts.pop(COMMENT_TEXT, "").encode()
    iptc = _iptc(data) if isinstance(image, TiffImageFile) else b""
    return metadata.Metadata(
        *(orientation, exif, profile, xmp, iptc, comment, density, tuple(lost)),
        noted=metadata.noted_of(image),
        behind=("further pictures (pages or frames)",) if getattr(image, "is_animated", False) else (),
        from_cmyk=image.mode == "CMYK",
        texts=tuple(texts.items()),
        colours=() if profile else _colours(image, data),
    )


def _texts(image: ImageFile) -> dict[str, str]:
    """A PNG's texts by keyword, those of damaged chunks left out."""
    if not isinstance(image, PngImageFile):
        return {}
    return {str(keyword): str(text) for keyword, text in image.text.items() if "\0" not in text}


def _colours(image: ImageFile, data: bytes) -> tuple[tuple[bytes, bytes], ...]:
    """A PNG's chunks of gamma and primaries, or of a code for both, with what they hold; none of sRGB."""
    found, place = dict[bytes, bytes](), 8
    while isinstance(image, PngImageFile) and place + 8 <= len(data):
        length, kind = struct.unpack_from(">I4s", data, place)
        if kind == b"IDAT":
            break
        if kind in COLOUR_CHUNKS:
            found[kind] = data[place + 8 : place + 8 + length]
        place += 12 + length
    usual = {b"sRGB": found.get(b"sRGB"), b"gAMA": SRGB_GAMMA, b"cHRM": SRGB_PRIMARIES}
    is_srgb = all(held == usual.get(kind) for kind, held in found.items())
    if b"cICP" not in found and (b"sRGB" in found or is_srgb):
        return ()
    return tuple(found.items())


def _exif(image: ImageFile, data: bytes, texts: dict[str, str], lost: list[str]) -> tuple[bytes, int]:
    """The EXIF, which says upright, and the orientation. Takes EXIF that is written as text out of texts."""
    raw = texts.pop(RAW_EXIF_TEXT, "")
    if isinstance(image, TiffImageFile):
        orientation = image.getexif().get(ifd.ORIENTATION, 1)  # 1 where Pillow has turned the pixels
        exif = _exif_of_tiff(data, lost)
        return exif, orientation if orientation in range(1, 9) else 1
    exif = _bytes(image.info.get("exif"))
    if not exif and raw:
        try:
            exif = bytes.fromhex("".join(raw.split("\n")[3:]))
        except ValueError:
            lost.append("its EXIF is damaged and was left out")
    if not exif:
        return b"", 1
    orientation, exif = ifd.upright([exif.removeprefix(ifd.EXIF_START)], lost)
    return exif, orientation


def _bytes(value: Any) -> bytes:
    return value.encode() if isinstance(value, str) else value if isinstance(value, bytes) else b""


def _density(image: ImageFile) -> tuple[float, float] | None:
    """Dots an inch, across and down, where a file tells numbers."""
    if isinstance(image, TiffImageFile) and X_DENSITY not in image.tag_v2:
        return None  # Pillow says 1
    try:
        across, down = map(float, image.info["dpi"])
    except (KeyError, TypeError, ValueError, ZeroDivisionError, OverflowError):
        return None
    return (across, down) if min(across, down) > 0 and max(across, down) < math.inf else None


# ---- TIFF ----------------------------------------------------------------------------------


class Tag(NamedTuple):
    """A tag with its values."""

    tag: int
    type: int
    number: int  # of the values
    values: bytes
    inner: "list[Tag] | None" = None  # of a tag that is the place of a directory: that one


def check_tags(data: bytes) -> None:
    """Raise BadImage for a TIFF whose tags have more bytes than its file: Pillow 11 reads all of them."""
    order = ifd.byte_order(data)
    if order and _bytes_of_tags(data, order, int.from_bytes(data[4:8], order), "IFD0") > len(data):
        raise BadImage("its header is damaged: its tags have more bytes than the file")


def _bytes_of_tags(data: bytes, order: Any, place: int, kind: str) -> int:
    directory, size = ifd.directory_at(data, order, place), 0
    for tag, entry in {entry.tag: entry for entry in directory.entries}.items() if directory else ():
        if inner := ifd.INNER.get((kind, tag)):
            size += _bytes_of_tags(data, order, entry.offset, inner)
        elif entry.end <= len(data):
            size += max(0, entry.end - entry.offset)
    return size


def _entries(data: bytes) -> dict[int, ifd.Entry]:
    """The tags of a TIFF's first directory; none of a BigTIFF."""
    order = ifd.byte_order(data)
    directory = order and ifd.directory_at(data, order, int.from_bytes(data[4:8], order))
    return {entry.tag: entry for entry in directory.entries} if directory else {}


def _turn_of_tiff(data: bytes) -> int:
    """The orientation that a TIFF tells; Pillow has turned the pixels by it, and then tells none."""
    entry = _entries(data).get(ifd.ORIENTATION)
    return (ifd.turn_of(data, ifd.byte_order(data), entry) if entry else 0) or 1


def _iptc(data: bytes) -> bytes:
    """The Photoshop blocks of a TIFF that hold IPTC; IPTC that stands alone becomes such a block."""
    entries = _entries(data)
    blocks, alone = (
        data[entry.offset : entry.end] if (entry := entries.get(tag)) and entry.end <= len(data) else b""
        for tag in (PHOTOSHOP, IPTC)
    )
    if metadata.IPTC_BLOCK in blocks:
        return blocks
    if not alone:
        return b""
    return metadata.IPTC_BLOCK + struct.pack(">HI", 0, len(alone)) + alone + b"\0" * (len(alone) % 2)


def _exif_of_tiff(data: bytes, lost: list[str]) -> bytes:
    """EXIF of the tags of a TIFF that are not about how its pixels are stored; b"" where there are none."""
    order = ifd.byte_order(data)
    if order is None:
        lost.append("EXIF and IPTC of a BigTIFF (for over 4 GiB) were left out")
        return b""
    tags = _tags_of(data, order, int.from_bytes(data[4:8], order), "IFD0", lost)
    if not tags:
        return b""
    sign = "<" if order == "little" else ">"
    return ifd.EXIF_START + data[:4] + struct.pack(sign + "I", 8) + _packed(tags, sign, 8)


def _tags_of(data: bytes, order: Any, place: int, kind: str, lost: list[str]) -> list[Tag]:
    """The tags of a directory and of those that it leads to; the damaged ones are left out, and said."""
    directory = ifd.directory_at(data, order, place)
    if directory is None:
        lost.append(f"its EXIF has a damaged directory ({kind})")
        return []
    found, damaged = [], []
    for tag, entry in sorted({entry.tag: entry for entry in directory.entries[: directory.sure]}.items()):
        if kind == "IFD0" and tag in OF_PIXELS:
            continue
        if inner := ifd.INNER.get((kind, tag)):
            if tags := _tags_of(data, order, entry.offset, inner, lost):
                found.append(Tag(tag, ifd.LONG, 1, b"", tags))
            continue
        values = data[entry.offset : entry.end] if entry.end else data[entry.place + 8 : entry.place + 12]
        if entry.end > len(data):
            damaged.append(f"0x{tag:04x}")
        else:
            found.append(Tag(tag, entry.type, entry.values, values))
    if damaged:
        lost.append(f"its EXIF has damaged tags: {some_of(damaged)}")
    return found


def _packed(tags: list[Tag], sign: str, place: int) -> bytes:
    """A directory at a place of a TIFF file, and behind it the values of its tags and further directories."""
    table, behind = struct.pack(sign + "H", len(tags)), io.BytesIO()
    end = place + 2 + 12 * len(tags) + 4
    for tag in tags:
        values = tag.values
        if tag.inner or len(values) > 4:
            there = end + behind.tell()
            held = _packed(tag.inner, sign, there) if tag.inner else values
            behind.write(held + b"\0" * (len(held) % 2))
            values = struct.pack(sign + "I", there)
        table += struct.pack(sign + "HHI", tag.tag, tag.type, tag.number) + values.ljust(4, b"\0")
    return table + bytes(4) + behind.getvalue()
