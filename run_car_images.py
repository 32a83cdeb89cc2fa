"""Correct a folder of JPGs: each NAME.jpg of WORKDIR/data becomes WORKDIR/results/NAME_car.bmp.

    python run_car_images.py WORKDIR log data results
    python run_car_images.py . pretrained my_photographs corrected --format png --compare

log is the folder that train_car.py wrote; `pretrained` means the weights that came with this.
Where NAME.bmp stands beside NAME.jpg, MSE, PSNR and SSIM against it are printed before and
after, of the luma, and written to results/figures.csv.
"""

import argparse
import functools
import re
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import car_shell
import numpy as np
import tensorflow as tf
from car_shell import some_of
from PIL import Image

from car_images import (
    MAX_PIXELS,
    BadImage,
    Jpeg,
    Plane,
    check_same_size,
    find_bmp,
    luma_of,
    read_jpeg,
    read_pixels,
    upright,
)
from car_jpeg import coarseness, keep_to_steps
from car_lock import part_locked
from car_results import (
    Saved,
    Stages,
    choose_jpegs,
    correct_folder,
    describe,
    measure,
    name_fits,
    refuse_twins,
    result_path,
    save_compare,
    save_picture,
    summary,
)
from car_split import SETS
from car_tiles import MIN_SIDE, cut, isolated, mirror, seamless, stitch
from car_types import Floats, Pixels
from model_car import RADIUS, Bank, CarNet, layers_for, load_nets

TILE_SIDE = 256  # of a core: cuts 512 and its multiples evenly, and is the fastest
BATCH_PIXELS = 2**16  # of tiles that go through the net together: their maps stay in a cache of 32 MiB
ROWS = 256  # of the picture finished at a time
TO_RGB = np.array([[0, -0.344136, 1.772], [1.402, -0.714136, 0]], np.float32)  # Cb and Cr, JFIF (BT.601)
MID_GREY = 127.5
NO_GAINS: Floats = np.ones((8, 8), np.float32)

Forward = Callable[..., tf.Tensor]  # (tiles, contrast) -> cores; see make_forward
NEARLY = 1.4  # a set that is coarser than the file by no more than this fits it best (BSDS500 val)


def arguments() -> argparse.Namespace:
    """Parse the command line."""
    parser = car_shell.parser(__doc__)
    parser.add_argument("workdir", metavar="WORKDIR")
    parser.add_argument("log", help="folder of the trained weights, joined to WORKDIR")
    parser.add_argument("data", help="folder of JPGs, joined to WORKDIR")
    parser.add_argument("results", help="folder to write, joined to WORKDIR")
    parser.add_argument(
        "--format", choices=("bmp", "png"), default="bmp", help="png keeps EXIF and ICC profile (bmp)"
    )
    parser.add_argument(
        "--strength",
        type=float,
        default=1.0,
        metavar="S",
        help="part of the correction that is applied, 0..1 (1)",
    )
    parser.add_argument(
        "--ensemble",
        action="store_true",
        help="the mean over all eight flips and turns; a little better, eight times slower",
    )
    parser.add_argument(
        "--ignore-header",
        action="store_true",
        help="the log's own net for every file, and no limits by its quantisation table: for pictures that "
        "were saved again at a higher quality",
    )
    parser.add_argument(
        "--luma-only", action="store_true", help="leave the colours as they are; less good, a third faster"
    )
    parser.add_argument(
        "--compare",
        action="store_true",
        help="also save NAME_compare.png: JPG | corrected | BMP | what changed",
    )
    parser.add_argument("--skip-existing", action="store_true", help="pass over images whose result is there")
    parser.add_argument("--split", choices=SETS, help="only the images of this set, by the split.json in log")
    parser.add_argument(
        "--shard", metavar="I/N", help="only the I-th of N parts of the folder, for job arrays"
    )
    parser.add_argument(
        "--patch-size",
        type=car_shell.positive,
        default=TILE_SIDE,
        metavar="P",
        help="largest side of a tile's core in pixels; changes speed, not the result (256)",
    )
    parser.add_argument(
        "--overlap",
        type=int,
        choices=(0, RADIUS),
        default=RADIUS,
        help=f"neighbours around a tile; 0 gives the original's isolated patches, seams and all ({RADIUS})",
    )
    parser.add_argument("--conv", choices=("fast", "direct"), help="form of layer 2 (fast; direct on a GPU)")
    parser.add_argument(
        "--max-pixels",
        type=car_shell.positive,
        default=MAX_PIXELS,
        metavar="N",
        help="leave out images with more (500 million)",
    )
    args = car_shell.parse(parser, None, inputs=["data"], outputs=["log", "results"])
    if args.patch_size < MIN_SIDE:
        parser.error(f"argument --patch-size: at least {MIN_SIDE}")
    if not 0 <= args.strength <= 1:
        parser.error("argument --strength: 0..1")
    if args.results.exists() and args.results.samefile(args.data):
        parser.error("results must be another folder than data")
    if not args.overlap:  # as the original did
        args.ignore_header = args.luma_only = True
    args.part = (1, 1)
    if args.shard:
        match = re.fullmatch(r"(\d+)/(\d+)", args.shard)
        args.part = tuple(map(int, match.groups())) if match else (0, 0)
        if not 1 <= args.part[0] <= args.part[1]:
            parser.error("argument --shard: I/N with 1 <= I <= N, as in 3/8")
    return args


# ---- one image -----------------------------------------------------------------------------


def make_forward(net: CarNet, overlap: int, conv: str | None = None) -> Forward:
    """Return (tiles, contrast) -> cores: uint8 [N, h, w] -> float32 [N, h - 2 * overlap, w - 2 * overlap].

    contrast, a float32 tensor, 1 if not given, multiplies what the net sees about mid-grey, and
    divides it afterwards. Traced, and its XLA parts compiled, once for each shape: a
    second or so.
    """
    layers = layers_for(conv)
    parameters, padding = net.constants(), "VALID" if overlap else "SAME"

    @tf.function
    # A contrast that is a tensor: no trace for each value.
    def forward(tiles: tf.Tensor, contrast: tf.Tensor = tf.constant(1.0)) -> tf.Tensor:  # noqa: B008
        luma = MID_GREY + contrast * (tf.cast(tiles, tf.float32)[..., tf.newaxis] - MID_GREY)
        corrected = net(luma, padding=padding, layers=layers, parameters=parameters)[..., 0]
        return MID_GREY + (corrected - MID_GREY) / contrast

    return forward


class Chosen(NamedTuple):
    """What a plane goes through: a net, and the gains of its change (CarNet)."""

    forward: Forward
    gains: Floats  # float32 [8, 8]


Choose = Callable[[Floats | None, int], Chosen]  # of a quantisation table and a component


def make_choice(nets: Bank, overlap: int, conv: str | None = None) -> Choose:
    """Return (steps, component) -> Chosen for a plane with that quantisation table (None: not known).

    nets: as load_nets gives them. Of a bank the coarsest set is taken that is at most NEARLY times as
    coarse as the file. Where the file is the coarser one, less contrast makes its steps, and so its
    artifacts, as small as the set knows them; the other way about, more contrast, does worse than none.
    A file finer than all sets has nothing to mend and stays as it is. Chroma (components 1 and 2) is
    corrected by the same sets, but with gains of 1: those of luma do worse there (BSDS500 val, colour).
    """
    sets = {factor: Chosen(make_forward(net, overlap, conv), net.gains) for factor, net in nets.items()}
    factors = [factor for factor in nets if factor]

    def unchanged(tiles: tf.Tensor) -> tf.Tensor:
        inside = slice(overlap, -overlap or None)
        return tf.cast(tiles[:, inside, inside], tf.float32)

    def choose(steps: Floats | None, component: int) -> Chosen:
        if steps is None or not factors:
            return sets[None]._replace(gains=NO_GAINS) if component else sets[None]
        own = coarseness(steps, component)
        factor = max((factor for factor in factors if factor <= NEARLY * own), default=None)
        if factor is None:
            return Chosen(unchanged, NO_GAINS)
        forward, gains = sets[factor]
        contrast = tf.constant(min(1, factor / own), tf.float32)
        return Chosen(functools.partial(forward, contrast=contrast), NO_GAINS if component else gains)

    return choose


def correct_plane(samples: Pixels, forward: Forward, side: int, overlap: int) -> Floats:
    """Correct a plane, uint8 [H, W], tile by tile. Returns float32 [H, W], unclipped.

    Two batches are under way at a time: one is cut or stitched while the other is computed.
    """
    height, width = samples.shape
    tiling = seamless(height, width, side, overlap) if overlap else isolated(height, width, side)
    padded, corners = mirror(samples, tiling), tiling.corners
    corrected = np.empty(samples.shape, np.float32)
    batch = min(len(corners), max(1, BATCH_PIXELS // (tiling.core_height * tiling.core_width)))

    def correct(first: int) -> None:
        first = min(first, len(corners) - batch)  # the last batch is a full one too: one shape
        some = corners[first : first + batch]
        stitch(corrected, forward(tf.constant(cut(padded, tiling, some))).numpy(), some)

    with ThreadPoolExecutor(2) as pool:
        list(pool.map(correct, range(0, len(corners), batch)))
    return corrected


def correct_8_ways(samples: Pixels, forward: Forward, side: int, overlap: int) -> Floats:
    """The mean of what correct_plane makes of a plane and of its flips and turns, each put back."""
    total = np.zeros(samples.shape, np.float32)
    for turns in range(4):
        for flip in (slice(None), slice(None, None, -1)):
            corrected = correct_plane(np.rot90(samples, turns)[flip], forward, side, overlap)
            total += np.rot90(corrected[flip], -turns)
    total /= 8
    return total


def chosen_planes(planes: tuple[Plane, ...], args: argparse.Namespace) -> tuple[Plane, ...]:
    """The planes that args ask for, without their steps where these are not to be used."""
    chosen = planes[:1] if args.luma_only else planes
    return tuple(plane._replace(steps=None) for plane in chosen) if args.ignore_header else chosen


class Corrected(NamedTuple):
    """A plane as the net made it, float32 [h, w], unclipped, and the gains of its net."""

    samples: Floats
    gains: Floats  # float32 [8, 8]


def correct_planes(planes: Sequence[Plane], choose: Choose, args: argparse.Namespace) -> list[Corrected]:
    """Correct the planes of a Jpeg as args say."""
    correct = correct_8_ways if args.ensemble else correct_plane
    corrected = []
    for component, plane in enumerate(planes):
        forward, gains = choose(plane.steps, component)
        corrected.append(Corrected(correct(plane.samples, forward, args.patch_size, args.overlap), gains))
    return corrected


def apply_correction(jpeg: Jpeg, corrected: list[Corrected], strength: float) -> Pixels:
    """Add the changes of the planes to a Jpeg's pixels. Returns uint8 of pixels' shape.

    corrected: what correct_planes made of jpeg.planes; used up.
    A change is kept to what the file's steps allow, where it has them. Luma's goes to R, G and B
    alike, chroma's by JFIF's matrix. Strength 0 gives `pixels` exactly.
    """
    for (change, gains), plane in zip(corrected, jpeg.planes, strict=True):
        np.clip(change, 0, 255, out=change)
        change -= plane.samples
        if plane.steps is not None:
            keep_to_steps(change, plane.samples, plane.steps, gains)
        change *= strength
    luma, *colours = (change for change, _ in corrected)
    chroma = [Image.fromarray(change) for change in colours]
    result = np.empty_like(jpeg.pixels)
    for top in range(0, luma.shape[0], ROWS):
        rows = slice(top, top + ROWS)
        change = luma[rows]
        if jpeg.pixels.ndim == 3:
            change = change[..., np.newaxis]
            if chroma:
                change = change + np.stack([interpolated(c, luma.shape, rows) for c in chroma], -1) @ TO_RGB
        result[rows] = np.clip(np.rint(jpeg.pixels[rows] + change), 0, 255).astype(np.uint8)
    return result


def interpolated(chroma: Image.Image, shape: tuple[int, ...], rows: slice) -> Floats:
    """Rows of a chroma plane (PIL, mode F) at the luma's shape (H, W), as libjpeg makes them: float32.

    Twice as many by the triangle filter (3/4 of the nearer, 1/4 of the farther sample) for 4:2:0.
    """
    height, width = shape
    scale = 1 if chroma.size == (width, height) else 2
    top, bottom = rows.start, min(rows.stop, height)
    box = (0, top / scale, width / scale, bottom / scale)
    return np.asarray(chroma.resize((width, bottom - top), Image.Resampling.BILINEAR, box))


class Loaded(NamedTuple):
    """A JPEG that is ready for the net; its pixels and, where there is one, its BMP's, upright."""

    jpeg: Jpeg
    before: Pixels
    truth: Pixels | None


def load(jpg: Path, args: argparse.Namespace) -> Loaded:
    """Read a JPEG, of its planes those that args ask for, and the BMP beside it. Raises BadImage."""
    if not name_fits(result_path(jpg, args)):
        raise BadImage(f"{jpg.name}: the name of its result would be too long")
    jpeg, bmp = read_jpeg(jpg, args.max_pixels), find_bmp(jpg)
    jpeg = jpeg._replace(planes=chosen_planes(jpeg.planes, args))
    before = upright(jpeg.pixels, jpeg.orientation)
    truth = read_pixels(bmp, args.max_pixels) if bmp else None
    if truth is not None:
        check_same_size(jpg, before, truth)
    return Loaded(jpeg, before, truth)


def save(jpg: Path, loaded: Loaded, corrected: list[Corrected], args: argparse.Namespace) -> Saved:
    """Apply the corrected planes, measure against the BMP, and write the result. Returns Saved."""
    jpeg, before, truth = loaded
    after = upright(apply_correction(jpeg, corrected, args.strength), jpeg.orientation)
    if args.compare:
        save_compare(args.results / f"{jpg.stem}_compare.png", before, after, truth)
    row = None
    if truth is not None:
        row = measure(jpg.stem, luma_of(before), luma_of(after), luma_of(truth))
    keep = args.format == "png"
    save_picture(result_path(jpg, args), after, jpeg, keep)
    lost = not keep and bool(jpeg.exif or jpeg.icc_profile)
    return Saved(jpeg.pixels.shape[0] * jpeg.pixels.shape[1], lost, jpeg.exif_lost, row)


def main() -> int:
    """Correct the folder. Returns the exit status: 1 if an image was bad."""
    args = arguments()
    if args.log.name == "pretrained" and not args.log.exists():
        args.log = Path(__file__).resolve().parent / "pretrained"
        print(f"weights: those that came with this suite, {args.log}")
    jpegs = choose_jpegs(args)
    nets = load_nets(args.log)
    if nets[None].worse_than_none:
        print(
            f"{args.log}: this net is worse than no correction (validation loss {nets[None].val_loss:.3f}, "
            f"the JPG's own {nets[None].val_jpg_mse:.3f}); train it on, or name the folder 'pretrained'"
        )
    choose = make_choice(nets, args.overlap, args.conv)
    stages = Stages(
        load=functools.partial(load, args=args),
        correct=lambda loaded: correct_planes(loaded.jpeg.planes, choose, args),
        save=functools.partial(save, args=args),
    )
    part, parts = args.part
    args.results.mkdir(parents=True, exist_ok=True)
    with part_locked(args.results, part, parts) as lock:
        car_shell.stop.hold()
        refuse_twins(args, jpegs, lock)
        rows, bad = correct_folder(args, stages, jpegs[part - 1 :: parts])
    if rows:
        print(describe(summary(rows)))
    if bad:
        print(f"left out as bad: {some_of(bad)}")
    return 1 if bad else 0


if __name__ == "__main__":
    car_shell.run(main)
