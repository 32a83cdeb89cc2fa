"""A picture written to a file in one of five formats, with all that the format holds of its metadata.

Pillow writes them, but for two. Of 16 bits it knows no colours: such a PNG is its own in all but the pixels.
And in a TIFF it writes EXIF again, which breaks what points into it, as a MakerNote does: here the file
begins with the EXIF, a TIFF file itself, byte for byte, and a directory follows behind the pixels (TIFF 6.0).
"""

import io
import math
import struct
import zlib
from collections.abc import Iterator
from typing import IO, Any

import numpy as np
from PIL import Image
from PIL.PngImagePlugin import PngInfo, putchunk

from car import foreign, ifd, metadata, segments
from car.arrays import Levels, Pixels, Pixels16
from car.errors import BadImage
from car.metadata import Metadata

JPEG_QUALITY = 95
# A new saving loses less than correction has gained where its table is so much finer than the file's own, and
# the file is no finer than this: 96 and above gain too little (benchmarks/saved.py).
FINER, FINEST_TO_GAIN = 0.3, 0.09
LARGEST_SIDE = {"jpg": 65_500, "webp": 16_383}  # in pixels; libjpeg's, and the format's
LARGEST_TIFF = 2**32 - 2**25  # bytes of pixels, so that places have 32 bits where nothing can be compressed
STRIP_BYTES = 2**18  # of pixels that are compressed together
BYTE, ASCII, SHORT, LONG, RATIONAL, UNDEFINED = 1, 2, 3, 4, 5, 7  # types of TIFF
WIDTH, HEIGHT, BITS, COMPRESSION, COLOURS, DESCRIPTION = 256, 257, 258, 259, 262, 270  # tags
STRIPS, SAMPLES, ROWS, STRIP_SIZES, PREDICTOR, EXTRA = 273, 277, 278, 279, 317, 338
X_DENSITY, Y_DENSITY, UNIT, XMP, IPTC, PHOTOSHOP, ICC = 282, 283, 296, 700, 33723, 34377, 34675
DEFLATE, HORIZONTAL, INCH = 8, 2, 2  # values of COMPRESSION, PREDICTOR, UNIT
NOT_MULTIPLIED = 2  # of EXTRA: opacity, by which the colours are not multiplied
# Tags of EXIF's first directory that do not hold for the TIFF's own pixels.
NOT_TAKEN = foreign.OF_PIXELS - {X_DENSITY, Y_DENSITY, UNIT}


def check_size(pixels: Pixels | Pixels16, form: str) -> None:
    """Raise BadImage for pixels [H, W, ...] that a format cannot hold."""
    height, width = pixels.shape[:2]
    if max(height, width) > LARGEST_SIDE.get(form, height + width):
        raise BadImage(
            f"{width}x{height} is too large for {form.upper()}, which ends at {LARGEST_SIDE[form]} pixels a "
            f"side; take --format png or tiff"
        )
    if form == "tiff" and pixels.nbytes > LARGEST_TIFF:
        raise BadImage(f"{width}x{height} can have over 4 GiB as TIFF; take --format png")


def jpeg_quality_for(coarseness: float | None) -> int | None:
    """The quality, 1..100, at which a corrected JPEG is saved again without harm; None where none is.

    coarseness: of its luma's table (jpeg.coarseness); None where none is known.
    """
    if coarseness is None:
        return JPEG_QUALITY
    return None if coarseness < FINEST_TO_GAIN else max(JPEG_QUALITY, coarsest_quality_for(coarseness))


def coarsest_quality_for(coarseness: float) -> int:
    """The least quality at which a new saving still loses less than correction has gained."""
    return max(1, math.ceil(100 - 50 * FINER * coarseness))  # jpeg.coarseness_of_quality


def write(
    file: IO[bytes],
    pixels: Levels,
    about: Metadata,
    form: str,
    jpeg_quality: int = JPEG_QUALITY,
    alpha: Pixels | None = None,
) -> None:
    """Write upright pixels, uint8 [H, W] or RGB [H, W, 3], to a file that is at its beginning.

    form: of metadata.HELD; TIFF and PNG hold uint16 too. What was a JPEG lies in a new one as it was coded,
    with the segments that it had.
    alpha: opacity, uint8 [H, W]; dropped where metadata.HELD_OF_PIXELS has none.
    """
    if alpha is not None and "transparency" in metadata.HELD_OF_PIXELS[form]:
        pixels = np.dstack([pixels, alpha if pixels.dtype == np.uint8 else alpha.astype(np.uint16) * 257])
    if form == "jpg":
        file.write(_jpeg(pixels.astype(np.uint8, copy=False), about, jpeg_quality))
    elif form == "tiff":
        _write_tiff(file, pixels, about)
    elif pixels.dtype == np.uint16:
        _write_png_of_16_bits(file, pixels, about)
    else:
        Image.fromarray(pixels).save(file, form.upper(), **_options(about, form))


def _jpeg(pixels: Pixels, about: Metadata, quality: int) -> bytes:
    """Upright pixels as a JPEG, 4:4:4."""
    if (own := about.segments) is not None:  # whose EXIF has the orientation still
        pixels = metadata.turned_back(pixels, about.orientation)
    else:
        own = segments.made(
            *(about.density, about.exif, about.xmp, about.iptc, about.icc_profile or b"", about.comment)
        )
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "JPEG", quality=quality, subsampling="4:4:4")
    return segments.put(file.getvalue(), own)


def _options(about: Metadata, form: str) -> dict[str, Any]:
    """What Pillow's `save` is to be given for BMP, PNG and WebP."""
    held = metadata.held(about, form)
    density, xmp, comment = (held.pop(name, None) for name in ("density", "xmp", "comment"))
    keyed, colours = (held.pop(name, ()) for name in ("texts", "colours"))
    if density:
        held["dpi"] = density
    if form == "webp":
        return {"lossless": True, "exact": True, **held, **({"xmp": xmp} if xmp else {})}
    if xmp or comment or keyed or colours:
        held["pnginfo"] = texts = PngInfo()
        for kind, data in colours:
            texts.add(kind, data)
        for keyword, text in keyed:
            texts.add_text(keyword, text)
        if xmp:
            texts.add_itxt("XML:com.adobe.xmp", xmp)
        if comment:
            texts.add_text("Comment", metadata.decoded(comment))
    return held


def _write_png_of_16_bits(file: IO[bytes], pixels: Pixels | Pixels16, about: Metadata) -> None:
    """Write Pillow's PNG of one black pixel, with its size, depth and data replaced (PNG 3rd edition)."""
    small = io.BytesIO()
    Image.fromarray(np.zeros_like(pixels[:1, :1], np.uint8)).save(small, "PNG", **_options(about, "png"))
    file.write(small.getvalue()[:8])
    small.seek(8)
    while start := small.read(8):  # of a chunk: length of its data, kind
        kind, data = start[4:], small.read(int.from_bytes(start[:4], "big"))
        small.seek(4, io.SEEK_CUR)  # its checksum
        if kind == b"IHDR":
            putchunk(file, kind, struct.pack(">IIB", pixels.shape[1], pixels.shape[0], 16), data[9:])
        elif kind == b"IDAT":
            for strip in _deflated_rows(pixels):
                putchunk(file, kind, strip)
        else:
            putchunk(file, kind, data)


def _deflated_rows(pixels: Pixels | Pixels16) -> Iterator[bytes]:
    """The data of a PNG's pixels: each byte less the one above it, the filter Up (section 9.2)."""
    compressing, up, rows = zlib.compressobj(), 2, _rows_in_strip(pixels)
    above = np.zeros((1, pixels[0].nbytes), np.uint8)
    for top in range(0, len(pixels), rows):
        samples = pixels[top : top + rows].astype(f">u{pixels.itemsize}").view(np.uint8)
        samples = samples.reshape(-1, above.size)
        filtered = np.diff(samples, axis=0, prepend=above)
        above = samples[-1:]
        yield compressing.compress(np.insert(filtered, 0, up, axis=1).tobytes())
    yield compressing.flush()


# ---- TIFF ----------------------------------------------------------------------------------

Tag = tuple[int, int, bytes]  # type, count of values, the values


def _write_tiff(file: IO[bytes], pixels: Pixels | Pixels16, about: Metadata) -> None:
    """Write pixels, uint8 or uint16, losslessly compressed."""
    start = about.exif[len(ifd.EXIF_START) :] or b"II*\0\0\0\0\0"
    old, sign = ifd.first_directory(start), "<" if start.startswith(b"II") else ">"
    size = file.write(start)

    def add(data: bytes) -> int:
        """Write some bytes at an even place. Returns it."""
        nonlocal size
        place = size + size % 2
        size += file.write(b"\0" * (size % 2) + data)
        return place

    tags = _pixel_tags(sign, pixels) | _metadata_tags(sign, about)
    if about.comment:  # a further text of the description (section 2, ASCII)
        texts = b"".join(entry.values_in(start) for entry in old if entry.tag == DESCRIPTION)
        texts += about.comment + b"\0"
        tags[DESCRIPTION] = ASCII, len(texts), texts
    places, sizes = [], []
    for strip in _strips(pixels, sign):
        places.append(add(strip))
        sizes.append(len(strip))
    tags |= {STRIPS: _numbers(sign, LONG, *places), STRIP_SIZES: _numbers(sign, LONG, *sizes)}
    entries = {e.tag: start[e.place : e.place + 12] for e in old if e.tag not in NOT_TAKEN}
    for tag, (kind, count, values) in tags.items():
        if len(values) > 4:
            values = struct.pack(sign + "I", add(values))
        entries[tag] = struct.pack(sign + "HHI", tag, kind, count) + values.ljust(4, b"\0")
    place = add(
        struct.pack(sign + "H", len(entries)) + b"".join(entries[tag] for tag in sorted(entries)) + bytes(4)
    )
    file.seek(4)
    file.write(struct.pack(sign + "I", place))


def _strips(pixels: Pixels | Pixels16, sign: str) -> Iterator[bytes]:
    """The strips of rows, each sample less the one to its left (TIFF 6.0, section 14), deflated."""
    samples = pixels.reshape(*pixels.shape[:2], -1)
    rows = _rows_in_strip(pixels)
    for top in range(0, len(samples), rows):
        strip = np.diff(samples[top : top + rows], axis=1, prepend=samples.dtype.type(0))
        yield zlib.compress(strip.astype(f"{sign}u{pixels.itemsize}").tobytes())


def _rows_in_strip(pixels: Pixels | Pixels16) -> int:
    return max(1, STRIP_BYTES // pixels[0].nbytes)


def _numbers(sign: str, kind: int, *values: int) -> Tag:
    return kind, len(values), struct.pack(f"{sign}{len(values)}{'H' if kind == SHORT else 'I'}", *values)


def _pixel_tags(sign: str, pixels: Pixels | Pixels16) -> dict[int, Tag]:
    samples, (height, width) = 1 if pixels.ndim == 2 else pixels.shape[2], pixels.shape[:2]
    alpha = {EXTRA: _numbers(sign, SHORT, NOT_MULTIPLIED)} if samples in (2, 4) else {}
    return {
        WIDTH: _numbers(sign, LONG, width),
        HEIGHT: _numbers(sign, LONG, height),
        BITS: _numbers(sign, SHORT, *[8 * pixels.itemsize] * samples),
        COMPRESSION: _numbers(sign, SHORT, DEFLATE),
        COLOURS: _numbers(sign, SHORT, 1 if samples < 3 else 2),  # 0 is black; RGB
        SAMPLES: _numbers(sign, SHORT, samples),
        ROWS: _numbers(sign, LONG, _rows_in_strip(pixels)),
        PREDICTOR: _numbers(sign, SHORT, HORIZONTAL),
        **alpha,
    }


def _metadata_tags(sign: str, about: Metadata) -> dict[int, Tag]:
    """What is kept beside EXIF and comment."""
    tags: dict[int, Tag] = {}
    if about.density:
        for tag, dots in zip((X_DENSITY, Y_DENSITY), about.density, strict=True):
            tags[tag] = RATIONAL, 1, struct.pack(sign + "II", round(dots * 100), 100)
        tags[UNIT] = _numbers(sign, SHORT, INCH)
    blocks = (
        (XMP, BYTE, about.xmp),
        (IPTC, UNDEFINED, metadata.iptc_of(about.iptc)),
        (PHOTOSHOP, BYTE, about.iptc),
        (ICC, UNDEFINED, about.icc_profile),
    )
    return tags | {tag: (kind, len(data), data) for tag, kind, data in blocks if data}
