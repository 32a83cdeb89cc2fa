"""One image corrected: the Corrector, and the steps that it goes by.

    import model_car

    corrector = model_car.load_corrector()          # the weights that came with the suite
    corrected = corrector.correct("old.jpg")        # or bytes, or an array of grey or RGB pixels
    corrected.pixels                                # uint8 [H, W] or [H, W, 3]

An image's planes (luma, and Cb and Cr of a file that codes them) go through the net each on its own grid.
Their changes, kept to what the file's header allows, are added to the decoded pixels.
"""

import functools
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from car import (
    changes,
    choice,
    chroma,
    cli,
    coded,
    history,
    images,
    jpeg,
    levels,
    limits,
    metadata,
    tiled,
    tiles,
    weights,
)
from car.arrays import Changes, Floats, Levels, Pixels

CORE_SIDE = 256  # of a tile, in pixels: cuts 512 and its multiples evenly, and is the fastest
NO_GAINS: Floats = np.ones((jpeg.BLOCK, jpeg.BLOCK), np.float32)

Forward = Callable[[Pixels, float], Floats]


class Net(NamedTuple):
    """A net as correction needs it.

    forward: (tiles, contrast) -> cores, uint8 [N, h, w] to float32 [N, h - 2 * halo, w - 2 * halo], not
    clipped. The net sees the tiles with this contrast about mid-grey, and its output is stretched back.
    """

    forward: Forward
    gains: Floats  # float32 [8, 8]; see weights.Weights
    coarseness: jpeg.Span | None = None  # of the files that it was trained on; None where not known
    # (tiles, contrast) -> changes of Cb and Cr, uint8 [N, h, w, 6] (chroma.Mirrored) to float32
    # [N, h - 2 * weights.CHROMA_RADIUS, ..., 2]; None where chroma goes through forward, each plane alone.
    chroma: Forward | None = None


class NetPlane(NamedTuple):
    """A plane as the net made it."""

    change: Changes  # int16 [h, w] (levels.held): what it is made, within 0..255, less what was decoded
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
        if precision not in cli.PRECISIONS:
            raise ValueError(f"precision is {precision}; it must be one of {', '.join(cli.PRECISIONS)}")
        self.bits = bits
        self.nets, self.strength, self.ensemble = dict(nets), strength, ensemble
        self.ignore_header, self.ignore_history = ignore_header, ignore_history or ignore_header
        self.luma_only, self.max_pixels = luma_only, max_pixels
        self.core_side, self.halo, self.input_types = core_side, halo, tuple(input_types)
        self.precision = precision

    def correct(self, image: str | Path | bytes | Pixels, watch: tiled.Watch | None = None) -> Corrected:
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

    def through_nets(self, picture: images.Decoded, watch: tiled.Watch | None = None) -> list[NetPlane]:
        """The planes of an image as the nets make them, kept to what the file's tables allow, where known."""
        watch, planes = watch or (lambda share: None), picture.planes
        if not planes:  # a lossless JPEG
            watch(1.0)
        choices = [self._choose_by_samples(plane, component) for component, plane in enumerate(planes)]
        sizes = [plane.samples.size for plane in planes]
        if self._sees_luma(planes, choices):
            of_luma, of_chroma = tiled.parts_of(watch, [sizes[0], sum(sizes[1:])])
            made = [self._change(planes[0], choices[0], of_luma, is_chroma=False)]
            luma = changes.corrected(planes[0].samples, made[0])
            made += self._changes_beside(luma, planes[1:], choices[1], of_chroma)
        else:
            each = zip(planes, choices, tiled.parts_of(watch, sizes), strict=True)
            made = [self._change(*one, is_chroma=number > 0) for number, one in enumerate(each)]
        return list(map(NetPlane, made, choices))

    def _choose_by_samples(self, plane: coded.Plane, component: int) -> choice.Choice:
        if choice.has_one_level(plane.samples):
            return choice.ONE_LEVEL  # nothing to correct, and a neutral picture must stay neutral
        return self.choose(plane, component)

    def _sees_luma(self, planes: Sequence[coded.Plane], choices: Sequence[choice.Choice]) -> bool:
        """Whether chroma goes through a net that sees luma beside it."""
        if len(planes) != 3 or choices[1] != choices[2] or choices[1].unchanged:
            return False
        known = chroma.covers(planes[0].samples.shape, planes[1].samples.shape) is not None
        return known and self.nets[choices[1].factor].chroma is not None

    def _change(
        self, plane: coded.Plane, chosen: choice.Choice, watch: tiled.Watch, is_chroma: bool
    ) -> Changes:
        """By what a net changes a plane, within what its table allows."""
        samples = plane.samples
        change = np.zeros(samples.shape, np.int16)  # in float32 it would take twice the memory
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
            self._by_tiles(samples, chosen, watch, put)
        self._limit(change, plane, chosen, is_chroma)
        return change

    def _changes_beside(
        self, luma: Pixels, planes: Sequence[coded.Plane], chosen: choice.Choice, watch: tiled.Watch
    ) -> list[Changes]:
        """By what the net that sees corrected luma, uint8 [H, W], changes Cb and Cr, within their tables."""
        made = [np.zeros(plane.samples.shape, np.int16) for plane in planes]

        def put(cores: Floats, some: Sequence[tiles.Tile]) -> None:
            for core, tile in zip(cores, some, strict=True):
                place = tiles.place_of(tile)
                for number, plane in enumerate(planes):
                    decoded = plane.samples[place]
                    wanted = core[: decoded.shape[0], : decoded.shape[1], number] + decoded
                    made[number][place] = levels.held(np.clip(wanted, 0, 255) - decoded)

        def through(turned: Sequence[Pixels], watch: tiled.Watch) -> list[Floats]:
            whole = np.empty((*turned[1].shape, 2), np.float32)
            self._chroma_by_tiles(turned, chosen, watch, functools.partial(tiles.stitch, whole))
            return [whole[..., 0], whole[..., 1]]

        inputs = [luma, *(plane.samples for plane in planes)]
        if self.ensemble:
            mean = np.stack(tiled.mean_of_8_ways(inputs, through, watch), -1)
            put(mean[np.newaxis], [tiles.Tile(0, 0, *mean.shape[:2])])
        else:
            self._chroma_by_tiles(inputs, chosen, watch, put)
        for change, plane in zip(made, planes, strict=True):
            self._limit(change, plane, chosen, is_chroma=True)
        return made

    def _limit(self, change: Changes, plane: coded.Plane, chosen: choice.Choice, is_chroma: bool) -> None:
        """Keep a change to what the plane's table allows, in place."""
        if plane.rounding:
            gains = self.nets[chosen.factor].gains if chosen.gains else NO_GAINS
            table, corner = plane.rounding
            limits.limit_change(change, plane.samples, table, gains, is_chroma, corner)

    def through_net(self, samples: Pixels, chosen: choice.Choice, watch: tiled.Watch | None = None) -> Floats:
        """A plane, uint8 [H, W], as one net makes it: float32 [H, W], unclipped, not limited."""
        watch = watch or (lambda share: None)
        if chosen.unchanged:
            watch(1.0)
            return samples.astype(np.float32)

        def through(turned: Sequence[Pixels], watch: tiled.Watch) -> list[Floats]:
            corrected = np.empty(turned[0].shape, np.float32)
            self._by_tiles(turned[0], chosen, watch, functools.partial(tiles.stitch, corrected))
            return [corrected]

        if self.ensemble:
            return tiled.mean_of_8_ways([samples], through, watch)[0]
        return through([samples], watch)[0]

    def _by_tiles(self, samples: Pixels, chosen: choice.Choice, watch: tiled.Watch, put: tiled.Put) -> None:
        """Send a plane, uint8 [H, W], through its net: put gets the cores, float32 [N, h, w]."""
        height, width = samples.shape
        if self.halo:
            tiling = tiles.seamless(height, width, self.core_side, self.halo)
        else:
            tiling = tiles.isolated(height, width, self.core_side)
        padded, forward = tiles.mirror(samples, tiling), self.nets[chosen.factor].forward
        tiled.by_tiles(
            tiling,
            self.core_side,
            lambda some: tiles.cut(padded, some, self.halo),
            lambda cut: forward(cut, chosen.contrast),
            put,
            watch,
        )

    def _chroma_by_tiles(
        self, planes: Sequence[Pixels], chosen: choice.Choice, watch: tiled.Watch, put: tiled.Put
    ) -> None:
        """Send luma, Cb and Cr through the net of chroma: put gets the changes, float32 [N, h, w, 2]."""
        height, width = planes[1].shape
        tiling = tiles.seamless(height, width, self.core_side, weights.CHROMA_RADIUS)
        forward = self.nets[chosen.factor].chroma
        assert forward is not None
        mirrored = chroma.Mirrored(planes, tiling)
        tiled.by_tiles(
            tiling, self.core_side, mirrored.cut, lambda cut: forward(cut, chosen.contrast), put, watch
        )

    def finish(self, picture: images.Decoded, made: Sequence[NetPlane]) -> Corrected:
        """Put an image together from its planes; made: of through_nets; the changes become those applied.

        Luma's change goes to R, G and B alike, chroma's by JFIF's matrix. At strength 0 the pixels are those
        of the file, times 257 in 16 bits.
        """
        found: list[PlaneFound] = []
        for plane, (change, chosen) in zip(picture.planes, made, strict=True):
            own = None if plane.table is None else jpeg.coarseness(plane.table, len(found))
            if (strength := self.strength * chosen.strength) != 1:
                changes.weaken(change, strength)
            found.append(PlaneFound(own, chosen, changes.mean_size(change), plane.table))
        decoded, white = picture.pixels, picture.white
        if self.bits == 16 and decoded.dtype == np.uint8:
            decoded, white = decoded.astype(np.uint16), 65535
            decoded *= 257
        pixels = changes.added(decoded, [change for change, _ in made], white)
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
