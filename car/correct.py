"""One image corrected: the Corrector, and the steps that it goes by.

    import model_car

    corrector = model_car.load_corrector()          # the weights that came with the suite
    corrected = corrector.correct("old.jpg")        # or bytes, or an array of grey or RGB pixels
    corrected.pixels                                # uint8 [H, W] or [H, W, 3]

An image's planes (luma, and Cb and Cr of a file that codes them) go through the net each on its own grid.
Their changes, kept to what the file's header allows, are added to the decoded pixels.
"""

import functools
import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image

from car import choice, coded, history, images, jpeg, levels, limits, metadata, tiles, weights
from car.arrays import Changes, Floats, Levels, Pixels

CORE_SIDE = 256  # of a tile, in pixels: cuts 512 and its multiples evenly, and is the fastest
TILE_PIXELS_AT_A_TIME = (
    2**16
)  # of tiles that go through the net together: their maps stay in a cache of 32 MiB
ROWS_AT_A_TIME = 64  # of the picture, when it is put together
PRECISIONS = ("float32", "bfloat16")  # of a net's layers 1 and 2
CHROMA_TO_RGB = np.array(
    [[0, -0.344136, 1.772], [1.402, -0.714136, 0]], np.float32
)  # Cb and Cr, JFIF (BT.601)
NO_GAINS: Floats = np.ones((jpeg.BLOCK, jpeg.BLOCK), np.float32)

Forward = Callable[[Pixels, float], Floats]
Watch = Callable[[float], None]  # called with the share of the work that is done, 0..1


class Net(NamedTuple):
    """A net as correction needs it.

    forward: (tiles, contrast) -> cores, uint8 [N, h, w] to float32 [N, h - 2 * halo, w - 2 * halo], not
    clipped. The net sees the tiles with this contrast about mid-grey, and its output is stretched back.
    """

    forward: Forward
    gains: Floats  # float32 [8, 8]; see weights.Weights
    coarseness: jpeg.Span | None = None  # of the files that it was trained on; None where not known


class NetPlane(NamedTuple):
    """A plane as the net made it."""

    change: (
        Changes  # int16 [h, w] (levels.held): what the net makes of it, within 0..255, less what was decoded
    )
    choice: choice.Choice


class PlaneFound(NamedTuple):
    """What was found of a plane, and what was done to it."""

    coarseness: float | None  # of its quantisation table (jpeg.coarseness); None where none is known
    choice: choice.Choice
    mean_change: float  # mean absolute change, grey levels
    table: Floats | None = None  # the table itself, float32 [8, 8]


class Corrected(NamedTuple):
    """A corrected image."""

    pixels: Levels  # uint8 or uint16, [H, W] or [H, W, 3] RGB, upright; 0..white
    before: Levels  # the same, as the file decodes
    about: metadata.Metadata
    planes: tuple[PlaneFound, ...]  # luma, and Cb and Cr where they were corrected; none of a lossless JPEG
    alpha: Pixels | None = None  # opacity, uint8 [H, W], upright; None where all is opaque
    white: int = 255  # the level of pixels that is white
    earlier: history.Saving | None = None  # that was found in it, and corrected for


class Corrector:
    """Corrects images by one set of weights, or by a bank of them.

    Make one with model_car.load_corrector. It is not changed by use: several threads may call one
    Corrector at the same time.
    """

    def __init__(
        self,
        nets: Mapping[float | None, Net],
        *,
        strength: float = 1.0,
        ensemble: bool = False,
        ignore_header: bool = False,
        ignore_history: bool = False,
        luma_only: bool = False,
        input_types: Sequence[str] = (),
        bits: int = 8,
        core_side: int = CORE_SIDE,
        halo: int = weights.RADIUS,
        max_pixels: int = images.MAX_PIXELS,
        precision: str = "float32",
    ) -> None:
        """nets: by the coarseness of the files that each is for; the one without a header under None.

        strength: the part of the correction that is applied, 0..1. ensemble: the mean over all eight flips
        and turns. ignore_header: the net under None for every plane, no limits, and ignore_history too.
        ignore_history: no earlier saving is looked for, and the net under None corrects pictures of other
        types. luma_only: Cb, Cr stay.
        input_types: of pictures that are taken beside JPEGs, of find.OTHER_TYPES.
        bits: of the results' levels at the least, 8 or 16; grey level 255 is 65535 of 16 bits.
        core_side: of a tile, in pixels. halo: neighbours around it, weights.RADIUS, or 0 for isolated tiles;
        that for which the nets' forward was made. max_pixels: larger files are refused. precision: of the
        nets' forward.
        """
        if not 0 <= strength <= 1:
            raise ValueError(f"strength is {strength}; it must be 0..1")
        if bits not in (8, 16):
            raise ValueError(f"bits is {bits}; it must be 8 or 16")
        if precision not in PRECISIONS:
            raise ValueError(f"precision is {precision}; it must be one of {', '.join(PRECISIONS)}")
        self.bits = bits
        self.nets, self.strength, self.ensemble = dict(nets), strength, ensemble
        self.ignore_header, self.ignore_history = ignore_header, ignore_history or ignore_header
        self.luma_only, self.max_pixels = luma_only, max_pixels
        self.core_side, self.halo, self.input_types = core_side, halo, tuple(input_types)
        self.precision = precision

    def correct(self, image: str | Path | bytes | Pixels, watch: Watch | None = None) -> Corrected:
        """Correct a picture, by path or as a file's bytes, or decoded pixels, uint8 [H, W] or RGB [H, W, 3].

        Pixels have no header, and no earlier saving is looked for in them: the net under None corrects their
        luma, without limits. A picture of another type stays as it is where no JPEG is found in it. watch is
        told, in the calling thread, how much is done. Raises BadImage with the reason, ValueError for other
        arrays.
        """
        picture = self.decode(image)
        return self.finish(picture, self.through_nets(picture, watch))

    # The three steps of it, for those who do them in different threads.

    def decode(
        self,
        image: str | Path | bytes | Pixels,
        depth: levels.Depth | None = None,
        header_only: bool = False,
    ) -> images.Decoded:
        """Read an image; of its planes those that are to be corrected. Raises BadImage, ValueError.

        depth: of grey pictures of 16 bits. header_only: of a JPEG's file, as images.decode_jpeg does.
        """
        if isinstance(image, np.ndarray):
            picture = self._without_header(image)
        elif isinstance(image, bytes):
            with images.reading():
                picture = images.decode_picture(image, self.input_types, self.max_pixels, depth)
        else:
            picture = images.read_picture(Path(image), self.input_types, self.max_pixels, depth, header_only)
        planes = picture.planes[:1] if self.luma_only else picture.planes
        if self.ignore_header:
            planes = tuple(plane._replace(table=None) for plane in planes)
        picture = picture._replace(planes=planes)
        not_decoded = header_only and picture.was_jpeg
        if self.ignore_history or not_decoded or isinstance(image, np.ndarray):
            return picture
        return _with_history(picture)

    def choose(self, plane: coded.Plane, component: int) -> choice.Choice:
        """What a plane of a component (0 luma, 1 Cb, 2 Cr) goes through, by the coarsest of its savings."""
        table = plane.rounding.table if plane.rounding else None
        return choice.choose(self.nets, table, component, self.nets[None].coarseness)

    def through_nets(self, picture: images.Decoded, watch: Watch | None = None) -> list[NetPlane]:
        """The planes of an image as the nets make them."""
        total, done, made = sum(plane.samples.size for plane in picture.planes), 0, []
        if watch and not picture.planes:  # a lossless JPEG
            watch(1.0)
        for component, plane in enumerate(picture.planes):
            size, before = plane.samples.size, done
            chosen = self.choose(plane, component)
            if choice.has_one_level(plane.samples):
                chosen = choice.ONE_LEVEL  # nothing to correct, and a neutral picture must stay neutral

            def tell(share: float, size: int = size, before: int = before) -> None:
                if watch:
                    watch((before + share * size) / total)

            made.append(NetPlane(self._change(plane.samples, chosen, tell), chosen))
            done += size
        return made

    def _change(self, samples: Pixels, chosen: choice.Choice, watch: Watch) -> Changes:
        """By what a net changes a plane, uint8 [H, W]; the plane in float32 would take twice the memory."""
        change = np.zeros(samples.shape, np.int16)
        if chosen.unchanged:
            watch(1.0)
            return change

        def put(cores: Floats, some: Sequence[tiles.Tile]) -> None:
            for core, tile in zip(cores, some, strict=True):
                place = tiles.place_of(tile)
                decoded = samples[place]
                inside = core[: decoded.shape[0], : decoded.shape[1]]
                change[place] = levels.held(np.clip(inside, 0, 255) - decoded)

        if self.ensemble:
            put(self.through_net(samples, chosen, watch)[np.newaxis], [tiles.Tile(0, 0, *samples.shape)])
        else:
            _correct_plane(samples, self._forward(chosen), self.core_side, self.halo, watch, put)
        return change

    def _forward(self, chosen: choice.Choice) -> Callable[[Pixels], Floats]:
        forward = self.nets[chosen.factor].forward
        return lambda some: forward(some, chosen.contrast)

    def through_net(self, samples: Pixels, chosen: choice.Choice, watch: Watch | None = None) -> Floats:
        """A plane, uint8 [H, W], as one net makes it: float32 [H, W], unclipped, not limited."""
        watch = watch or (lambda share: None)
        if chosen.unchanged:
            watch(1.0)
            return samples.astype(np.float32)
        correct = _correct_8_ways if self.ensemble else _corrected_plane
        return correct(samples, self._forward(chosen), self.core_side, self.halo, watch)

    def finish(self, picture: images.Decoded, made: Sequence[NetPlane]) -> Corrected:
        """Put an image together from its planes; made: of through_nets; the changes become those kept.

        A change is kept to what the file's table allows, where there is one. Luma's goes to R, G and B alike,
        chroma's by JFIF's matrix. At strength 0 the pixels are those of the file, times 257 in 16 bits.
        """
        found: list[PlaneFound] = []
        for plane, (change, chosen) in zip(picture.planes, made, strict=True):
            own = None
            if rounding := plane.rounding:
                gains = self.nets[chosen.factor].gains if chosen.gains else NO_GAINS
                table, corner = rounding
                limits.limit_change(change, plane.samples, table, gains, bool(found), corner)
            if plane.table is not None:
                own = jpeg.coarseness(plane.table, len(found))
            if (strength := self.strength * chosen.strength) != 1:
                _weaken(change, strength)
            found.append(PlaneFound(own, chosen, _mean_size(change), plane.table))
        decoded, white = picture.pixels, picture.white
        if self.bits == 16 and decoded.dtype == np.uint8:
            decoded, white = decoded.astype(np.uint16), 65535
            decoded *= 257
        pixels = _with_changes(decoded, [change for change, _ in made], white)
        turn, alpha = picture.about.orientation, picture.alpha
        pixels, before = (metadata.upright(p, turn) for p in (pixels, decoded))
        alpha = None if alpha is None else metadata.upright(alpha, turn)
        return Corrected(pixels, before, picture.about, tuple(found), alpha, white, picture.earlier)

    def _without_header(self, pixels: Pixels) -> images.Decoded:
        grey_or_rgb = pixels.ndim == 2 or (pixels.ndim == 3 and pixels.shape[2] == 3)
        if pixels.dtype != np.uint8 or not grey_or_rgb or not pixels.size:
            raise ValueError(f"uint8 [H, W] or [H, W, 3] is wanted, not {pixels.dtype} {list(pixels.shape)}")
        plane = coded.Plane(levels.luma_of(pixels), None)
        return images.Decoded(pixels, (plane,), metadata.Metadata())


def _with_history(picture: images.Decoded) -> images.Decoded:
    """A picture with the earlier saving that is found in it; where none is in a PNG, it has no planes."""
    if picture.was_jpeg and picture.planes and picture.planes[0].table is None:
        return picture  # coded as RGB or CMYK: the comb in its luma would be that of the file itself
    planes, earlier = history.traced(picture.planes, picture.pixels, picture.white)
    if earlier is None and not picture.was_jpeg:
        planes = ()
    return picture._replace(planes=planes, earlier=earlier)


def _corrected_plane(
    samples: Pixels, forward: Callable[[Pixels], Floats], side: int, halo: int, watch: Watch
) -> Floats:
    """A plane, uint8 [H, W], as a net makes it: float32 [H, W]."""
    corrected = np.empty(samples.shape, np.float32)
    put = functools.partial(tiles.stitch, corrected)
    _correct_plane(samples, forward, side, halo, watch, put)
    return corrected


def _correct_plane(
    samples: Pixels,
    forward: Callable[[Pixels], Floats],
    side: int,
    halo: int,
    watch: Watch,
    put: Callable[[Floats, Sequence[tiles.Tile]], None],
) -> None:
    """Correct a plane, uint8 [H, W], tile by tile; put gets the cores, float32 [N, h, w], and where they lie.

    Two batches are under way at a time: one is cut or put while the other is computed.
    """
    height, width = samples.shape
    tiling = tiles.seamless(height, width, side, halo) if halo else tiles.isolated(height, width, side)
    padded = tiles.mirror(samples, tiling)
    batches = list(_batches(tiling.tiles, max(1, TILE_PIXELS_AT_A_TIME // side**2)))

    def correct(some: list[tiles.Tile]) -> int:
        put(forward(tiles.cut(padded, some, halo)), some)
        return len(some) * some[0].height * some[0].width

    done, total = 0, sum(tiling.rows) * sum(tiling.columns)
    with ThreadPoolExecutor(2) as pool:
        for pixels in pool.map(correct, batches):
            done += pixels
            watch(min(1.0, done / total))


def _batches(some: Sequence[tiles.Tile], size: int) -> Iterator[list[tiles.Tile]]:
    """Tiles of one shape, `size` together: the last ones are taken again to fill a batch."""
    for _, alike in itertools.groupby(sorted(some, key=_shape), key=_shape):
        of_shape = list(alike)
        for first in range(0, len(of_shape), size):
            batch = of_shape[first : first + size]
            yield batch + batch[-1:] * (size - len(batch))


def _shape(tile: tiles.Tile) -> tuple[int, int]:
    return tile.height, tile.width


def _correct_8_ways(
    samples: Pixels, forward: Callable[[Pixels], Floats], side: int, halo: int, watch: Watch
) -> Floats:
    """The mean of what _corrected_plane makes of a plane and of its flips and turns, each put back."""
    total = np.zeros(samples.shape, np.float32)
    for way in range(8):
        turns, flip = way // 2, slice(None, None, -1 if way % 2 else 1)

        def tell(share: float, way: int = way) -> None:
            watch((way + share) / 8)

        corrected = _corrected_plane(np.rot90(samples, turns)[flip], forward, side, halo, tell)
        total += np.rot90(corrected[flip], -turns)
    total /= 8
    return total


def _bands(height: int) -> list[slice]:
    return [slice(top, min(top + ROWS_AT_A_TIME, height)) for top in range(0, height, ROWS_AT_A_TIME)]


def _weaken(change: Changes, strength: float) -> None:
    for rows in _bands(len(change)):
        change[rows] = levels.held(levels.in_levels(change[rows]) * np.float32(strength))


def _mean_size(change: Changes) -> float:
    """The mean absolute value of a change [H, W], in grey levels."""
    total = sum(int(np.abs(change[rows]).sum(dtype=np.int64)) for rows in _bands(len(change)))
    return total / levels.STEPS_A_LEVEL / change.size


def _with_changes(pixels: Levels, changes: Sequence[Changes], white: int) -> Levels:
    """Add the changes of luma, and of Cb and Cr, if they are given, to decoded pixels.

    white: the level of pixels that is white.
    """
    if not changes:
        return pixels.copy()
    luma, *chroma = changes
    result = np.empty_like(pixels)
    for rows in _bands(len(luma)):
        change = levels.in_levels(luma[rows])
        if pixels.ndim == 3:
            change = change[..., np.newaxis]
            if chroma:
                change = (
                    change
                    + np.stack([_interpolated(c, luma.shape, rows) for c in chroma], -1) @ CHROMA_TO_RGB
                )
        changed = np.rint(pixels[rows] + change * np.float32(white / 255))
        result[rows] = np.clip(changed, 0, white).astype(pixels.dtype)
    return result


def _interpolated(chroma: Changes, shape: tuple[int, ...], rows: slice) -> Floats:
    """Rows of a change of chroma at the luma's shape (H, W), as libjpeg makes them: float32.

    Twice as many by the triangle filter (3/4 of the nearer, 1/4 of the farther sample), else repeated.
    """
    (height, width), lines = shape, len(chroma)
    across, down = (
        -(-whole // part) for whole, part in zip((width, height), chroma.shape[::-1], strict=True)
    )
    first, last = max(0, rows.start // down - 1), min(lines, -(-rows.stop // down) + 1)  # with a neighbour
    part = Image.fromarray(levels.in_levels(chroma[first:last]))
    box = (0, rows.start / down - first, width / across, rows.stop / down - first)
    how = Image.Resampling.BILINEAR if max(across, down) <= 2 else Image.Resampling.NEAREST
    return np.asarray(part.resize((width, rows.stop - rows.start), how, box))
