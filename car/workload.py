"""How much work each of many pictures is, so that the time left can be told."""

import contextlib
import os
import threading
from collections.abc import Sequence
from pathlib import Path

from PIL.ImageFile import ImageFile

from car import coded, find, images
from car.find import Picture

# Of a picture, as if it had so many samples more: files opened and written, its smallest tiles.
OVERHEAD = 55_000
SAMPLES_A_BYTE = 5  # of a JPEG, about


def of(pictures: Sequence[Picture]) -> list[float]:
    """The work of each picture, in samples that go through the nets: by the bytes of its file.

    A thread goes on to put in what the headers tell. On a slow disk 12,000 headers take minutes, and the
    first picture does not wait for them.
    """
    work = [OVERHEAD + SAMPLES_A_BYTE * _bytes_of(picture.path) for picture in pictures]
    threading.Thread(target=_read_headers, args=(pictures, work), daemon=True).start()
    return work


def _bytes_of(path: Path) -> float:
    try:
        return float(path.stat().st_size)
    except OSError:  # it is named when its turn comes
        return 0.0


def _read_headers(pictures: Sequence[Picture], work: list[float]) -> None:
    for number, picture in enumerate(pictures):
        if samples := samples_of(picture.path):
            work[number] = OVERHEAD + samples


def samples_of(path: Path) -> float:
    """How many samples go through the nets, by the header: of a JPEG's planes, of the luma of other types.

    0 where that cannot be read.
    """
    width, height, factors = _header_of(path)
    areas = [across * down for across, down in factors]
    return width * height * sum(areas) / max(areas, default=1)


def pixels_of(path: Path) -> int:
    """How many pixels a picture has, by its header; 0 where that cannot be read."""
    width, height, _ = _header_of(path)
    return width * height


def _header_of(path: Path) -> tuple[int, int, list[tuple[int, int]]]:
    """Width and height of a picture, and its planes' sampling factors; all 0 where it cannot be read."""
    kinds: list[type[ImageFile]] = [coded.FirstPicture]
    kinds += [images.OTHER_READERS[n] for n, ends in find.OTHER_TYPES.items() if path.suffix.lower() in ends]
    if not os.path.isfile(path):  # a pipe would wait for ever
        return 0, 0, []
    for kind in kinds:
        with contextlib.suppress(Exception), open(path, "rb") as file:  # whatever Pillow stumbles over
            image = kind(file)
            layers = getattr(image, "layer", [(1, 1, 1, 1)])
            return image.width, image.height, [(across, down) for _, across, down, _ in layers]
    return 0, 0, []
