"""Images in and out: finding and pairing files, decoding them, the luma that JPEG codes.

All planes are uint8 numpy arrays in grey levels 0..255, [H, W] for luma and grey,
[H, W, 3] for RGB, and upright unless a docstring says that they lie on the coded grid.
"""

import functools
import io
import re
import stat
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Concatenate, NamedTuple, ParamSpec, TypeVar

import numpy as np
from car_shell import UserError
from PIL import Image, ImageCms, ImageDraw, ImageOps, UnidentifiedImageError
from PIL.ImageFile import ImageFile
from PIL.JpegImagePlugin import JpegImageFile

from car_jpeg import coded_as_ycbcr, share_contradicted, steps_of
from car_types import Floats, Pixels

JPEG_SUFFIXES = (".jpg", ".jpeg")
LOSSLESS_SUFFIXES = (".bmp", ".png", ".tif", ".tiff", ".pgm", ".ppm")
LOSSLESS_TYPES = ("BMP", "PNG", "TIFF", "PPM")  # in Pillow's words; no other of its decoders is reached
MAX_PIXELS = 500_000_000  # takes the place of Pillow's own limit, which is lower
# Huffman codes take at least a bit for each 8x8 block, 512 pixels a byte; libjpeg's blank pictures have 256.
JPEG_PIXELS_PER_BYTE = 1000
BYTES_PER_PIXEL = 8  # of the largest file that is read: 16-bit RGBA
MAX_SCANS = 100  # of a progressive JPEG; libjpeg writes 10. Each takes the time of a whole decoding
# Of a pair's blocks. Of true pairs none contradict; of pictures moved by a pixel 9 % did at quality 5 and
# 18 to 100 % from 10 on (BSDS500 val, CT-like slices, samples).
CONTRADICTED = 0.08
ORIENTATION = 0x0112  # the EXIF tag

Options = ParamSpec("Options")  # of a reader, after the path
Result = TypeVar("Result")
Image.MAX_IMAGE_PIXELS = None
# Where Pillow passes over damaged metadata it warns, in lines of its own; for dropped tags it shall raise.
warnings.filterwarnings("ignore", module=r"PIL\.")
warnings.filterwarnings("error", "(possibly )?corrupt EXIF|tag ", module=r"PIL\.TiffImagePlugin")


class BadImage(Exception):
    """One image that cannot be used; its text is the reason. The others are not touched by it."""


class Source(NamedTuple):
    """One training image. jpg is None where the JPG is to be made from the clean image."""

    name: str
    jpg: Path | None
    clean: Path


class Plane(NamedTuple):
    """One component of a JPEG on its own grid: the chroma's may have half the rows and columns."""

    samples: Pixels  # uint8 [h, w], decoded
    steps: Floats | None  # float32 [8, 8], its quantisation table; None where samples are not as coded


class Jpeg(NamedTuple):
    """A decoded JPEG on its coded grid, before any EXIF rotation."""

    pixels: Pixels  # uint8 [H, W] or [H, W, 3] RGB, what Pillow decodes
    planes: tuple[Plane, ...]  # luma, and Cb and Cr of a file that codes them
    orientation: int  # by EXIF, 1..8
    exif: bytes  # to be saved with upright pixels; empty where there is none
    exif_lost: bool  # it was damaged
    icc_profile: bytes | None  # None too where it was used up in converting CMYK


# ---- finding files -----------------------------------------------------------------------


def _by_stem(folder: Path, suffixes: Sequence[str]) -> dict[str, Path]:
    """Return {stem: path} of the files with these suffixes (any case), sorted by name.

    Raises UserError where two files have one stem: nothing tells which is meant.
    """
    found: dict[str, Path] = {}
    for path in sorted(folder.iterdir()):
        if path.suffix.lower() in suffixes and not path.name.startswith("."):
            if path.stem in found:
                raise UserError(
                    f"{folder}: {found[path.stem].name} and {path.name} have one name but for the "
                    f"type; rename or remove one of them"
                )
            found[path.stem] = path
    return found


def find_jpegs(folder: Path) -> list[Path]:
    """Return the JPEG paths of a folder, sorted. Raises UserError where two share a stem."""
    return list(_by_stem(folder, JPEG_SUFFIXES).values())


def find_bmp(jpg: Path) -> Path | None:
    """Return the path of the BMP beside a JPEG (any case of .bmp), or None."""
    for suffix in (".bmp", ".BMP", ".Bmp"):
        if (bmp := jpg.with_suffix(suffix)).exists():
            return bmp
    return None


def find_pairs(folder: Path) -> tuple[list[Source], list[str]]:
    """Return (sources, lonely): the JPG + BMP pairs, and the file names that have no partner."""
    jpgs, bmps = _by_stem(folder, JPEG_SUFFIXES), _by_stem(folder, (".bmp",))
    sources = [Source(stem, jpgs[stem], bmps[stem]) for stem in jpgs if stem in bmps]
    lonely = [p.name for stem, p in {**bmps, **jpgs}.items() if (stem in jpgs) != (stem in bmps)]
    return sources, lonely


def find_clean(folder: Path) -> list[Source]:
    """Return every image of a folder as a clean source; per stem the lossless one before the JPEG."""
    clean = _by_stem(folder, JPEG_SUFFIXES) | _by_stem(folder, LOSSLESS_SUFFIXES)
    return [Source(stem, None, path) for stem, path in sorted(clean.items())]


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
    try:
        image = FirstPicture(io.BytesIO(data))
    except Exception as error:  # whatever Pillow's parsing stumbles over
        raise BadImage(f"its header is damaged: {error}") from error
    _check_size(image, max_pixels)
    if image.width * image.height > JPEG_PIXELS_PER_BYTE * len(data):
        raise BadImage(f"says {image.width}x{image.height}, which {len(data)} bytes cannot hold")
    if data.count(b"\xff\xda") > MAX_SCANS and scans_of(data) > MAX_SCANS:
        raise BadImage(f"has over {MAX_SCANS} scans")
    return image


def _open_lossless(data: bytes, max_pixels: int) -> ImageFile:
    """Open an image of one of LOSSLESS_TYPES from bytes; only the header is read. Raises BadImage."""
    try:
        image = Image.open(io.BytesIO(data), formats=LOSSLESS_TYPES)
    except UnidentifiedImageError as error:
        raise BadImage("is not an image of a known type, or its header is damaged") from error
    _check_size(image, max_pixels)
    return image


def _type_of(data: bytes) -> str:
    """What foreign bytes are, where that is easily told: " but PNG", else nothing."""
    try:
        return f" but {Image.open(io.BytesIO(data), formats=LOSSLESS_TYPES).format}"
    except Exception:
        return ""


def _check_size(image: Image.Image, max_pixels: int) -> None:
    """Raise BadImage for an opened image over the limit, or without pixels."""
    size, pixels = f"{image.width}x{image.height}", image.width * image.height
    if pixels > max_pixels:
        raise BadImage(f"{size} is over the limit of {max_pixels} pixels (--max-pixels)")
    if pixels == 0:
        raise BadImage(f"says {size}: no pixels")


def scans_of(data: bytes) -> int:
    """The number of scans of a JPEG, from its markers as libjpeg finds them (T.81, B.1.1.2)."""
    marker = re.compile(rb"\xff([^\x00\xff\x01\xd0-\xd8])")  # those that are followed by a length, and EOI
    scans, found = 0, marker.search(data)
    while found and found[1] != b"\xd9":
        scans += found[1] == b"\xda"
        place = found.end()
        found = marker.search(data, place + max(2, int.from_bytes(data[place : place + 2], "big")))
    return scans


def _read_bytes(path: Path, max_pixels: int) -> bytes:
    """Read a file whole. Raises BadImage for what is no file (a pipe would wait for ever) or too large."""
    try:
        about = path.stat()
        if not stat.S_ISREG(about.st_mode):
            raise BadImage("is a folder" if stat.S_ISDIR(about.st_mode) else "is not a file")
        if about.st_size > BYTES_PER_PIXEL * max_pixels:
            raise BadImage(f"has {about.st_size} bytes, more than {max_pixels} pixels need (--max-pixels)")
        data = path.read_bytes()
    except OSError as error:
        raise BadImage(f"cannot be read: {error.strerror}") from error
    if not data:
        raise BadImage("is empty (0 bytes)")
    return data


def _decoding(
    function: Callable[Concatenate[Path, Options], Result],
) -> Callable[Concatenate[Path, Options], Result]:
    """Let a reader of a path raise nothing but BadImage, with the file's name and one line of reason."""

    @functools.wraps(function)
    def wrapper(path: Path, /, *args: Options.args, **kwargs: Options.kwargs) -> Result:
        try:
            return function(path, *args, **kwargs)
        except BadImage as error:
            raise BadImage(f"{path.name}: {error}") from error
        except Exception as error:  # Pillow's plugins raise OSError, SyntaxError, struct.error, ...
            raise BadImage(f"{path.name}: cannot be decoded: {str(error) or repr(error)}") from error

    return wrapper


def _cmyk_to_rgb(image: Image.Image) -> Image.Image:
    """Convert CMYK to sRGB by the embedded profile, plainly where there is none."""
    image.load()
    if not (profile := image.info.get("icc_profile")):
        return image.convert("RGB")
    try:
        press, screen = ImageCms.ImageCmsProfile(io.BytesIO(profile)), ImageCms.createProfile("sRGB")
        return ImageCms.buildTransform(press, screen, image.mode, "RGB").apply(image)
    except (ImageCms.PyCMSError, OSError, ValueError, TypeError) as error:
        raise BadImage(f"its colour profile, by which CMYK is read, is of no use: {error}") from error


def _exif(image: Image.Image) -> tuple[int, bytes, bool]:
    """The orientation, 1..8, the EXIF with that reset (empty for none), and whether it was damaged: lost."""
    try:
        exif = image.getexif()
        orientation = exif.get(ORIENTATION, 1)
        if ORIENTATION in exif:
            exif[ORIENTATION] = 1
        return (orientation if orientation in range(1, 9) else 1), exif.tobytes() if len(exif) else b"", False
    except Exception:  # whatever Pillow's parsing stumbles over
        return 1, b"", True


@_decoding
def read_jpeg(path: Path, max_pixels: int = MAX_PIXELS) -> Jpeg:
    """Decode a JPEG for correction. Returns a Jpeg; raises BadImage.

    The luma comes from the decoder itself (its YCbCr output), not from RGB: rounding to RGB
    and back would add an error of its own. Of a multi-picture file the first picture is read.
    """
    return decode_jpeg(_read_bytes(path, max_pixels), max_pixels)


def decode_jpeg(data: bytes, max_pixels: int = MAX_PIXELS) -> Jpeg:
    """Decode the bytes of a JPEG file, as read_jpeg does; raises BadImage, and what Pillow raises."""
    image = _open_jpeg(data, max_pixels)
    orientation, exif, exif_lost = _exif(image)
    profile = None if image.mode == "CMYK" else image.info.get("icc_profile")
    pixels = _to_plain(image)
    return Jpeg(pixels, _coded_planes(image, data, pixels), orientation, exif, exif_lost, profile)


def _coded_planes(image: JpegImageFile, data: bytes, pixels: Pixels) -> tuple[Plane, ...]:
    """The planes of a JPEG, given opened, as bytes and decoded. Luma is made where none is coded."""
    if not coded_as_ycbcr(image):
        return (Plane(luma_of(pixels), None),)
    steps = [steps_of(image, component) for component in range(len(image.layer))]
    if pixels.ndim == 2:
        return (Plane(pixels, steps[0]),)
    sampling = [component[1:3] for component in image.layer]
    luma = Plane(_draft(data, "L"), steps[0])
    if sampling == [(2, 2), (1, 1), (1, 1)] and min(pixels.shape[:2]) > 1:
        chroma = _draft(data, "YCbCr", halved=True)
    else:
        chroma = _draft(data, "YCbCr")
        if len(set(sampling)) > 1:  # as in 4:2:2: what was coded is not what the decoder gives
            steps[1:] = None, None
    return luma, Plane(chroma[..., 1], steps[1]), Plane(chroma[..., 2], steps[2])


def _draft(data: bytes, mode: str, halved: bool = False) -> Pixels:
    """Let libjpeg give luma alone ("L"), or "YCbCr"; halved: at half the size.

    Halved it gives chroma that is coded at half the size (4:2:0) as coded, without interpolation.
    """
    image = FirstPicture(io.BytesIO(data))
    image.draft(mode, (image.width // 2, image.height // 2) if halved else None)
    return np.asarray(image)


def _to_plain(image: Image.Image) -> Pixels:
    """Turn an opened image of any mode into uint8 grey [H, W] or RGB [H, W, 3] pixels on its grid."""
    if image.mode == "CMYK":
        image = _cmyk_to_rgb(image)
    if image.mode.startswith("I"):
        levels = np.asarray(image).astype(np.int64)
        if levels.min() < 0 or levels.max() > 65535:
            raise BadImage("has grey levels outside 0..65535")
        return ((levels + 128) // 257).astype(np.uint8)  # 65535 becomes 255
    if image.mode == "F":
        raise BadImage("holds floating-point grey levels, whose range is not known")
    return np.asarray(image.convert("L" if image.mode in ("1", "L", "LA") else "RGB"))


def _open_by_name(path: Path, max_pixels: int) -> ImageFile:
    """Open a JPEG, or an image of a lossless type, as the path's suffix says. Raises BadImage."""
    opening = _open_jpeg if path.suffix.lower() in JPEG_SUFFIXES else _open_lossless
    return opening(_read_bytes(path, max_pixels), max_pixels)


@_decoding
def read_pixels(path: Path, max_pixels: int = MAX_PIXELS) -> Pixels:
    """Read any image as uint8 pixels, grey [H, W] or RGB [H, W, 3], upright. Raises BadImage.

    16-bit grey images are scaled to 8 bits, transparency is dropped.
    """
    image = _open_by_name(path, max_pixels)
    orientation, *_ = _exif(image)
    return upright(_to_plain(image), orientation)


class Luma(NamedTuple):
    """The luma of an image on its coded grid."""

    samples: Pixels  # uint8 [H, W]
    orientation: int  # by EXIF, 1..8
    steps: Floats | None  # float32 [8, 8], the quantisation table of a JPEG that codes luma


@_decoding
def _read_luma(path: Path, max_pixels: int) -> Luma:
    """Read any image's luma as it is coded. Raises BadImage."""
    image, steps = _open_by_name(path, max_pixels), None
    orientation, *_ = _exif(image)
    if isinstance(image, JpegImageFile):
        if coded_as_ycbcr(image):
            steps = steps_of(image, 0)
        image.draft("L", None)  # libjpeg then gives the Y component alone
    return Luma(luma_of(_to_plain(image)), orientation, steps)


def read_luma(path: Path, max_pixels: int = MAX_PIXELS) -> Pixels:
    """Read any image as luma, uint8 [H, W], upright. Raises BadImage.

    Grey images as they are; colour ones through full-range BT.601, which for a JPEG is the
    plane that the file codes.
    """
    luma = _read_luma(path, max_pixels)
    return upright(luma.samples, luma.orientation)


def read_pair(jpg: Path, bmp: Path, any_pair: bool = False) -> tuple[Pixels, Pixels]:
    """Read the luma of a JPG and its BMP, uint8 [H, W] each, of one size.

    Raises BadImage, also where the JPG cannot have been made from that BMP, unless any_pair is set.
    """
    coded, clean = _read_luma(jpg, MAX_PIXELS), read_luma(bmp)
    decoded = upright(coded.samples, coded.orientation)
    check_same_size(jpg, decoded, clean)
    if not any_pair:
        _check_belongs(jpg, coded, clean)
    return decoded, clean


def _check_belongs(path: Path, coded: Luma, clean: Pixels) -> None:
    """Raise BadImage where an upright clean image contradicts the JPG of that path: another one, or moved."""
    if coded.steps is None:
        return
    back = {6: 8, 8: 6}.get(coded.orientation, coded.orientation)
    share = share_contradicted(coded.samples, upright(clean, back), coded.steps)
    if share > CONTRADICTED:
        raise BadImage(
            f"{path.name}: was not made from its clean image: {100 * share:.0f} % of what can be compared "
            f"differs by more than compression explains; another picture, one moved or changed, or saved "
            f"twice (--any-pair takes it all the same)"
        )


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


def upright(pixels: Pixels, orientation: int) -> Pixels:
    """Turn coded pixels (uint8, grey or RGB) as their EXIF orientation (1..8) says."""
    if orientation == 1:
        return pixels
    image = Image.fromarray(pixels)
    image.getexif()[ORIENTATION] = orientation
    return np.asarray(ImageOps.exif_transpose(image))


def jpeg_bytes(pixels: Pixels, quality: int) -> bytes:
    """Grey [H, W] or RGB [H, W, 3] uint8 pixels as a JPEG file at a quality of 1..100, chroma 4:2:0."""
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "JPEG", quality=quality)
    return file.getvalue()


def compress(luma: Pixels, quality: int) -> Pixels:
    """Luma uint8 [H, W] through a grey JPEG in memory at a quality of 1..100; same shape and type."""
    return decode_jpeg(jpeg_bytes(luma, quality)).pixels


def side_by_side(panels: Sequence[Pixels], titles: Sequence[str]) -> Image.Image:
    """Set grey or RGB uint8 panels of one height in a row under their titles. Returns a PIL image."""
    gap, head = 8, 18
    width = sum(panel.shape[1] + gap for panel in panels) + gap
    sheet = Image.new("RGB", (width, panels[0].shape[0] + head + gap), "white")
    draw, x = ImageDraw.Draw(sheet), gap
    for panel, title in zip(panels, titles, strict=True):
        draw.text((x, 3), title, fill="black")
        sheet.paste(Image.fromarray(panel).convert("RGB"), (x, head))
        x += panel.shape[1] + gap
    return sheet


def difference(after: Pixels, before: Pixels, gain: int = 4) -> Pixels:
    """Signed difference of two uint8 arrays as a picture: 128 where equal, `gain` times magnified."""
    return np.clip(128 + gain * (after.astype(np.int16) - before), 0, 255).astype(np.uint8)
