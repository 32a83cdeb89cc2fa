"""A set of records: what comes of its images, one after the other, and what split.json says of it.

The same for a loader that writes the whole set and for one of many that write a part of it each: what came of
the parts, added in their order, is what would have come of the whole.
"""

import hashlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from car import levels, pairs, tiles
from car.errors import BadImage, UserError

if TYPE_CHECKING:  # it loads TensorFlow, which who adds up the parts needs not
    from car.records import RecordWriter


@dataclass(frozen=True)
class Cutting:
    """How images are cut into pairs of patches."""

    patch_size: int  # side in pixels
    stride: int  # from patch to patch, in pixels
    quality: list[int] | None = None  # of the JPGs that are made of clean images; None: of pairs
    shrink: int = 1  # clean images at 1 / shrink of their size
    before: list[int] | None = None  # as many JPGs more, of images saved before at one of these qualities
    any_pair: bool = False  # also a JPG that cannot have been made from its clean image
    bits: int | None = None  # that clean images of 16 bits use; None: as found


@dataclass
class Written:
    """What came of some images, in their order."""

    bad: list[tuple[str, str]] = field(default_factory=list)  # (name, reason)
    small: list[str] = field(default_factory=list)  # names
    digests: dict[str, str] = field(default_factory=dict)  # {name: digest of its pixels}
    # Of the JPGs that gave a patch: None among them where one codes no luma.
    coarsenesses: set[float | None] = field(default_factory=set)
    patches: dict[str, int] = field(default_factory=dict)  # {name: how many}, where there are any
    squares: int = 0  # of the differences between JPG and BMP patches, squared grey levels
    depth: levels.Depth = field(default_factory=levels.Depth)  # what was found of images of 16 bits

    @property
    def records(self) -> int:
        """How many pairs of patches they gave."""
        return sum(self.patches.values())

    def mse(self, side: int) -> float:
        """Between JPG and BMP patches of that side, squared grey levels: the loss to beat."""
        return self.squares / max(self.records * side**2, 1)

    def add(self, more: "Written") -> None:
        """Add what came of the images that follow."""
        self.bad += more.bad
        self.small += more.small
        self.digests |= more.digests
        self.coarsenesses |= more.coarsenesses
        for name, count in more.patches.items():  # images of one name, of several folders, follow each other
            self.patches[name] = self.patches.get(name, 0) + count
        self.squares += more.squares
        self.depth.images += more.depth.images
        self.depth.found += more.depth.found


def write_image(source: pairs.Source, writer: "RecordWriter", cutting: Cutting) -> Written:
    """Write the patches of one image. Raises UserError where its folder went away."""
    made = Written(depth=levels.Depth(cutting.bits))
    try:
        planes = _read_pairs(source, cutting, made.depth)
    except BadImage as reason:
        if not source.clean.parent.is_dir():
            raise UserError(f"{source.clean.parent} went away; no set is written") from reason
        made.bad.append((source.name, str(reason)))
        return made
    clean = planes[0].bmp
    if min(clean.shape) < cutting.patch_size:
        made.small.append(source.name)
    elif clean.min() < clean.max():  # blank images are alike without being copies
        made.digests[source.name] = hashlib.sha256(clean.tobytes()).hexdigest()[:32]
    before, squares = writer.total, writer.squares
    for jpg, bmp, coarseness in planes:
        already = writer.total
        writer.write(*(tiles.patches(plane, cutting.patch_size, cutting.stride) for plane in (jpg, bmp)))
        if writer.total > already:
            made.coarsenesses.add(coarseness)
    if writer.total > before:
        made.patches[source.name] = writer.total - before
    made.squares = writer.squares - squares
    return made


def _read_pairs(source: pairs.Source, cutting: Cutting, depth: levels.Depth) -> list[pairs.Pair]:
    """The pair that a source is, or those that are to be made of it. Raises BadImage."""
    if source.jpg is not None:
        return [pairs.read_pair(source.jpg, source.clean, cutting.any_pair, depth)]
    return pairs.made_pairs(source, cutting.quality or [], cutting.shrink, cutting.before, depth)


def content(
    written: Written, cutting: Cutting, files: dict[str, int], sums: dict[str, str]
) -> dict[str, Any]:
    """What split.json says of the records: how they were cut, and what they are.

    files: {name: records}; sums: {name: sum of its records} (frames.Frames).
    """
    known = [coarseness for coarseness in written.coarsenesses if coarseness is not None]
    every = len(known) == len(written.coarsenesses)
    return {
        "quality": cutting.quality,
        "shrink": cutting.shrink,
        "before": cutting.before,
        "bits": cutting.bits,
        "patch_size": cutting.patch_size,
        "stride": cutting.stride,
        "files": files,
        "sums": sums,
        "mse": written.mse(cutting.patch_size),
        "digests": written.digests,
        "patches": written.patches,
        **({"coarseness": [min(known), max(known)]} if every else {}),
    }
