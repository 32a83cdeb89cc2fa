"""What a picture's file says beside its pixels: EXIF with its orientation, and the colour profile."""

import threading
import warnings
from typing import Any, NamedTuple

import numpy as np
from PIL import Image, ImageOps

from car.arrays import Pixels

ORIENTATION = 0x0112  # the EXIF tag
# Where Pillow drops a damaged tag it only warns.
WARNINGS_OF_LOST_TAGS = "(possibly )?corrupt EXIF|tag |truncated file read"
_WARNING_FILTERS = threading.Lock()  # their filters are the whole process's


class Metadata(NamedTuple):
    """What an image carries beside its pixels."""

    orientation: int  # by EXIF, 1..8; what `upright` turns by
    exif: bytes  # to be saved with upright pixels; empty where there is none
    exif_lost: bool  # it was damaged
    icc_profile: bytes | None


def read(image: Image.Image) -> Metadata:
    """The metadata of an opened image (PIL)."""
    profile = image.info.get("icc_profile")
    with _WARNING_FILTERS, warnings.catch_warnings():
        warnings.filterwarnings("error", WARNINGS_OF_LOST_TAGS, module=r"PIL\.TiffImagePlugin")
        try:
            exif = image.getexif()
            orientation = exif.get(ORIENTATION, 1)
            if ORIENTATION in exif:
                exif[ORIENTATION] = 1
            known = orientation if orientation in range(1, 9) else 1
            return Metadata(known, exif.tobytes() if len(exif) else b"", False, profile)
        except Exception:  # whatever Pillow's parsing stumbles over
            return Metadata(1, b"", True, profile)


def kept(metadata: Metadata) -> dict[str, Any]:
    """What Pillow's `save` is to be given, for a format that holds metadata (PNG)."""
    found = {"exif": metadata.exif, "icc_profile": metadata.icc_profile}
    return {name: value for name, value in found.items() if value}


def upright(pixels: Pixels, orientation: int) -> Pixels:
    """Turn coded pixels (uint8, grey or RGB) as their EXIF orientation (1..8) says."""
    if orientation == 1:
        return pixels
    image = Image.fromarray(pixels)
    image.getexif()[ORIENTATION] = orientation
    return np.asarray(ImageOps.exif_transpose(image))


def turned_back(pixels: Pixels, orientation: int) -> Pixels:
    """The reverse of `upright`: upright pixels as they lie on the coded grid."""
    return upright(pixels, {6: 8, 8: 6}.get(orientation, orientation))
