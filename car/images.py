"""Images in: finding files, decoding them, the luma that JPEG codes.

All planes are uint8 numpy arrays in grey levels 0..255, [H, W] for luma and grey,
[H, W, 3] for RGB, and upright unless a docstring says that they lie on the coded grid.
"""

import contextlib
import io
import stat
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageCms
from PIL.BmpImagePlugin import BmpImageFile
from PIL.ImageFile import ImageFile
from PIL.JpegImagePlugin import JpegImageFile
from PIL.PngImagePlugin import PngImageFile
from PIL.PpmImagePlugin import PpmImageFile
from PIL.TiffImagePlugin import TiffImageFile

from car import jpeg, metadata
from car.arrays import Floats, Pixels
from car.errors import BadImage

JPEG_SUFFIXES = (".jpg", ".jpeg")
LOSSLESS_SUFFIXES = (".bmp", ".png", ".tif", ".tiff", ".pgm", ".ppm")
# By their first bytes. Pillow's own Image.open is not asked: it reaches all of its decoders, and has a limit
# of pixels, lower than MAX_PIXELS, that is one for the whole process.
LOSSLESS_TYPES: tuple[tuple[bytes, type[ImageFile]], ...] = (
    (b"BM", BmpImageFile),
    (b"\x89PNG\r\n\x1a\n", PngImageFile),
    *((start, TiffImageFile) for start in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")),
    *((b"P%d" % number, PpmImageFile) for number in range(1, 7)),
)
# Of files that are not read, so that the reason can name them: by the bytes from some place on.
FOREIGN_TYPES = (
    (0, b"\xff\xd8\xff", "JPEG"),
    (0, b"GIF8", "GIF"),
    (8, b"WEBP", "WebP"),
    *((4, b"ftyp" + brand, "AVIF") for brand in (b"avif", b"avis")),
    *((4, b"ftyp" + brand, "HEIC") for brand in (b"heic", b"heix", b"hevc", b"hevx", b"mif1", b"msf1")),
    (4, b"JXL ", "JPEG XL"),
    (4, b"jP  ", "JPEG 2000"),
)
MAX_PIXELS = 500_000_000
# Huffman codes take at least a bit for each 8x8 block, 512 pixels a byte; libjpeg's blank pictures have 256.
LARGEST_JPEG_PIXELS_PER_BYTE = 1000
LARGEST_BYTES_PER_PIXEL = 8  # of the largest file that is read: 16-bit RGBA
SCANNER_BITS = 12  # of CT and of most scanners and sensors, stored in 16
MAX_SCANS = 100  # of a progressive JPEG; libjpeg writes 10. Each takes the time of a whole decoding


class Plane(NamedTuple):
    """One component of a JPEG on its own grid: the chroma's may have half the rows and columns."""

    samples: Pixels  # uint8 [h, w], decoded
    table: Floats | None  # float32 [8, 8], of quantisation; None where samples are not as coded


class Jpeg(NamedTuple):
    """A decoded JPEG on its coded grid, before any EXIF rotation."""

    pixels: Pixels  # uint8 [H, W] or [H, W, 3] RGB, what Pillow decodes
    planes: tuple[Plane, ...]  # luma, and Cb and Cr of a file that codes them; none of a lossless JPEG
    about: metadata.Metadata  # without a profile where that was used up in converting CMYK


# ---- finding files -----------------------------------------------------------------------


def find(folder: Path, suffixes: Sequence[str]) -> list[Path]:
    """Return the paths of the files with these suffixes (any case), sorted by name; no hidden ones."""
    return [
        path
        for path in sorted(folder.iterdir())
        if path.suffix.lower() in suffixes and not path.name.startswith(".")
    ]


def by_stem(folder: Path, suffixes: Sequence[str]) -> dict[str, list[Path]]:
    """Return {stem: paths} of these files: two or more where names differ in the type alone."""
    found: dict[str, list[Path]] = {}
    for path in find(folder, suffixes):
        found.setdefault(path.stem, []).append(path)
    return found


def find_jpegs(folder: Path) -> list[Path]:
    """Return the JPEG paths of a folder, sorted."""
    return find(folder, JPEG_SUFFIXES)


def find_bmp(jpg: Path) -> Path | None:
    """Return the path of the BMP beside a JPEG (any case of .bmp), or None."""
    for suffix in (".bmp", ".BMP", ".Bmp"):
        if (bmp := jpg.with_suffix(suffix)).exists():
            return bmp
    return None


# ---- decoding ----------------------------------------------------------------------------


class FirstPicture(JpegImageFile):
    """Pillow's reader of JPEGs by itself: no index of further pictures, no resolution from the EXIF.

    Where one of these is damaged, Pillow would not open the file at all.
    """

    def _read_dpi_from_exif(self) -> None: ...


def _open_jpeg(data: bytes, max_pixels: int) -> JpegImageFile:
    """Open a JPEG from bytes, of a multi-picture file the first picture; only the header is read.

    Raises BadImage for another type, and where the header asks for more memory or time than the
    bytes can be worth.
    """
    if not data.startswith(b"\xff\xd8\xff"):
        raise BadImage(f"is not a JPEG{_type_of(data)}")
    _check_frame(jpeg.frame_of(data))
    try:
        image = FirstPicture(io.BytesIO(data))
    except (
        Exception
    ) as error:  # whatever Pillow's parsing stumbles over; its texts are of Python, not for people
        raise BadImage("its header is damaged or cut") from error
    _check_size(image, max_pixels)
    if image.width * image.height > LARGEST_JPEG_PIXELS_PER_BYTE * len(data):
        raise BadImage(f"says {image.width}x{image.height}, which {len(data)} bytes cannot hold")
    if data.count(b"\xff\xda") > MAX_SCANS and jpeg.scans_of(data) > MAX_SCANS:
        raise BadImage(f"has over {MAX_SCANS} scans")
    return image


def _open_lossless(data: bytes, max_pixels: int) -> ImageFile:
    """Open an image of one of LOSSLESS_TYPES from bytes; only the header is read. Raises BadImage."""
    kind = next((kind for start, kind in LOSSLESS_TYPES if data.startswith(start)), None)
    if kind is None:
        raise BadImage(f"is not an image of a known type{_type_of(data)}")
    try:
        image = kind(io.BytesIO(data))
    except Exception as error:  # whatever Pillow's parsing stumbles over
        raise BadImage("its header is damaged, cut, or of a kind that cannot be read") from error
    _check_size(image, max_pixels)
    return image


def _type_of(data: bytes) -> str:
    """What foreign bytes are, where that is easily told: " but PNG", else nothing."""
    types = [(0, start, kind.format) for start, kind in LOSSLESS_TYPES] + list(FOREIGN_TYPES)
    return next((f" but {name}" for place, start, name in types if data.startswith(start, place)), "")


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


def _read_bytes(path: Path, max_pixels: int) -> bytes:
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


@contextlib.contextmanager
def reading(name: str = "") -> Iterator[None]:
    """Let what reads an image raise nothing but BadImage, with its file's name, if any, and a reason."""
    start = f"{name}: " if name else ""
    try:
        yield
    except BadImage as error:
        raise BadImage(f"{start}{error}") from error
    except Exception as error:  # Pillow's plugins raise OSError, SyntaxError, struct.error, ...
        raise BadImage(f"{start}cannot be decoded: {str(error) or repr(error)}") from error


def _cmyk_to_rgb(image: Image.Image) -> Image.Image:
    """Convert CMYK to sRGB by the embedded profile, plainly where there is none."""
    image.load()
    if not (profile := image.info.get("icc_profile")):
        return image.convert("RGB")
    try:
        press, screen = ImageCms.ImageCmsProfile(io.BytesIO(profile)), ImageCms.createProfile("sRGB")
        return ImageCms.buildTransform(press, screen, image.mode, "RGB").apply(image)
    except (ImageCms.PyCMSError, OSError, ValueError, TypeError) as error:
        raise BadImage(f"its colour profile, by which CMYK is read, cannot be used: {error}") from error


def read_jpeg(path: Path, max_pixels: int = MAX_PIXELS) -> Jpeg:
    """Decode a JPEG for correction. Returns a Jpeg; raises BadImage.

    The luma comes from the decoder itself (its YCbCr output), not from RGB: rounding to RGB
    and back would add an error of its own. Of a multi-picture file the first picture is read.
    """
    with reading(path.name):
        return decode_jpeg(_read_bytes(path, max_pixels), max_pixels)


def decode_jpeg(data: bytes, max_pixels: int = MAX_PIXELS) -> Jpeg:
    """Decode the bytes of a JPEG file, as read_jpeg does; raises BadImage, and what Pillow raises."""
    image = _open_jpeg(data, max_pixels)
    about = metadata.read(image)
    if image.mode == "CMYK":
        about = about._replace(icc_profile=None)
    with _decoding(data):
        pixels = _to_plain(image)
    planes = () if jpeg.is_lossless(data) else _coded_planes(image, data, pixels)
    return Jpeg(pixels, planes, about)


def _coded_planes(image: JpegImageFile, data: bytes, pixels: Pixels) -> tuple[Plane, ...]:
    """The planes of a JPEG, given opened, as bytes and decoded. Luma is made where none is coded."""
    if not jpeg.coded_as_ycbcr(image):
        return (Plane(luma_of(pixels), None),)
    tables = [jpeg.table_of(image, component) for component in range(len(image.layer))]
    if pixels.ndim == 2:
        return (Plane(pixels, tables[0]),)
    luma, *chroma = (component[1:3] for component in image.layer)
    coarser = [(luma[0] / own[0], luma[1] / own[1]) for own in chroma]  # than luma's grid, across and down
    by_half = min(pixels.shape[:2]) > 1
    halved = _draft(data, "YCbCr", halved=True) if by_half and (2, 2) in coarser else pixels
    whole = pixels if by_half and set(coarser) == {(2, 2)} else _draft(data, "YCbCr")
    planes = [
        Plane(halved[..., number], tables[number])
        if by_half and factors == (2, 2)
        else _coded_chroma(whole[..., number], tables[number], *factors)
        for number, factors in enumerate(coarser, start=1)
    ]
    return Plane(_draft(data, "L"), tables[0]), *planes


def _coded_chroma(decoded: Pixels, table: Floats | None, across: float, down: float) -> Plane:
    """A plane as it is coded, from what the decoder made of it at luma's size, [H, W].

    across, down: by how much its grid is coarser. libjpeg repeats samples, but where one of the two is 2 and
    the other 1 it interpolates (jdsample.c, "fancy upsampling").
    """
    if (across, down) == (1, 1):
        return Plane(decoded, table)
    if (across, down) == (2, 1) and decoded.shape[1] > 4:
        return Plane(_before_doubling(decoded), table)
    if (across, down) == (1, 2) and decoded.shape[0] > 4:
        return Plane(np.ascontiguousarray(_before_doubling(decoded.T).T), table)
    if (across, down) == (2, 2) or across % 1 or down % 1:
        return Plane(decoded, None)  # such a plane cannot be had as it is coded
    return Plane(decoded[:: int(down), :: int(across)], table)


def _before_doubling(decoded: Pixels) -> Pixels:
    """Rows [H, W] of samples c before libjpeg doubled them: [H, ceil(W / 2)].

    It writes (3 c[i] + c[i - 1]) / 4 and (3 c[i] + c[i + 1]) / 4, the first and the last sample as they are.
    Of two neighbours between the same samples, a = (3 c[i] + c[i + 1]) / 4 and b = (3 c[i + 1] + c[i]) / 4,
    follow c[i] = (3 a - b) / 2 and c[i + 1] = (3 b - a) / 2, but for rounding. Each sample is the mean of the
    two values that are found of it.
    """
    width = decoded.shape[1]
    samples = decoded.astype(np.int32)
    a, b = samples[:, 1 : width - 1 : 2], samples[:, 2::2]
    found = np.zeros((len(samples), (width + 1) // 2), np.float32)
    counts = np.zeros(found.shape[1], np.float32)
    for values, place in (
        ((3 * a - b) / 2, slice(0, a.shape[1])),
        ((3 * b - a) / 2, slice(1, 1 + b.shape[1])),
    ):
        found[:, place] += values
        counts[place] += 1
    found /= counts
    found[:, 0] = samples[:, 0]
    if width % 2 == 0:
        found[:, -1] = samples[:, -1]
    return np.clip(np.rint(found), 0, 255).astype(np.uint8)


def _draft(data: bytes, mode: str, halved: bool = False) -> Pixels:
    """Let libjpeg give luma alone ("L"), or "YCbCr"; halved: at half the size.

    Halved it gives chroma that is coded at half the size (4:2:0) as coded, without interpolation.
    """
    image = FirstPicture(io.BytesIO(data))
    image.draft(mode, (image.width // 2, image.height // 2) if halved else None)
    return np.asarray(image)


@dataclass
class Depth:
    """How many bits images of 16 bits use, and what was found of those that were read with it."""

    bits: int | None = None  # 9..16; None: 12 where no level is higher, else 16
    images: int = 0  # that were read
    found: int = 0  # of them those that were taken for 12 bits, as nothing said it

    def describe(self) -> str:
        """What was found, for people; nothing where no image was taken for 12 bits."""
        if not self.found:
            return ""
        return f"{self.found} of {self.images} images use {SCANNER_BITS} of 16 bits: scaled by that (--bits)"

    def scaled(self, levels: Pixels | npt.NDArray[Any]) -> Pixels:
        """Grey levels [H, W] of 16 bits as uint8. Raises BadImage for levels that the bits do not hold."""
        lowest, highest = int(levels.min()), int(levels.max())
        if lowest < 0 or highest > 65535:
            raise BadImage("has grey levels outside 0..65535")
        bits = self.bits or (SCANNER_BITS if highest < 2**SCANNER_BITS else 16)
        if highest >= 2**bits:
            raise BadImage(f"has grey level {highest}, which {bits} bits do not hold (--bits)")
        self.found += self.bits is None and bits == SCANNER_BITS
        return _scaled(levels, bits)


def _scaled(levels: npt.NDArray[Any], bits: int) -> Pixels:
    """Levels of 0..2**bits - 1 as 0..255, to the nearest."""
    most = 2**bits - 1
    return ((levels.astype(np.int64) * 510 + most) // (2 * most)).astype(np.uint8)


def _is_colour_of_16_bits(image: Image.Image) -> bool:
    """Whether an opened image has 16 bits a sample, of which Pillow gives the upper eight alone."""
    if not isinstance(image, ImageFile) or not image.tile or image.mode.startswith("I"):
        return False
    args = image.tile[0].args
    raw = args if isinstance(args, str) else str(args[0]) if args else ""
    return ";16" in raw or _largest_level(image) == 65535


def _largest_level(image: Image.Image) -> int | None:
    """The largest level that an opened PGM or PPM declares, by which Pillow scales it."""
    if not isinstance(image, PpmImageFile) or not image.tile or not isinstance(image.tile[0].args, tuple):
        return None
    return int(image.tile[0].args[-1])


def _to_plain(image: Image.Image, depth: Depth | None = None) -> Pixels:
    """Turn an opened image of any mode into uint8 grey [H, W] or RGB [H, W, 3] pixels on its grid."""
    depth = depth or Depth()
    depth.images += 1
    if image.mode == "CMYK":
        image = _cmyk_to_rgb(image)
    if image.mode.startswith("I"):
        declared = _largest_level(image) not in (None, 65535)  # Pillow has scaled such a map to 16 bits
        levels = np.asarray(image)
        return _scaled(levels, 16) if declared else depth.scaled(levels)
    if image.mode == "F":
        raise BadImage("holds floating-point grey levels, whose range is not known")
    is_colour_of_16_bits = _is_colour_of_16_bits(image)
    pixels = np.asarray(image.convert("L" if image.mode in ("1", "L", "LA") else "RGB"))
    # Of 12 bits the upper eight of 16 hold four, too few to be scaled.
    if is_colour_of_16_bits and depth.bits != 16 and (depth.bits or pixels.max() < 16):
        bits = depth.bits or SCANNER_BITS
        raise BadImage(f"uses {bits} of its 16 bits in colour, which cannot be read here; save it as 8 bits")
    return pixels


def _open_by_name(path: Path, data: bytes, max_pixels: int) -> ImageFile:
    """Open a JPEG, or an image of a lossless type, from bytes, as the path's suffix says. Raises BadImage."""
    opening = _open_jpeg if path.suffix.lower() in JPEG_SUFFIXES else _open_lossless
    return opening(data, max_pixels)


def read_pixels(path: Path, max_pixels: int = MAX_PIXELS, depth: Depth | None = None) -> Pixels:
    """Read any image as uint8 pixels, grey [H, W] or RGB [H, W, 3], upright. Raises BadImage.

    16-bit grey images are scaled to 8 bits as depth says, transparency is dropped.
    """
    with reading(path.name):
        image = _open_by_name(path, _read_bytes(path, max_pixels), max_pixels)
        return metadata.upright(_to_plain(image, depth), metadata.read(image).orientation)


class Luma(NamedTuple):
    """The luma of an image on its coded grid."""

    samples: Pixels  # uint8 [H, W]
    orientation: int  # by EXIF, 1..8
    table: Floats | None  # float32 [8, 8], of quantisation, of a JPEG that codes luma
    lossless: bool = False  # a lossless JPEG


def read_coded_luma(path: Path, max_pixels: int = MAX_PIXELS, depth: Depth | None = None) -> Luma:
    """Read any image's luma as it is coded. Raises BadImage."""
    with reading(path.name):
        data = _read_bytes(path, max_pixels)
        image, table = _open_by_name(path, data, max_pixels), None
        orientation = metadata.read(image).orientation
        if isinstance(image, JpegImageFile) and jpeg.is_lossless(data):
            return Luma(luma_of(_to_plain(image)), orientation, None, lossless=True)
        if isinstance(image, JpegImageFile):
            if jpeg.coded_as_ycbcr(image):
                table = jpeg.table_of(image, 0)
            image.draft("L", None)  # libjpeg then gives the Y component alone
        return Luma(luma_of(_to_plain(image, depth)), orientation, table)


def read_luma(path: Path, max_pixels: int = MAX_PIXELS, depth: Depth | None = None) -> Pixels:
    """Read any image as luma, uint8 [H, W], upright. Raises BadImage.

    Grey images as they are; colour ones through full-range BT.601, which for a JPEG is the
    plane that the file codes.
    """
    luma = read_coded_luma(path, max_pixels, depth)
    return metadata.upright(luma.samples, luma.orientation)


def check_same_size(path: Path, jpg: Pixels, bmp: Pixels) -> None:
    """Raise BadImage, naming the JPG's path, where its pixels and its BMP's differ in height or width."""
    if jpg.shape[:2] != bmp.shape[:2]:
        (height, width), (bmp_height, bmp_width) = jpg.shape[:2], bmp.shape[:2]
        raise BadImage(
            f"{path.name}: the pair differs in size: JPG {width}x{height}, BMP {bmp_width}x{bmp_height}"
        )


# ---- pixels ------------------------------------------------------------------------------


def luma_of(pixels: Pixels) -> Pixels:
    """Full-range BT.601 luma, uint8 [H, W], of grey [H, W] or RGB [H, W, 3] uint8 pixels (JFIF)."""
    return pixels if pixels.ndim == 2 else np.asarray(Image.fromarray(pixels).convert("L"))


def jpeg_bytes(pixels: Pixels, quality: int) -> bytes:
    """Grey [H, W] or RGB [H, W, 3] uint8 pixels as a JPEG file at a quality of 1..100, chroma 4:2:0."""
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "JPEG", quality=quality)
    return file.getvalue()
