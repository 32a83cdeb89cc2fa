"""Images of any mode and depth as uint8 grey or RGB."""

import io
import re
import sys
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageCms
from PIL.ImageFile import ImageFile
from PIL.PpmImagePlugin import PpmImageFile
from PIL.TiffImagePlugin import TiffImageFile

from car.arrays import Changes, Floats, Levels, Pixels
from car.errors import BadImage

COLOURS, WHITE_IS_ZERO = 262, 0  # a tag of TIFF and one of its values
ROWS_AT_A_TIME = 64  # so that memory does not grow with the picture
STEPS_A_LEVEL = 256  # of a change that is held: as fine as results of 16 bits
SCANNER_BITS = 12  # of CT and of most scanners and sensors, stored in 16


@dataclass
class Depth:
    """How many bits images of 16 bits use, and what was found of those that were read with it."""

    bits: int | None = None  # 9..16; None: 12 where no level is higher, else 16
    option: str = "--bits"  # by which people tell the bits
    images: int = 0  # of 16 bits that were read
    found: int = 0  # of them those that were taken for 12 bits, as nothing said it

    def describe(self) -> str:
        """What was found, for people; nothing where no image was taken for 12 bits."""
        if not self.found:
            return ""
        some = f"{self.found} of {self.images} images"
        return f"{some} use {SCANNER_BITS} of 16 bits: scaled by that ({self.option})"

    def white_of(self, levels: npt.NDArray[Any]) -> int:
        """The level that is white in levels of 16 bits. Raises BadImage for what is above."""
        lowest, highest = int(levels.min()), int(levels.max())
        if lowest < 0 or highest > 65535:
            raise BadImage("has grey levels outside 0..65535")
        bits = self.bits or (SCANNER_BITS if highest < 2**SCANNER_BITS else 16)
        if highest >= 2**bits:
            raise BadImage(f"has grey level {highest}, which {bits} bits do not hold ({self.option})")
        self.images += 1
        self.found += self.bits is None and bits == SCANNER_BITS
        return int(2**bits - 1)


def as_8_bits(levels: Levels, white: int) -> Pixels:
    """Levels of 0..white as 0..255, uint8 of the same shape, to the nearest."""
    if levels.dtype == np.uint8:
        return levels
    scaled = np.empty(levels.shape, np.uint8)
    for top in range(0, len(levels), ROWS_AT_A_TIME):
        rows = slice(top, top + ROWS_AT_A_TIME)
        scaled[rows] = (levels[rows].astype(np.uint32) * 510 + white) // (2 * white)
    return scaled


def has_lower_bytes(image: Image.Image) -> bool:
    """Whether an opened image has 16 bits a sample, of which Pillow gives the upper eight alone."""
    if not isinstance(image, ImageFile) or not image.tile or image.mode.startswith("I"):
        return False
    return ";16" in _raw_mode(image.tile[0].args) or _largest_level(image) == 65535


def _raw_mode(args: Any) -> str:
    """How the samples lie in the file, by the arguments of Pillow's decoder: "RGB;16B"."""
    return args if isinstance(args, str) else str(args[0]) if args else ""


def _colours_of_16_bits(image: Image.Image) -> npt.NDArray[np.uint16] | None:
    """All 16 bits of an opened RGB or RGBA image: uint16 [H, W, 3]; None where they cannot be had.

    Pillow has no such pixels, and takes the upper byte of each sample. Told that the bytes are in the other
    order, it takes the lower one.
    """
    if not isinstance(image, ImageFile) or not image.tile or not isinstance(image.fp, io.BytesIO):
        return None
    order = re.fullmatch(r"(RGBX?|RGBA);16([BLN])", _raw_mode(image.tile[0].args))
    if order is None:
        return None
    native = "L" if sys.byteorder == "little" else "B"
    other = f"{order[1]};16{'B' if (native if order[2] == 'N' else order[2]) == 'L' else 'L'}"
    lower = type(image)(io.BytesIO(image.fp.getvalue()))
    lower.tile = [
        tile._replace(args=(other, *tile.args[1:]) if isinstance(tile.args, tuple) else other)
        for tile in lower.tile
    ]
    upper, below = (np.asarray(part)[..., :3].astype(np.uint16) for part in (image, lower))
    return upper * np.uint16(256) + below


def _largest_level(image: Image.Image) -> int | None:
    """The largest level that an opened PGM or PPM declares, by which Pillow scales it."""
    if not isinstance(image, PpmImageFile) or not image.tile or not isinstance(image.tile[0].args, tuple):
        return None
    return int(image.tile[0].args[-1])


def to_plain(image: Image.Image, depth: Depth | None = None) -> Pixels:
    """Turn an opened image of any mode into uint8 grey [H, W] or RGB [H, W, 3] pixels on its grid."""
    return as_8_bits(*as_stored(image, depth))


def as_stored(image: Image.Image, depth: Depth | None = None) -> tuple[Levels, int]:
    """The same, but uint16 where an image has 16 bits; and the level that is white. Raises BadImage."""
    depth = depth or Depth()
    if image.mode == "CMYK":
        image = _cmyk_to_rgb(image)
    if image.mode.startswith("I"):
        declared = _largest_level(image) not in (None, 65535)  # Pillow has scaled such a map to 16 bits
        levels = np.asarray(image)
        white = 65535 if declared else depth.white_of(levels)
        levels = levels.astype(np.uint16)
        if isinstance(image, TiffImageFile) and image.tag_v2.get(COLOURS) == WHITE_IS_ZERO:
            levels = np.uint16(white) - levels  # which Pillow does for 8 bits alone
        return levels, white
    if image.mode == "F":
        raise BadImage("holds floating-point grey levels, whose range is not known")
    if (colours := _colours_of_16_bits(image)) is not None:
        return colours, depth.white_of(colours)
    has_16_bits = has_lower_bytes(image)
    pixels = np.asarray(image.convert("L" if image.mode in ("1", "L", "LA") else "RGB"))
    # Of 12 bits the upper eight of 16 hold four, too few to be scaled.
    if has_16_bits and depth.bits != 16 and (depth.bits or pixels.max() < 16):
        bits = depth.bits or SCANNER_BITS
        raise BadImage(f"uses {bits} of its 16 bits, which cannot be read here; save it as 8 bits")
    return pixels, 255


def alpha_of(image: Image.Image) -> Pixels | None:
    """The opacity of an opened image, uint8 [H, W]; None where all of it is opaque."""
    if not image.has_transparency_data or image.mode.startswith("I"):
        return None
    alpha = np.asarray(image.convert("RGBA").getchannel("A"))
    return None if alpha.min() == 255 else alpha


def _cmyk_to_rgb(image: Image.Image) -> Image.Image:
    """Convert CMYK to sRGB by the embedded profile, plainly where there is none that can be used."""
    image.load()
    profile = image.info.get("icc_profile")
    to_screen = from_press(profile) if profile else None
    return to_screen.apply(image) if to_screen else image.convert("RGB")


def from_press(profile: bytes) -> ImageCms.ImageCmsTransform | None:
    """From CMYK to sRGB by an ICC profile; None where it is damaged, or for something other than CMYK."""
    try:
        press, screen = ImageCms.ImageCmsProfile(io.BytesIO(profile)), ImageCms.createProfile("sRGB")
        return ImageCms.buildTransform(press, screen, "CMYK", "RGB")
    except (ImageCms.PyCMSError, OSError, ValueError, TypeError):
        return None


def held(change: Floats) -> Changes:
    """A change in grey levels as it is held of a whole picture, in half of the memory.

    It ends at 128: what a net may change by far more than it ever asks of a photograph.
    """
    steps = np.rint(change * np.float32(STEPS_A_LEVEL))
    return np.clip(steps, -32767, 32767).astype(np.int16)


def in_levels(change: Changes) -> Floats:
    """The reverse of `held`, to 1/512 of a grey level."""
    return change * np.float32(1 / STEPS_A_LEVEL)


def luma_of(pixels: Pixels) -> Pixels:
    """Full-range BT.601 luma, uint8 [H, W], of grey [H, W] or RGB [H, W, 3] uint8 pixels (JFIF)."""
    return pixels if pixels.ndim == 2 else np.asarray(Image.fromarray(pixels).convert("L"))
