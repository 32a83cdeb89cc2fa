"""Quantisation tables that are no multiples of the standard one, as encoders and cameras write them.

Pillow brings Photoshop's. mozjpeg's is N. Robidoux's for ImageMagick, for luma and chroma alike.
"""

from typing import Any

import numpy as np
from PIL import JpegPresets

MOZJPEG_50 = """
    16 16 16  18  25  37  56  85    16 17  20  27  34  40  53  75    16 20  24  31  43  62  91 135
    18 27 31  40  53  74 106 156    25 34  43  53  69  94 131 189    37 40  62  74  94 124 169 238
    56 53 91 106 131 169 226 311    85 75 135 156 189 238 311 418
"""

Tables = list[list[int]]  # of luma, and of chroma where it has its own; row by row


def mozjpeg(quality: int) -> Tables:
    """The tables of mozjpeg at a quality of 50..100, scaled as libjpeg scales the standard one."""
    table = np.array(MOZJPEG_50.split(), int)
    return [np.clip((table * (200 - 2 * quality) + 50) // 100, 1, 255).tolist()]


def all_by_name() -> dict[str, Tables]:
    """{name: tables}, each group from coarse to fine."""
    presets: Any = JpegPresets.presets
    names = "web_low", "web_medium", "web_high", "low", "medium", "high", "maximum"
    photoshop = {f"Photoshop {name.replace('_', ' ')}": presets[name]["quantization"] for name in names}
    return {
        **photoshop,
        **{f"mozjpeg {quality}": mozjpeg(quality) for quality in (50, 75, 85, 90, 95)},
        **{f"flat {step}": [[step] * 64] for step in (64, 32, 16, 8)},
    }
