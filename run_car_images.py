"""Correct a folder of JPGs: each NAME.jpg of WORKDIR/data becomes WORKDIR/results/NAME_car.bmp.

    python run_car_images.py WORKDIR log data results
    python run_car_images.py . pretrained my_photographs corrected --format png --compare

log is the folder that train_car.py wrote; `pretrained` means the weights that came with this.
Where NAME.bmp stands beside NAME.jpg, MSE, PSNR and SSIM against it are printed before and
after, of the luma, and written to results/figures.csv.
"""

import csv
import functools
import math
import re
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import car_shell
import numpy as np
import tensorflow as tf
from car_shell import Progress, UserError, some_of, whole_file
from PIL import Image

from car_images import (
    MAX_PIXELS,
    ORIENTATION,
    BadImage,
    Jpeg,
    check_same_size,
    difference,
    find_bmp,
    find_jpegs,
    luma_of,
    read_jpeg,
    read_pixels,
    side_by_side,
    upright,
)
from car_jpeg import coarseness, keep_to_steps
from car_metrics import mse, psnr, ssim
from car_split import SETS, SPLIT_FILE, read_split
from car_tiles import MIN_SIDE, cut, isolated, mirror, seamless, stitch
from model_car import RADIUS, layers_for, load_nets

TILE_SIDE = 260  # of a core: cuts 512 and its multiples evenly, and is the fastest
BATCH_PIXELS = 2**16  # of tiles that go through the net together: their maps stay in a cache of 32 MiB
ROWS = 256  # of the picture finished at a time
TO_RGB = np.array([[0, -0.344136, 1.772], [1.402, -0.714136, 0]], np.float32)  # Cb and Cr, JFIF (BT.601)
MID_GREY = 127.5
COLUMNS = ("name", "mse_before", "mse_after", "psnr_before", "psnr_after", "ssim_before", "ssim_after")
CSV_SECONDS = 10  # between two writings of the CSV


def arguments():
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
        help="largest side of a tile's core in pixels; changes speed, not the result (260)",
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
    if args.results.resolve() == args.data.resolve():
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


def make_forward(net, overlap, conv=None):
    """Return (tiles, gain) -> cores: uint8 [N, h, w] -> float32 [N, h - 2 * overlap, w - 2 * overlap].

    gain, a float32 tensor, 1 if not given, multiplies the contrast about mid-grey that the net
    sees, and divides it afterwards. Traced, and its XLA parts compiled, once for each shape: a
    second or so.
    """
    _, layers = layers_for(conv)
    parameters, padding = net.constants(), "VALID" if overlap else "SAME"

    @tf.function
    def forward(tiles, gain=tf.constant(1.0)):  # noqa: B008 (a tensor: no trace for each value)
        luma = MID_GREY + gain * (tf.cast(tiles, tf.float32)[..., tf.newaxis] - MID_GREY)
        corrected = net(luma, padding=padding, layers=layers, parameters=parameters)[..., 0]
        return MID_GREY + (corrected - MID_GREY) / gain

    return forward


def make_forward_for(nets, overlap, conv=None):
    """Return steps -> forward for a file with that quantisation table of the luma (None: not known).

    nets: as load_nets gives them. Of a bank the set of the nearest coarseness is taken, and the gain
    brings the file's steps, and so its artifacts, to the size that the set was trained on.
    """
    forwards = {factor: make_forward(net, overlap, conv) for factor, net in nets.items()}
    factors = sorted(factor for factor in nets if factor)

    def forward_for(steps):
        if steps is None or not factors:
            return forwards[None]
        own = coarseness(steps)
        nearest = min(factors, key=lambda factor: abs(math.log(factor / own)))
        return functools.partial(forwards[nearest], gain=tf.constant(nearest / own, tf.float32))

    return forward_for


def correct_plane(samples, forward, side, overlap):
    """Correct a plane, uint8 [H, W], tile by tile. Returns float32 [H, W], unclipped.

    Two batches are under way at a time: one is cut or stitched while the other is computed.
    """
    tiling = seamless(*samples.shape, side, overlap) if overlap else isolated(*samples.shape, side)
    padded, corners = mirror(samples, tiling), tiling.corners
    corrected = np.empty(samples.shape, np.float32)
    batch = min(len(corners), max(1, BATCH_PIXELS // (tiling.core_height * tiling.core_width)))

    def correct(first):
        first = min(first, len(corners) - batch)  # the last batch is a full one too: one shape
        some = corners[first : first + batch]
        stitch(corrected, forward(tf.constant(cut(padded, tiling, some))).numpy(), some)

    correct(0)  # traces and compiles, which is not for two at once
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(correct, range(batch, len(corners), batch)))
    return corrected


def correct_8_ways(samples, forward, side, overlap):
    """The mean of what correct_plane makes of a plane and of its flips and turns, each put back."""
    total = np.zeros(samples.shape, np.float32)
    for turns in range(4):
        for flip in (slice(None), slice(None, None, -1)):
            corrected = correct_plane(np.rot90(samples, turns)[flip], forward, side, overlap)
            total += np.rot90(corrected[flip], -turns)
    return total / 8


def chosen_planes(planes, args):
    """The planes that args ask for, without their steps where these are not to be used."""
    chosen = planes[:1] if args.luma_only else planes
    return [plane._replace(steps=None) for plane in chosen] if args.ignore_header else chosen


def correct_planes(planes, forward_for, args):
    """Correct the planes of a Jpeg as args say. Returns a list of float32 [h, w], unclipped."""
    correct = correct_8_ways if args.ensemble else correct_plane
    return [correct(p.samples, forward_for(p.steps), args.patch_size, args.overlap) for p in planes]


def apply_correction(jpeg, corrected, strength):
    """Add the changes of the planes to a Jpeg's pixels. Returns uint8 of pixels' shape.

    corrected: what correct_planes made of jpeg.planes; used up.
    A change is kept to what the file's steps allow, where it has them. Luma's goes to R, G and B
    alike, chroma's by JFIF's matrix. Strength 0 gives `pixels` exactly.
    """
    for change, plane in zip(corrected, jpeg.planes, strict=True):
        np.clip(change, 0, 255, out=change)
        change -= plane.samples
        if plane.steps is not None:
            keep_to_steps(change, plane.samples, plane.steps)
        change *= strength
    luma, *chroma = corrected
    chroma = [Image.fromarray(change) for change in chroma]
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


def interpolated(chroma, shape, rows):
    """Rows of a chroma plane (PIL, mode F) at the luma's shape (H, W), as libjpeg makes them: float32.

    Twice as many by the triangle filter (3/4 of the nearer, 1/4 of the farther sample) for 4:2:0.
    """
    height, width = shape
    scale = 1 if chroma.size == (width, height) else 2
    top, bottom = rows.start, min(rows.stop, height)
    box = (0, top / scale, width / scale, bottom / scale)
    return np.asarray(chroma.resize((width, bottom - top), Image.Resampling.BILINEAR, box))


def measure(name, before, after, truth):
    """A row of the CSV: MSE, PSNR and SSIM of two luma planes against the truth's, uint8 [H, W]."""
    errors = mse(before, truth), mse(after, truth)
    return (name, *errors, *map(psnr, errors), ssim(before, truth), ssim(after, truth))


def save_picture(path, pixels, jpeg, keep):
    """Write uint8 pixels as BMP or, with EXIF (orientation reset) and ICC profile, as PNG."""
    extra = {}
    if keep:
        if ORIENTATION in jpeg.exif:
            jpeg.exif[ORIENTATION] = 1
        extra = {"exif": jpeg.exif.tobytes()} if len(jpeg.exif) else {}
        extra |= {"icc_profile": jpeg.icc_profile} if jpeg.icc_profile else {}
    with whole_file(path) as file:
        Image.fromarray(pixels).save(file, "PNG" if keep else "BMP", **extra)


def save_compare(path, before, after, truth):
    """Save JPG | corrected | BMP (where there is one) | what changed, as PNG."""
    panels, titles = [before, after], ["JPG", "corrected"]
    if truth is not None:
        panels.append(truth)
        titles.append("BMP")
    panels.append(difference(luma_of(after), luma_of(before)))
    titles.append("what changed, 4 times, grey = nothing")
    with whole_file(path) as file:
        side_by_side(panels, titles).save(file, "PNG")


class Loaded(NamedTuple):
    """A JPEG that is ready for the net, and its BMP, upright, where there is one."""

    jpeg: Jpeg
    truth: np.ndarray | None


def load(jpg, args):
    """Read a JPEG, of its planes those that args ask for, and the BMP beside it. Raises BadImage."""
    jpeg, bmp = read_jpeg(jpg, args.max_pixels), find_bmp(jpg)
    jpeg = jpeg._replace(planes=chosen_planes(jpeg.planes, args))
    truth = read_pixels(bmp, args.max_pixels) if bmp else None
    if bmp:
        check_same_size(jpg, upright(jpeg.pixels, jpeg.exif), truth)
    return Loaded(jpeg, truth)


def save(jpg, loaded, corrected, args):
    """Apply the corrected luma and write the result.

    Returns (number of pixels, whether metadata was lost, CSV row or None).
    """
    jpeg, truth = loaded
    before = upright(jpeg.pixels, jpeg.exif)
    after = upright(apply_correction(jpeg, corrected, args.strength), jpeg.exif)
    if args.compare:
        save_compare(args.results / f"{jpg.stem}_compare.png", before, after, truth)
    row = measure(jpg.stem, *map(luma_of, (before, after, truth))) if truth is not None else None
    keep = args.format == "png"
    save_picture(result_path(jpg, args), after, jpeg, keep)
    lost = not keep and (len(jpeg.exif) > 0 or jpeg.icc_profile is not None)
    return jpeg.pixels.shape[0] * jpeg.pixels.shape[1], lost, row


def result_path(jpg, args):
    """Where the result of a JPEG goes."""
    return args.results / f"{jpg.stem}_car.{args.format}"


# ---- the folder ----------------------------------------------------------------------------


def choose_jpegs(args):
    """The JPEGs to correct: those of the folder, of --split, of --shard. Raises UserError for none."""
    jpegs = find_jpegs(args.data)
    if args.split:
        split = read_split(args.log)
        if split is None:
            raise UserError(
                f"{args.log / SPLIT_FILE} is missing: --split needs the log of a training on records "
                f"that the loaders wrote"
            )
        names = set(split["sets"][args.split])
        jpegs = [jpg for jpg in jpegs if jpg.stem in names]
        print(f"{args.split} set: {len(jpegs)} of {len(names)} images are in {args.data}")
    part, parts = args.part
    if not jpegs:
        raise UserError(f"{args.data} holds no .jpg or .jpeg to correct")
    return jpegs[part - 1 :: parts]


def figures_file(args):
    """The CSV's path; each shard has its own."""
    part, parts = args.part
    return args.results / ("figures.csv" if parts == 1 else f"figures_{part}_of_{parts}.csv")


def read_figures(path):
    """Read a CSV of an earlier run as {name: row}; empty where there is none."""
    if not path.exists():
        return {}
    with open(path, newline="") as file:
        return {name: (name, *map(float, values)) for name, *values in list(csv.reader(file))[1:]}


def write_figures(path, rows):
    """Write {name: row} to the CSV."""
    with whole_file(path, "w") as file:
        csv.writer(file, lineterminator="\n").writerows([COLUMNS, *rows.values()])


def describe(row):
    """A CSV row as a line for people."""
    name, mse_before, mse_after, psnr_before, psnr_after, ssim_before, ssim_after = row
    line = f"{name}: MSE {mse_before:.2f} -> {mse_after:.2f}, PSNR {psnr_before:.2f} -> {psnr_after:.2f} dB"
    return line if math.isnan(ssim_before) else f"{line}, SSIM {ssim_before:.4f} -> {ssim_after:.4f}"


def summary(rows):
    """The mean over images of every column, as a CSV row (SSIM over those that have one)."""
    columns = list(zip(*rows.values(), strict=True))[1:]
    return (
        f"mean of {len(rows)} images",
        *(float(np.nanmean(c)) if not np.isnan(c).all() else math.nan for c in columns),
    )


def correct_in_order(args, forward_for, jpegs):
    """Yield (jpg, future of what save returns) in order; result() raises BadImage for a bad image.

    One thread loads the next image and one saves the last, while the net works on this one.
    """
    with ThreadPoolExecutor(1) as loading, ThreadPoolExecutor(1) as saving:
        following = loading.submit(load, jpegs[0], args)
        waiting = None
        for jpg, after in zip(jpegs, [*jpegs[1:], None], strict=True):
            outcome, following = following, loading.submit(load, after, args) if after else None
            if outcome.exception() is None:
                corrected = correct_planes(outcome.result().jpeg.planes, forward_for, args)
                outcome = saving.submit(save, jpg, outcome.result(), corrected, args)
            if waiting:
                yield waiting
            waiting = jpg, outcome
        yield waiting


def correct_folder(args, forward_for, jpegs):
    """Correct all; name the bad ones and go on. Returns (rows by name, names of bad images)."""
    figures = figures_file(args)
    rows = read_figures(figures) if args.skip_existing else {}
    # A result whose figures did not reach the CSV before a kill is made again.
    skipped = [
        jpg
        for jpg in (jpegs if args.skip_existing else ())
        if result_path(jpg, args).exists() and (jpg.stem in rows or not find_bmp(jpg))
    ]
    left = sorted(set(jpegs) - set(skipped))
    bad, pixels, lost_said, written_at = [], 0, False, 0.0
    with Progress(len(jpegs), "images", done=len(skipped)) as progress:
        for jpg, outcome in correct_in_order(args, forward_for, left) if left else ():
            try:
                size, lost, row = outcome.result()
            except BadImage as reason:
                bad.append(jpg.name)
                progress.say(f"left out: {reason}")
                progress.step()
                continue
            pixels += size
            if lost and not lost_said:
                progress.say(f"{jpg.name}: BMP holds no EXIF or ICC profile; --format png keeps them")
                lost_said = True
            if row:
                rows[jpg.stem] = row
                progress.say(describe(row))
                if progress.seconds - written_at > CSV_SECONDS:
                    write_figures(figures, rows)
                    written_at = progress.seconds
            progress.step(note=f"{pixels / progress.seconds / 1e6:.2f} megapixels a second")
    if rows:
        write_figures(figures, rows)
    already = f", {len(skipped)} were there already" if skipped else ""
    print(f"corrected {len(left) - len(bad)} of {len(jpegs)} images into {args.results}{already}")
    return rows, bad


def main():
    """Correct the folder. Returns the exit status: 1 if an image was bad."""
    args = arguments()
    if args.log.name == "pretrained" and not args.log.exists():
        args.log = Path(__file__).resolve().parent / "pretrained"
        print(f"weights: those that came with this suite, {args.log}")
    jpegs = choose_jpegs(args)
    forward_for = make_forward_for(load_nets(args.log), args.overlap, args.conv)
    args.results.mkdir(parents=True, exist_ok=True)
    rows, bad = correct_folder(args, forward_for, jpegs)
    if rows:
        print(describe(summary(rows)))
    if bad:
        print(f"left out as bad: {some_of(bad)}")
    return 1 if bad else 0


if __name__ == "__main__":
    car_shell.run(main)
