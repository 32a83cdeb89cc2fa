"""MSE, PSNR and SSIM of grey pictures."""

import math

import car_shell  # noqa: F401  (first: it starts TensorFlow quietly)
import numpy as np
import tensorflow as tf

from car_types import Pixels

WINDOW = 11  # side of SSIM's Gaussian window, deviation 1.5
BAND = 512  # rows taken at a time, so that memory does not grow with the picture


def mse(picture: Pixels, truth: Pixels) -> float:
    """Mean squared error in squared grey levels of two uint8 [H, W] planes."""
    squares = 0
    for top in range(0, picture.shape[0], BAND):
        error = picture[top : top + BAND].astype(np.int32) - truth[top : top + BAND]
        squares += int(np.square(error).sum())
    return squares / picture.size


def psnr(mean_squared_error: float) -> float:
    """Peak signal-to-noise ratio in dB for a peak of 255 grey levels; infinite for no error."""
    if mean_squared_error == 0:
        return math.inf
    return 10 * math.log10(255**2 / mean_squared_error)


def ssim(picture: Pixels, truth: Pixels) -> float:
    """Mean structural similarity of two uint8 [H, W] planes; nan under 11 pixels of height or width.

    Wang, Bovik, Sheikh, Simoncelli: Image Quality Assessment, IEEE TIP 13 (2004).
    """
    height, width = picture.shape
    if min(height, width) < WINDOW:
        return math.nan
    total = 0.0
    valid_rows = height - WINDOW + 1
    for top in range(0, valid_rows, BAND):
        rows = min(BAND, valid_rows - top)
        band = slice(top, top + rows + WINDOW - 1)
        pair = (tf.constant(plane[band, :, None], tf.float32) for plane in (picture, truth))
        total += rows * float(tf.image.ssim(*pair, max_val=255, filter_size=WINDOW))
    return total / valid_rows
