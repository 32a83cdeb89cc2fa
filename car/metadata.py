"""What a file says beside its pixels: EXIF and its orientation, XMP, IPTC, comment, density, ICC profile."""

import contextlib
import io
import re
from collections.abc import Sequence
from typing import Any, NamedTuple, TypeVar

import numpy as np
from PIL import Image, ImageCms
from PIL.JpegImagePlugin import JpegImageFile

from car import ifd, levels, segments
from car.arrays import Pixels, Pixels16

Samples = TypeVar("Samples", Pixels, Pixels16)

GREY_MODES = ("1", "L", "LA", "La", "I", "I;16", "I;16L", "I;16B", "F")  # of PIL
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
    exif: bytes = b""  # to be saved with upright pixels; begins with ifd.EXIF_START
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
                return Metadata(ifd.upright([exif.removeprefix(ifd.EXIF_START)], [])[0])
            found = image.getexif().get(ifd.ORIENTATION, 1)
            return Metadata(found if found in range(1, 9) else 1)
        return Metadata()
    lost: list[str] = []
    orientation, exif = ifd.upright(_segments(image, "APP1", ifd.EXIF_START), lost)
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
