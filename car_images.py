"""Images in and out: finding and pairing files, decoding them, the luma that JPEG codes.

All planes are uint8 numpy arrays in grey levels 0..255, [H, W] for luma and grey,
[H, W, 3] for RGB, and upright unless a docstring says that they lie on the coded grid.
"""

import functools
import io
from pathlib import Path
from typing import NamedTuple

import numpy as np
from car_shell import UserError
from PIL import Image, ImageCms, ImageDraw, ImageOps

from car_jpeg import coded_as_ycbcr, steps_of

JPEG_SUFFIXES = (".jpg", ".jpeg")
LOSSLESS_SUFFIXES = (".bmp", ".png", ".tif", ".tiff", ".pgm", ".ppm")
MAX_PIXELS = 500_000_000  # takes the place of Pillow's own limit, which is lower
ORIENTATION = 0x0112  # the EXIF tag

Image.MAX_IMAGE_PIXELS = None


class BadImage(Exception):
    """One image that cannot be used; its text is the reason. The others are not touched by it."""


class Source(NamedTuple):
    """One training image. jpg is None where the JPG is to be made from the clean image."""

    name: str
    jpg: Path | None
    clean: Path


class Plane(NamedTuple):
    """One component of a JPEG on its own grid: the chroma's may have half the rows and columns."""

    samples: np.ndarray  # uint8 [h, w], decoded
    steps: np.ndarray | None  # float32 [8, 8], its quantisation table; None where samples are not as coded


class Jpeg(NamedTuple):
    """A decoded JPEG on its coded grid, before any EXIF rotation."""

    pixels: np.ndarray  # uint8 [H, W] or [H, W, 3] RGB, what Pillow decodes
    planes: tuple[Plane, ...]  # luma, and Cb and Cr of a file that codes them
    exif: Image.Exif
    icc_profile: bytes | None  # None too where it was used up in converting CMYK


# ---- finding files -----------------------------------------------------------------------


def _by_stem(folder, suffixes):
    """Return {stem: path} of the files with these suffixes (any case), sorted by name.

    Raises UserError where two files have one stem: nothing tells which is meant.
    """
    found = {}
    for path in sorted(folder.iterdir()):
        if path.suffix.lower() in suffixes and not path.name.startswith("."):
            if path.stem in found:
                raise UserError(
                    f"{folder}: {found[path.stem].name} and {path.name} have one name but for the "
                    f"type; rename or remove one of them"
                )
            found[path.stem] = path
    return found


def find_jpegs(folder):
    """Return the JPEG paths of a folder, sorted. Raises UserError where two share a stem."""
    return list(_by_stem(folder, JPEG_SUFFIXES).values())


def find_bmp(jpg):
    """Return the path of the BMP beside a JPEG (any case of .bmp), or None."""
    for suffix in (".bmp", ".BMP", ".Bmp"):
        if (bmp := jpg.with_suffix(suffix)).exists():
            return bmp
    return None


def find_pairs(folder):
    """Return (sources, lonely): the JPG + BMP pairs, and the file names that have no partner."""
    jpgs, bmps = _by_stem(folder, JPEG_SUFFIXES), _by_stem(folder, (".bmp",))
    sources = [Source(stem, jpgs[stem], bmps[stem]) for stem in jpgs if stem in bmps]
    lonely = [p.name for stem, p in {**bmps, **jpgs}.items() if (stem in jpgs) != (stem in bmps)]
    return sources, lonely


def find_clean(folder):
    """Return every image of a folder as a clean source; per stem the lossless one before the JPEG."""
    clean = _by_stem(folder, JPEG_SUFFIXES) | _by_stem(folder, LOSSLESS_SUFFIXES)
    return [Source(stem, None, path) for stem, path in sorted(clean.items())]


# ---- decoding ----------------------------------------------------------------------------


def _open(data, max_pixels):
    """Open an image from bytes; only the header is read. Raises BadImage over the limit."""
    image = Image.open(io.BytesIO(data))
    if image.width * image.height > max_pixels:
        raise BadImage(
            f"{image.width}x{image.height} is over the limit of {max_pixels} pixels (--max-pixels)"
        )
    return image


def _read_bytes(path):
    if path.is_dir():
        raise BadImage("is a folder")
    try:
        data = path.read_bytes()
    except OSError as error:
        raise BadImage(f"cannot be read: {error.strerror}") from error
    if not data:
        raise BadImage("is empty (0 bytes)")
    return data


def _decoding(function):
    """Let a reader of a path raise nothing but BadImage, with the file's name and one line of reason."""

    @functools.wraps(function)
    def wrapper(path, *args, **kwargs):
        try:
            return function(path, *args, **kwargs)
        except BadImage as error:
            raise BadImage(f"{path.name}: {error}") from error
        except Image.UnidentifiedImageError as error:
            raise BadImage(f"{path.name}: is not an image of a known type") from error
        except Exception as error:  # Pillow's plugins raise OSError, SyntaxError, struct.error, ...
            raise BadImage(f"{path.name}: cannot be decoded: {str(error) or repr(error)}") from error

    return wrapper


def _cmyk_to_rgb(image):
    """Convert CMYK to sRGB by the embedded profile, plainly where there is none."""
    profile = image.info.get("icc_profile")
    if not profile:
        return image.convert("RGB")
    return ImageCms.profileToProfile(
        image,
        ImageCms.ImageCmsProfile(io.BytesIO(profile)),
        ImageCms.createProfile("sRGB"),
        outputMode="RGB",
    )


@_decoding
def read_jpeg(path, max_pixels=MAX_PIXELS):
    """Decode a JPEG for correction. Returns a Jpeg; raises BadImage.

    The luma comes from the decoder itself (its YCbCr output), not from RGB: rounding to RGB
    and back would add an error of its own. Of a multi-picture file the first picture is read.
    """
    return decode_jpeg(_read_bytes(path), max_pixels)


def decode_jpeg(data, max_pixels=MAX_PIXELS):
    """Decode the bytes of a JPEG file, as read_jpeg does; raises BadImage, and what Pillow raises."""
    image = _open(data, max_pixels)
    if image.format not in ("JPEG", "MPO"):
        raise BadImage(f"is not a JPEG but {image.format}")
    exif, profile = image.getexif(), image.info.get("icc_profile")
    used_up = image.mode == "CMYK"
    pixels = _to_plain(image)
    return Jpeg(pixels, _coded_planes(data, pixels), exif, None if used_up else profile)


def _coded_planes(data, pixels):
    """The planes of a JPEG, given as bytes and as decoded pixels. Luma is made where none is coded."""
    image = Image.open(io.BytesIO(data))
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


def _draft(data, mode, halved=False):
    """Let libjpeg give luma alone ("L"), or "YCbCr"; halved: at half the size.

    Halved it gives chroma that is coded at half the size (4:2:0) as coded, without interpolation.
    """
    image = Image.open(io.BytesIO(data))
    image.draft(mode, (image.width // 2, image.height // 2) if halved else None)
    return np.asarray(image)


def _to_plain(image):
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


@_decoding
def read_pixels(path, max_pixels=MAX_PIXELS):
    """Read any image as uint8 pixels, grey [H, W] or RGB [H, W, 3], upright. Raises BadImage.

    16-bit grey images are scaled to 8 bits, transparency is dropped.
    """
    image = _open(_read_bytes(path), max_pixels)
    exif = image.getexif()
    return upright(_to_plain(image), exif)


@_decoding
def read_luma(path, max_pixels=MAX_PIXELS):
    """Read any image as luma, uint8 [H, W], upright. Raises BadImage.

    Grey images as they are; colour ones through full-range BT.601, which for a JPEG is the
    plane that the file codes.
    """
    image = _open(_read_bytes(path), max_pixels)
    exif = image.getexif()
    if image.format in ("JPEG", "MPO"):
        image.draft("L", None)  # libjpeg then gives the Y component alone
    return upright(luma_of(_to_plain(image)), exif)


def read_pair(source):
    """Read a JPG + BMP source. Returns (jpg, bmp) luma, uint8 [H, W] each; raises BadImage."""
    jpg, bmp = read_luma(source.jpg), read_luma(source.clean)
    check_same_size(source.jpg, jpg, bmp)
    return jpg, bmp


def check_same_size(path, jpg, bmp):
    """Raise BadImage, naming the JPG's path, where its pixels and its BMP's differ in height or width."""
    if jpg.shape[:2] != bmp.shape[:2]:
        (height, width), (bmp_height, bmp_width) = jpg.shape[:2], bmp.shape[:2]
        raise BadImage(
            f"{path.name}: the pair differs in size: JPG {width}x{height}, BMP {bmp_width}x{bmp_height}"
        )


# ---- pixels ------------------------------------------------------------------------------


def luma_of(pixels):
    """Full-range BT.601 luma, uint8 [H, W], of grey [H, W] or RGB [H, W, 3] uint8 pixels (JFIF)."""
    return pixels if pixels.ndim == 2 else np.asarray(Image.fromarray(pixels).convert("L"))


def upright(pixels, exif):
    """Turn coded pixels (uint8, grey or RGB) as their EXIF orientation says."""
    orientation = exif.get(ORIENTATION, 1)
    if orientation == 1:
        return pixels
    image = Image.fromarray(pixels)
    image.getexif()[ORIENTATION] = orientation
    return np.asarray(ImageOps.exif_transpose(image))


def jpeg_bytes(pixels, quality):
    """Grey [H, W] or RGB [H, W, 3] uint8 pixels as a JPEG file at a quality of 1..100, chroma 4:2:0."""
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "JPEG", quality=quality)
    return file.getvalue()


def compress(luma, quality):
    """Luma uint8 [H, W] through a grey JPEG in memory at a quality of 1..100; same shape and type."""
    return decode_jpeg(jpeg_bytes(luma, quality)).pixels


def side_by_side(panels, titles):
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


def difference(after, before, gain=4):
    """Signed difference of two uint8 arrays as a picture: 128 where equal, `gain` times magnified."""
    return np.clip(128 + gain * (after.astype(np.int16) - before), 0, 255).astype(np.uint8)
