"""Pairs of planes to train on: JPG and clean image found beside each other, or the JPG made in memory."""

from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image

from car import images, jpeg, metadata
from car.arrays import Pixels
from car.errors import BadImage

# How large a part of a pair's blocks may contradict. Of true pairs none do; of pictures moved by a pixel 9 %
# did at quality 5 and 18 to 100 % from 10 on (BSDS500 val, CT-like slices, samples).
CONTRADICTED_AT_MOST = 0.08

Pair = tuple[Pixels, Pixels]  # (jpg, bmp), uint8 [H, W] luma each, of one size


class Source(NamedTuple):
    """One training image. jpg is None where the JPG is to be made from the clean image."""

    name: str
    jpg: Path | None
    clean: Path


def find_pairs(folder: Path) -> tuple[list[Source], list[str]]:
    """Return (sources, lonely): the JPG + BMP pairs, and the file names that have no partner."""
    jpgs, bmps = images.by_stem(folder, images.JPEG_SUFFIXES), images.by_stem(folder, (".bmp",))
    sources = [Source(stem, jpgs[stem], bmps[stem]) for stem in jpgs if stem in bmps]
    lonely = [p.name for stem, p in {**bmps, **jpgs}.items() if (stem in jpgs) != (stem in bmps)]
    return sources, lonely


def find_clean(folder: Path) -> list[Source]:
    """Return every image of a folder as a clean source; per stem the lossless one before the JPEG."""
    clean = images.by_stem(folder, images.JPEG_SUFFIXES)
    clean |= images.by_stem(folder, images.LOSSLESS_SUFFIXES)
    return [Source(stem, None, path) for stem, path in sorted(clean.items())]


def read_pair(jpg: Path, bmp: Path, any_pair: bool = False, depth: images.Depth | None = None) -> Pair:
    """Read the luma of a JPG and its BMP, uint8 [H, W] each, of one size.

    Raises BadImage, also where the JPG cannot have been made from that BMP, unless any_pair is set.
    """
    coded, clean = images.read_coded_luma(jpg), images.read_luma(bmp, depth=depth)
    if coded.lossless:
        raise BadImage(f"{jpg.name}: lossless JPEG: nothing to learn from")
    decoded = metadata.upright(coded.samples, coded.orientation)
    images.check_same_size(jpg, decoded, clean)
    if not any_pair:
        _check_belongs(jpg, coded, clean)
    return decoded, clean


def _check_belongs(path: Path, coded: images.Luma, clean: Pixels) -> None:
    """Raise BadImage where an upright clean image contradicts the JPG of that path: another one, or moved."""
    if coded.table is None:
        return
    back = metadata.turned_back(clean, coded.orientation)
    share = jpeg.share_contradicted(coded.samples, back, coded.table)
    if share > CONTRADICTED_AT_MOST:
        raise BadImage(
            f"{path.name}: was not made from its clean image: {100 * share:.0f} % of what can be compared "
            f"differs by more than compression explains; another picture, one moved or changed, or saved "
            f"twice (--any-pair takes it all the same)"
        )


def compress(luma: Pixels, quality: int) -> Pixels:
    """Luma uint8 [H, W] through a grey JPEG in memory at a quality of 1..100; same shape and type."""
    return images.decode_jpeg(images.jpeg_bytes(luma, quality)).pixels


def saved_before(clean: Pixels, qualities: list[int], name: str) -> Pair:
    """A plane as if from the web: saved at one of the qualities, then cut at the left and the top.

    Returns (the cut plane as decoded, the clean one cut alike). Quality and cut follow from the name.
    """
    rng = np.random.default_rng(list(name.encode()))
    top, left = rng.integers(1, jpeg.BLOCK, 2)
    return compress(clean, int(rng.choice(qualities)))[top:, left:], clean[top:, left:]


def made_pairs(
    source: Source,
    qualities: list[int],
    shrink: int,
    before: list[int] | None,
    depth: images.Depth | None = None,
) -> list[Pair]:
    """The pairs that a clean image gives: one for each quality, and of `before` as many more (saved_before).

    shrink: the image at 1 / shrink of its size, which cleans one that was a JPG once. Raises BadImage.
    """
    clean = np.asarray(Image.fromarray(images.read_luma(source.clean, depth=depth)).reduce(shrink))
    pairs = [(compress(clean, quality), clean) for quality in qualities]
    if before:
        once, cut = saved_before(clean, before, source.name)
        pairs += [(compress(once, quality), cut) for quality in qualities]
    return pairs
