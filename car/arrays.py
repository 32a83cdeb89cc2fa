"""Names for the array types that the annotations speak of; shapes and units are in the docstrings."""

from typing import Any

import numpy as np
import numpy.typing as npt

Pixels = npt.NDArray[np.uint8]  # grey levels 0..255
Pixels16 = npt.NDArray[np.uint16]  # the same, times 257
Levels = npt.NDArray[Any]  # uint8, or uint16 of what has 16 bits
Changes = npt.NDArray[np.int16]  # of grey levels, in steps of 1 / levels.STEPS_A_LEVEL
Integers = npt.NDArray[np.int16]
Floats = npt.NDArray[np.float32]
Doubles = npt.NDArray[np.float64]
