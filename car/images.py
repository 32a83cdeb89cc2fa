"""Images in: opened by their first bytes, decoded, the luma that JPEG codes.

All planes are uint8 numpy arrays in grey levels 0..255, [H, W] for luma and grey,
[H, W, 3] for RGB, and upright unless a docstring says that they lie on the coded grid.
"""

import contextlib
import io
import stat
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image
from PIL.BmpImagePlugin import BmpImageFile
from PIL.ImageFile import ImageFile
from PIL.JpegImagePlugin import JpegImageFile
from PIL.PngImagePlugin import PngImageFile
from PIL.PpmImagePlugin import PpmImageFile
from PIL.TiffImagePlugin import TiffImageFile
from PIL.WebPImagePlugin import WebPImageFile

from car import coded, find, foreign, history, jpeg, levels, metadata
from car.arrays import Floats, Levels, Pixels
from car.errors import BadImage

# By their first bytes. Pillow's own Image.open is not asked: it reaches all of its decoders, and has a limit
# of pixels, lower than MAX_PIXELS, that is one for the whole process.
LOSSLESS_TYPES: tuple[tuple[bytes, type[ImageFile]], ...] = (
    (b"BM", BmpImageFile),
    (b"\x89PNG\r\n\x1a\n", PngImageFile),
    *((start, TiffImageFile) for start in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")),
    *((b"P%d" % number, PpmImageFile) for number in range(1, 7)),
)
# Of pictures that may have been JPEGs once, by the names of find.OTHER_TYPES.
OTHER_READERS: dict[str, type[ImageFile]] = {
    "png": PngImageFile,
    "webp": WebPImageFile,
    "tiff": TiffImageFile,
    "bmp": BmpImageFile,
}
# Of files that are no clean pictures, so that the reason can name them: by the bytes from some place on.
HEIC_BRANDS = (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"hevm", b"hevs", b"mif1", b"msf1")
FOREIGN_TYPES = (
    (0, b"\xff\xd8\xff", "JPEG"),
    (0, b"GIF8", "GIF"),
    (8, b"WEBP", "WebP"),
    *((4, b"ftyp" + brand, "AVIF") for brand in (b"avif", b"avis")),
    *((4, b"ftyp" + brand, "HEIC") for brand in HEIC_BRANDS),
    (4, b"JXL ", "JPEG XL"),
    (4, b"jP  ", "JPEG 2000"),
    (0, b"\xff\x0a", "JPEG XL"),
    (0, b"8BPS", "PSD"),
    (0, b"%PDF", "PDF"),
    *((0, start, "a web page (HTML)") for start in (b"<!DOCTYPE", b"<!doctype", b"<html", b"<HTML")),
)
MAX_PIXELS = 500_000_000
# Huffman codes take at least a bit for each 8x8 block, 512 pixels a byte; libjpeg's blank pictures have 256.
LARGEST_JPEG_PIXELS_PER_BYTE = 1000
LARGEST_BYTES_PER_PIXEL = 8  # of the largest file that is read: 16-bit RGBA
NO_MEMORY = "the memory is not enough for it"
NO_END = "its last bytes, which say that it ends, are missing; all of the picture is there"
TIFF_WIDTH, TIFF_HEIGHT = 256, 257  # tags
MAX_SCANS = 100  # of a progressive JPEG; libjpeg writes 10. Each takes the time of a whole decoding


class Decoded(NamedTuple):
    """A decoded picture on its coded grid, before any EXIF rotation."""

    pixels: Levels  # uint8 [H, W] or [H, W, 3] RGB, what Pillow decodes; uint16 of pictures of 16 bits
    planes: tuple[
        coded.Plane, ...
    ]  # luma, and Cb and Cr of a file that codes them; none where nothing is to be corrected
    about: metadata.Metadata
    alpha: Pixels | None = None  # opacity, uint8 [H, W]; None where all is opaque
    white: int = 255  # the level of pixels that is white
    earlier: history.Saving | None = None  # that was found in it
    was_jpeg: bool = True  # or is one: else nothing but an earlier saving tells how coarse it is


def _open_jpeg(data: bytes, max_pixels: int) -> tuple[JpegImageFile, bytes]:
    """Open a JPEG from bytes, of a multi-picture file the first picture; only the header is read.

    Returns its bytes beside it: others than were given where these lacked nothing but their end.

    Raises BadImage for another type, and where the header asks for more memory or time than the
    bytes can be worth.
    """
    if not data.startswith(b"\xff\xd8\xff"):
        raise BadImage(f"is not a JPEG{_but(data)}")
    _check_frame(jpeg.frame_of(data))
    try:
        image = coded.FirstPicture(io.BytesIO(data))
    except (
        Exception
    ) as error:  # whatever Pillow's parsing stumbles over; its texts are of Python, not for people
        raise BadImage("its header is damaged or cut") from error
    _check_size(image, max_pixels)
    if image.width * image.height > LARGEST_JPEG_PIXELS_PER_BYTE * len(data):
        raise BadImage(f"says {image.width}x{image.height}, which {len(data)} bytes cannot hold")
    if data.count(b"\xff\xda") > MAX_SCANS and jpeg.scans_of(data) > MAX_SCANS:
        raise BadImage(f"has over {MAX_SCANS} scans")
    if not jpeg.has_end(data) and (ended := _with_end(data)):
        return coded.FirstPicture(io.BytesIO(ended)), ended
    return image, data


def _with_end(data: bytes) -> bytes | None:
    """The bytes of a JPEG that lacks its end, with it; None where more of the picture is missing."""
    if not jpeg.has_all_scans(data):
        return None
    ended, longer = jpeg.endings(data)
    try:
        one, other = (np.asarray(coded.FirstPicture(io.BytesIO(some))) for some in (ended, longer))
    except OSError:  # damaged in other ways too
        return None
    return ended if np.array_equal(one, other) else None


def _open_lossless(data: bytes, max_pixels: int) -> ImageFile:
    """Open an image of one of LOSSLESS_TYPES from bytes; only the header is read. Raises BadImage."""
    kind = next((kind for start, kind in LOSSLESS_TYPES if data.startswith(start)), None)
    if kind is None:
        raise BadImage(f"is not an image of a known type{_but(data)}")
    return _open_as(kind, data, max_pixels)


def _open_as(kind: type[ImageFile], data: bytes, max_pixels: int) -> ImageFile:
    """Open an image by Pillow's reader of its type; only the header is read. Raises BadImage."""
    if kind is TiffImageFile:
        foreign.check_tags(data)
    try:
        image = kind(io.BytesIO(data))
    except Image.DecompressionBombError:
        raise
    except Exception as error:  # whatever Pillow's parsing stumbles over
        raise BadImage("its header is damaged, cut, or of a kind that cannot be read") from error
    _check_size(image, max_pixels)
    return image


def _type_of(data: bytes) -> str:
    """What type bytes are of, where that is easily told: "PNG", else nothing."""
    types = [(0, start, kind.format) for start, kind in LOSSLESS_TYPES] + list(FOREIGN_TYPES)
    return next((str(name) for place, start, name in types if data.startswith(start, place)), "")


def _but(data: bytes) -> str:
    name = _type_of(data)
    return f" but {name}" if name else ""


def _check_size(image: Image.Image, max_pixels: int) -> None:
    """Raise BadImage for an opened image over the limit, or without pixels."""
    size, pixels = f"{image.width}x{image.height}", image.width * image.height
    if pixels > max_pixels:
        raise BadImage(f"{size} is over the limit of {max_pixels} pixels (--max-pixels)")
    if pixels == 0:
        raise BadImage(f"says {size}: no pixels")


def _check_frame(frame: jpeg.Frame | None) -> None:
    """Raise BadImage for a kind of JPEG that cannot be read. One without a frame is left to Pillow."""
    if frame is None:
        return
    if frame.marker in jpeg.UNSUPPORTED_FRAMES:
        raise BadImage(f"is a JPEG of a rare kind, {jpeg.UNSUPPORTED_FRAMES[frame.marker]}: not supported")
    if frame.bits != 8:
        raise BadImage(f"{frame.bits} bits a sample: not supported")
    if frame.components not in (1, 3, 4):
        raise BadImage(f"{frame.components} components: not supported")


@contextlib.contextmanager
def _decoding(data: bytes) -> Iterator[None]:
    """Name a rare kind of JPEG where Pillow, as it is built here, cannot decode it."""
    try:
        yield
    except OSError as error:
        frame = jpeg.frame_of(data)
        if frame and frame.marker in (*jpeg.LOSSLESS, *jpeg.ARITHMETIC):
            kind = "lossless JPEG" if frame.marker in jpeg.LOSSLESS else "arithmetic coding"
            raise BadImage(f"cannot be decoded: {kind}, damaged or not supported: {error}") from error
        raise


def read_bytes(path: Path, max_pixels: int = MAX_PIXELS) -> bytes:
    """Read a file whole. Raises BadImage for what is no file (a pipe would wait for ever) or too large."""
    try:
        about = path.stat()
        if not stat.S_ISREG(about.st_mode):
            raise BadImage("is a folder" if stat.S_ISDIR(about.st_mode) else "is not a file")
        if about.st_size > LARGEST_BYTES_PER_PIXEL * max_pixels:
            raise BadImage(f"has {about.st_size} bytes, more than {max_pixels} pixels need (--max-pixels)")
        data = path.read_bytes()
    except OSError as error:
        raise BadImage(f"cannot be read: {error.strerror}") from error
    if not data:
        raise BadImage("is empty (0 bytes)")
    return data


def lift_limit_of_pillow() -> None:
    """Take Pillow's own limit of pixels, for TIFF and WebP, from the whole process: max_pixels goes instead.

    For scripts. It is one of the few things that a process has once.
    """
    Image.MAX_IMAGE_PIXELS = None


@contextlib.contextmanager
def reading(name: str = "") -> Iterator[None]:
    """Let what reads an image raise nothing but BadImage, with its file's name, if any, and a reason."""
    start = f"{name}: " if name else ""
    try:
        yield
    except BadImage as error:
        raise BadImage(f"{start}{error}") from error
    except MemoryError as error:
        raise BadImage(f"{start}{NO_MEMORY}") from error
    except Exception as error:  # Pillow's plugins raise OSError, SyntaxError, struct.error, ...
        said = str(error) or repr(error)
        if isinstance(error, Image.DecompressionBombError):
            said = "has more pixels than Pillow reads (PIL.Image.MAX_IMAGE_PIXELS)"
        if said.startswith("decoder error"):  # Pillow's number for whatever libtiff stumbled over
            said = "its pixels are damaged or cut"
        raise BadImage(f"{start}cannot be decoded: {said}") from error


def read_jpeg(path: Path, max_pixels: int = MAX_PIXELS) -> Decoded:
    """Decode a JPEG for correction. Returns a Decoded; raises BadImage.

    The luma comes from the decoder itself (its YCbCr output), not from RGB: rounding to RGB
    and back would add an error of its own. Of a multi-picture file the first picture is read.
    """
    with reading(path.name):
        return decode_jpeg(read_bytes(path, max_pixels), max_pixels)


def decode_jpeg(data: bytes, max_pixels: int = MAX_PIXELS, header_only: bool = False) -> Decoded:
    """Decode the bytes of a JPEG file, as read_jpeg does; raises BadImage, and what Pillow raises.

    header_only: nothing is decoded, and all pixels and samples are 0 (one byte in memory for all of them).
    """
    image, whole = _open_jpeg(data, max_pixels)
    about = metadata.read(image, data)
    if whole is not data:
        data, about = whole, about._replace(noted=(NO_END, *about.noted))
    if header_only:
        blank = np.broadcast_to(np.uint8(0), (image.height, image.width))
        tables = () if jpeg.is_lossless(data) else coded.tables_of(image)
        pixels = blank if image.mode == "L" else np.broadcast_to(np.uint8(0), (*blank.shape, 3))
        return Decoded(pixels, tuple(coded.Plane(blank, table) for table in tables), about)
    with _decoding(data):
        # Opened again: else Pillow's own pixels, four bytes each, would stay while the planes are made.
        pixels = levels.to_plain(coded.FirstPicture(io.BytesIO(data)))
    planes = () if jpeg.is_lossless(data) else coded.planes_of(image, data, pixels)
    return Decoded(pixels, planes, about)


def read_picture(
    path: Path,
    types: Collection[str] = (),
    max_pixels: int = MAX_PIXELS,
    depth: levels.Depth | None = None,
    header_only: bool = False,
) -> Decoded:
    """Decode a JPEG, or a picture of one of these other types (of OTHER_READERS), for correction.

    Its bytes say what it is, whatever its name. header_only: of a JPEG, as decode_jpeg does. Raises BadImage.
    """
    with reading(path.name):
        return decode_picture(read_bytes(path, max_pixels), types, max_pixels, depth, header_only)


def decode_picture(
    data: bytes,
    types: Collection[str],
    max_pixels: int = MAX_PIXELS,
    depth: levels.Depth | None = None,
    header_only: bool = False,
) -> Decoded:
    """Decode the bytes of a file, as read_picture does; raises BadImage, and what Pillow raises."""
    name = _type_of(data).lower()
    if name in OTHER_READERS and name not in types:
        raise BadImage(f"is not a JPEG but {_type_of(data)} (--input-types {name} takes it)")
    if name not in types:
        return decode_jpeg(data, max_pixels, header_only)
    image = _open_as(OTHER_READERS[name], data, max_pixels)
    is_deep = levels.has_lower_bytes(image)  # asked for now: what is loaded has no tiles
    is_bilevel = image.mode == "1"
    pixels, white = levels.as_stored(image, depth)
    alpha = levels.alpha_of(image)
    notes = ["its 16 bits were read as 8"] if is_deep and pixels.dtype == np.uint8 else []
    notes += ["of its transparency 8 of 16 bits were read"] if is_deep and alpha is not None else []
    about = foreign.read(image, data)
    about = about._replace(noted=(*notes, *about.noted))
    plane = coded.Plane(levels.luma_of(levels.as_8_bits(pixels, white)), None)
    planes = () if is_bilevel else (plane,)  # black and white alone, which no JPEG has been
    return Decoded(pixels, planes, about, alpha, white, was_jpeg=False)


def _open_by_name(path: Path, data: bytes, max_pixels: int) -> ImageFile:
    """Open a JPEG, or an image of a lossless type, from bytes, as the path's suffix says. Raises BadImage."""
    if path.suffix.lower() in find.JPEG_SUFFIXES:
        return _open_jpeg(data, max_pixels)[0]
    return _open_lossless(data, max_pixels)


def read_pixels(path: Path, max_pixels: int = MAX_PIXELS, depth: levels.Depth | None = None) -> Pixels:
    """Read any image as uint8 pixels, grey [H, W] or RGB [H, W, 3], upright. Raises BadImage.

    16-bit grey images are scaled to 8 bits as depth says, transparency is dropped.
    """
    with reading(path.name):
        image = _open_by_name(path, read_bytes(path, max_pixels), max_pixels)
        return metadata.upright(levels.to_plain(image, depth), metadata.read(image).orientation)


class Luma(NamedTuple):
    """The luma of an image on its coded grid."""

    samples: Pixels  # uint8 [H, W]
    orientation: int  # by EXIF, 1..8
    table: Floats | None  # float32 [8, 8], of quantisation, of a JPEG that codes luma
    lossless: bool = False  # a lossless JPEG


def read_coded_luma(path: Path, max_pixels: int = MAX_PIXELS, depth: levels.Depth | None = None) -> Luma:
    """Read any image's luma as it is coded. Raises BadImage."""
    with reading(path.name):
        data = read_bytes(path, max_pixels)
        image, table = _open_by_name(path, data, max_pixels), None
        lossless = isinstance(image, JpegImageFile) and jpeg.is_lossless(data)
        if isinstance(image, JpegImageFile) and not lossless:
            if jpeg.coded_as_ycbcr(image):
                table = jpeg.table_of(image, 0)
            image.draft("L", None)  # libjpeg then gives the Y component alone
        luma = levels.luma_of(levels.to_plain(image, depth))
        # Asked for now, as Pillow turns a TIFF while it decodes it, and then says so.
        return Luma(luma, metadata.read(image).orientation, table, lossless)


def read_luma(path: Path, max_pixels: int = MAX_PIXELS, depth: levels.Depth | None = None) -> Pixels:
    """Read any image as luma, uint8 [H, W], upright. Raises BadImage.

    Grey images as they are; colour ones through full-range BT.601, which for a JPEG is the
    plane that the file codes.
    """
    luma = read_coded_luma(path, max_pixels, depth)
    return metadata.upright(luma.samples, luma.orientation)


def size_of(path: Path, max_pixels: int = MAX_PIXELS) -> tuple[int, int]:
    """Height and width of any image, upright, by its header. Raises BadImage."""
    with reading(path.name):
        image = _open_by_name(path, read_bytes(path, max_pixels), max_pixels)
        size = image.height, image.width
        if isinstance(image, TiffImageFile):  # of which Pillow tells the size upright already, or not
            size = int(image.tag_v2[TIFF_HEIGHT]), int(image.tag_v2[TIFF_WIDTH])
        return size[::-1] if metadata.read(image).orientation >= 5 else size


def check_same_size(path: Path, jpg: tuple[int, ...], clean: tuple[int, ...]) -> None:
    """Raise BadImage, naming the JPG's path, where the sizes (height, width) of a pair differ."""
    if jpg != clean:
        sizes = f"JPG {jpg[1]}x{jpg[0]}, clean picture {clean[1]}x{clean[0]}"
        raise BadImage(f"{path.name}: the pair differs in size: {sizes}")


def jpeg_bytes(pixels: Pixels, quality: int, sampling: str | None = None) -> bytes:
    """Grey [H, W] or RGB [H, W, 3] uint8 pixels as a JPEG file at a quality of 1..100.

    sampling: of chroma, "4:4:4", "4:2:2" or "4:2:0", which Pillow takes where it is not told.
    """
    file = io.BytesIO()
    told = {} if sampling is None else {"subsampling": sampling}
    Image.fromarray(pixels).save(file, "JPEG", quality=quality, **told)
    return file.getvalue()
