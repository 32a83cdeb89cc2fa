"""Pairs of planes to train on: JPG and clean image found beside each other, or the JPG made in memory."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image

from car import find, images, jpeg, levels, metadata
from car.arrays import Pixels
from car.errors import BadImage, UserError

# How large a part of a pair's blocks may contradict. Of true pairs none do; of pictures moved by a pixel 9 %
# did at quality 5 and 18 to 100 % from 10 on (BSDS500 val, CT-like slices, samples).
CONTRADICTED_AT_MOST = 0.08


class Pair(NamedTuple):
    """What patches are cut from."""

    jpg: Pixels  # uint8 [H, W], luma
    bmp: Pixels  # the same size and type
    coarseness: float | None  # of the JPG's table (jpeg.coarseness); None where it codes no luma


class Source(NamedTuple):
    """One training image. jpg is None where the JPG is to be made from the clean image."""

    name: str
    jpg: Path | None
    clean: Path


class Found(NamedTuple):
    """What a folder holds to train on, and names for people of what cannot be used."""

    sources: list[Source]
    lonely: list[str]  # files without a partner
    twins: list[str]  # "a.jpeg + a.jpg": files of one stem; nothing tells which is meant
    passed: Sequence[str] = ()  # lines for people on what was passed over


def find_pairs(folder: Path, recursive: bool = False) -> Found:
    """The pairs of a folder, or of its tree: a JPEG with a BMP, else a PNG, else a TIFF. Raises UserError.

    Names are those in the tree: "sub/a" of sub/a.jpg.
    """
    by_stem, passed = _by_stem(folder, find.JPEG_SUFFIXES + find.CLEAN_SUFFIXES, recursive)
    found = Found([], [], [], passed)
    for stem, pictures in sorted(by_stem.items()):
        jpgs = [picture for picture in pictures if picture.suffix in find.JPEG_SUFFIXES]
        kinds = (("bmp",), ("png",), ("tif", "tiff"))
        clean: list[find.Picture] = next(
            filter(None, ([p for p in pictures if p.suffix[1:] in kind] for kind in kinds)), []
        )
        if not jpgs or not clean:
            found.lonely.extend(picture.name for picture in pictures)
        elif len(jpgs) + len(clean) > 2:
            found.twins.append(_together(jpgs + clean))
        else:
            found.sources.append(Source(stem, jpgs[0].path, clean[0].path))
    return found


def find_clean(folder: Path, recursive: bool = False) -> Found:
    """Every image of a folder, or of its tree, as a clean source. Raises UserError.

    Per stem the lossless one before the JPEG.
    """
    by_stem, passed = _by_stem(folder, find.JPEG_SUFFIXES + find.LOSSLESS_SUFFIXES, recursive)
    found = Found([], [], [], passed)
    for stem, pictures in sorted(by_stem.items()):
        clean = [picture for picture in pictures if picture.suffix in find.LOSSLESS_SUFFIXES] or pictures
        if clean[1:]:
            found.twins.append(_together(clean))
        else:
            found.sources.append(Source(stem, None, clean[0].path))
    return found


def _by_stem(
    folder: Path, suffixes: Sequence[str], recursive: bool
) -> tuple[dict[str, list[find.Picture]], list[str]]:
    """The pictures by stem, and lines on what was passed over."""
    found = find.in_folder(folder, suffixes, recursive)
    for name, reason in found.unreadable.items():  # what lies there would change the split
        raise UserError(f"{folder / name} {reason}")
    return find.by_stem(found.pictures), found.describe()


def _together(pictures: list[find.Picture]) -> str:
    return " + ".join(picture.name for picture in pictures)


def read_pair(jpg: Path, bmp: Path, any_pair: bool = False, depth: levels.Depth | None = None) -> Pair:
    """Read the luma of a JPG and its clean picture; where they differ in size, neither is decoded.

    Raises BadImage, also where the JPG cannot have been made from that BMP, unless any_pair is set.
    """
    images.check_same_size(jpg, *(images.size_of(path) for path in (jpg, bmp)))
    coded, clean = images.read_coded_luma(jpg), images.read_luma(bmp, depth=depth)
    if coded.lossless:
        raise BadImage(f"{jpg.name}: lossless JPEG: nothing to learn from")
    decoded = metadata.upright(coded.samples, coded.orientation)
    if not any_pair:
        _check_belongs(jpg, coded, clean)
    own = None if coded.table is None else jpeg.coarseness(coded.table, 0)
    return Pair(decoded, clean, own)


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


def saved_before(clean: Pixels, qualities: list[int], name: str) -> tuple[Pixels, Pixels]:
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
    depth: levels.Depth | None = None,
) -> list[Pair]:
    """The pairs that a clean image gives: one for each quality, and of `before` as many more (saved_before).

    shrink: the image at 1 / shrink of its size, which cleans one that was a JPG once. Raises BadImage.
    """
    clean = np.asarray(Image.fromarray(images.read_luma(source.clean, depth=depth)).reduce(shrink))
    planes = [(clean, clean)]
    if before:
        planes.append(saved_before(clean, before, source.name))
    return [
        Pair(compress(seen, quality), truth, jpeg.coarseness(jpeg.table_of_quality(quality), 0))
        for seen, truth in planes
        for quality in qualities
    ]
