"""Segments of a JPEG, carried over byte for byte into a new saving of the same picture.

Some do not hold there any more: they tell of pictures that stand behind the first one, or how the old pixels
were coded. XMP stays but for the fields that announce such pictures.
"""

import re
import struct
from collections.abc import Iterator

from car import jpeg

APP0, APP1, APP2, APP13, APP14, COM, DQT, SOS = 0xE0, 0xE1, 0xE2, 0xED, 0xEE, 0xFE, 0xDB, 0xDA
XMP_START, MORE_XMP_START = b"http://ns.adobe.com/xap/1.0/\0", b"http://ns.adobe.com/xmp/extension/\0"
PHOTOSHOP_START = b"Photoshop 3.0\0"  # of APP13
LONGEST = 65_533  # bytes that a segment holds
INDEX_START, GAIN_MAP_START = b"MPF\0", b"urn:iso:std:iso:ts:21496:-1\0"  # CIPA DC-007; ISO 21496-1
ICC_START = b"ICC_PROFILE\0"
GONE = ((APP2, INDEX_START), (APP2, GAIN_MAP_START), (APP14, b"Adobe"))  # Adobe's says how pixels are coded
NUMBER_OF_PICTURES = 0xB001  # a tag of the index, a LONG (CIPA DC-007, 5.2.3)
# Fields of XMP that announce what stands behind the picture: the namespace, and which names of it.
ANNOUNCING = (
    (b"http://ns.adobe.com/hdr-gain-map/1.0/", rb"\w+"),
    (b"http://ns.apple.com/HDRGainMap/1.0/", rb"\w+"),
    (b"http://ns.google.com/photos/1.0/container/", rb"\w+"),
    (b"http://ns.google.com/photos/1.0/camera/", rb"(?:MotionPhoto|MicroVideo)\w*"),
)
# What tells a gain map behind the picture: namespaces in its own XMP, or ISO's segment.
GAIN_MAPS = (ANNOUNCING[0][0], ANNOUNCING[1][0], b"urn:com:apple:photo:2020:aux:hdrgainmap", GAIN_MAP_START)
VIDEO = re.compile(rb"ftyp(?:mp4|isom|qt|avc|3gp|M4V|hvc)")  # the first box of MPEG-4 (ISO 14496-12)


def of(data: bytes) -> Iterator[tuple[int, bytes]]:
    """(marker, what it holds) of the segments of a JPEG up to its first scan."""
    for marker, place in jpeg.segments(data):
        if marker == SOS:
            return
        yield marker, data[place + 2 : place + int.from_bytes(data[place : place + 2], "big")]


def kept(data: bytes, is_cmyk: bool) -> bytes:
    """The APPn and COM segments of a JPEG, as they stand there, that hold for its pixels as grey or YCbCr.

    is_cmyk: its ICC profile is then used up.
    """
    gone, whole = (*GONE, (APP2, ICC_START)) if is_cmyk else GONE, b""
    for marker, held in of(data):
        is_gone = any(marker == other and held.startswith(start) for other, start in gone)
        if marker == APP1 and held.startswith(XMP_START):
            xmp = held[len(XMP_START) :]
            held = XMP_START + alone(xmp)
            is_gone = bool(xmp) and not alone(xmp)
        if not is_gone and (APP0 <= marker < APP0 + 16 or marker == COM):
            whole += struct.pack(">BBH", 0xFF, marker, len(held) + 2) + held
    return whole


def made(
    density: tuple[float, float] | None, exif: bytes, xmp: bytes, iptc: bytes, profile: bytes, comment: bytes
) -> bytes:
    """The segments of a picture that was no JPEG, from the fields of its metadata.Metadata.

    EXIF and profile that are longer than a segment take several (EXIF 2.32, 4.7.2; ICC.1:2010, B.4); other
    fields are then left out.
    """
    across, down = (min(65535, max(1, round(dots))) for dots in density or (1, 1))
    held = [(APP0, b"JFIF\0\1\2" + struct.pack(">BHH", density is not None, across, down) + bytes(2))]
    starts = range(0, len(exif), LONGEST - 6)
    held += [
        (APP1, (b"" if place == 0 else exif[:6]) + exif[place : place + LONGEST - 6]) for place in starts
    ]
    chunks = [profile[place : place + 65_000] for place in range(0, len(profile), 65_000)]
    numbers = (bytes([number, len(chunks)]) for number in range(1, len(chunks) + 1))
    held += [(APP2, ICC_START + number + chunk) for number, chunk in zip(numbers, chunks, strict=True)]
    for marker, start, data in ((APP1, XMP_START, xmp), (APP13, PHOTOSHOP_START, iptc), (COM, b"", comment)):
        if data and fits(data):
            held.append((marker, start + data))
    return b"".join(struct.pack(">BBH", 0xFF, marker, len(data) + 2) + data for marker, data in held)


def fits(data: bytes) -> bool:
    """Whether a segment of each kind can hold so much."""
    return len(data) <= LONGEST - len(XMP_START)


def put(data: bytes, segments: bytes) -> bytes:
    """A JPEG with these segments in place of all that it has before its first quantisation table."""
    table = next(place - 2 for marker, place in jpeg.segments(data) if marker == DQT)
    return data[:2] + segments + data[table:]


def alone(xmp: bytes) -> bytes:
    """An XMP packet without the fields that announce a gain map, further pictures or a video.

    Fields are attributes, or elements with what they hold. Where some stay behind, as in a packet that is
    written in another way, none of it is returned: a viewer would look for what is not there.
    """
    for namespace, names in ANNOUNCING:
        for prefix in set(re.findall(rb"xmlns:([\w.-]+)\s*=\s*[\"']" + re.escape(namespace), xmp)):
            name = re.escape(prefix) + b":" + names
            attribute = rb"\s+" + name + rb"\s*=\s*(?:\"[^\"]*\"|'[^']*')"
            element = rb"\s*<(" + name + rb")(?:\s[^<>]*)?(?:/>|(?<!/)>.*?</\1\s*>)"
            xmp = re.sub(attribute, b"", re.sub(element, b"", xmp, flags=re.DOTALL))
            if re.search(rb"(?<!xmlns:)\b" + name + rb"\b", xmp):
                return b""
    return xmp


# ---- what stands behind the picture --------------------------------------------------------


def behind(data: bytes) -> tuple[str, ...]:
    """What a JPEG's file holds beside its first picture and what is told of it, in words for people."""
    rest = data[jpeg.end_of(data) :]
    found = [(marker, held) for marker, held in of(data) if marker in (APP1, APP2)]
    index = next((held[4:] for marker, held in found if marker == APP2 and held.startswith(INDEX_START)), b"")
    pictures = min(_pictures(index) - 1, rest.count(b"\xff\xd8\xff"))
    gain_map = any(start in rest for start in GAIN_MAPS)
    told, further = [], pictures - gain_map
    if further > 0:
        told.append(f"{further} further picture{'s' * (further > 1)} (a multi-picture file)")
    if gain_map:
        told.append("a gain map")
    if VIDEO.search(rest):
        told.append("a video")
    packets = [held[len(XMP_START) :] for _, held in found if held.startswith(XMP_START)]
    if any(xmp and not alone(xmp) for xmp in packets):
        told.append("XMP that announces it")
    if not told and rest.strip(b"\0\r\n \xff"):
        told.append("data of an unknown kind behind the picture")
    return tuple(told)


def _pictures(index: bytes) -> int:
    """The number of pictures that a multi-picture index tells; 0 where it is damaged."""
    order = {b"II*\0": "<", b"MM\0*": ">"}.get(index[:4])
    if order is None or len(index) < 10:
        return 0
    (place,) = struct.unpack_from(order + "I", index, 4)
    (count,) = struct.unpack_from(order + "H", index, place) if place <= len(index) - 2 else (0,)
    for entry in range(place + 2, min(place + 2 + 12 * count, len(index) - 11), 12):
        tag, _, _, value = struct.unpack_from(order + "HHII", index, entry)
        if tag == NUMBER_OF_PICTURES:
            return int(value)
    return 0
