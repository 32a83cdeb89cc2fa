"""A folder of results: which JPEGs are to be done, what is there already, pictures and figures on disk.

Of an image's way through the net this knows three stages, Stages; run_car_images.py supplies them.
"""

import argparse
import csv
import math
import os
import re
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

import car_shell
import numpy as np
from car_shell import Progress, Stopped, UserError, say, whole_file
from PIL import Image

from car_images import BadImage, Jpeg, difference, find_bmp, find_jpegs, luma_of, side_by_side
from car_metrics import mse, psnr, ssim
from car_split import SPLIT_FILE, read_split
from car_types import Pixels

COLUMNS = ("name", "mse_before", "mse_after", "psnr_before", "psnr_after", "ssim_before", "ssim_after")
CSV_SECONDS = 10  # between two writings of the CSV

Row = tuple[Any, ...]  # of the CSV: a name, then floats; as COLUMNS say


class Saved(NamedTuple):
    """What came of one image."""

    pixels: int
    lost: bool  # metadata that the result's format cannot hold
    exif_lost: bool  # the EXIF was damaged
    row: Row | None  # None where no BMP stands beside the JPEG


class Stages(NamedTuple):
    """The way of one image: load(jpg) -> loaded, correct(loaded) -> corrected, save(jpg, loaded, corrected).

    load and save may raise BadImage.
    """

    load: Callable[[Path], Any]
    correct: Callable[[Any], Any]
    save: Callable[[Path, Any, Any], Saved]


# ---- which images --------------------------------------------------------------------------


def choose_jpegs(args: argparse.Namespace) -> list[Path]:
    """The JPEGs to correct: those of the folder, of --split. Raises UserError for none."""
    jpegs = find_jpegs(args.data)
    if args.split:
        split = read_split(args.log)
        if split is None:
            raise UserError(
                f"{args.log / SPLIT_FILE} is missing: --split needs the log of a training on records "
                f"that the loaders wrote"
            )
        names = set(split["sets"][args.split])
        if not names:
            raise UserError(
                f"the {args.split} set is empty by {args.log / SPLIT_FILE} (--all leaves none for it, nor do "
                f"two groups); leave --split out, or write the records again without --all"
            )
        jpegs = [jpg for jpg in jpegs if jpg.stem in names]
        print(f"{args.split} set: {len(jpegs)} of {len(names)} images are in {args.data}")
    if not jpegs:
        raise UserError(f"{args.data} holds no .jpg or .jpeg to correct")
    return jpegs


def result_path(jpg: Path, args: argparse.Namespace) -> Path:
    """Where the result of a JPEG goes."""
    return args.results / f"{jpg.stem}_car.{args.format}"


def name_fits(result: Path) -> bool:
    """Whether a result's name, and that of what whole_file writes beside it, are within 255 bytes."""
    return len(os.fsencode(f".{result.name}.partial")) <= 255


# ---- pictures ------------------------------------------------------------------------------


def save_picture(path: Path, pixels: Pixels, jpeg: Jpeg, keep: bool) -> None:
    """Write uint8 pixels, upright, as BMP or, with EXIF and ICC profile, as PNG."""
    extra: dict[str, Any] = {}
    if keep:
        extra = {"exif": jpeg.exif} if jpeg.exif else {}
        extra |= {"icc_profile": jpeg.icc_profile} if jpeg.icc_profile else {}
    with whole_file(path) as file:
        Image.fromarray(pixels).save(file, "PNG" if keep else "BMP", **extra)


def save_compare(path: Path, before: Pixels, after: Pixels, truth: Pixels | None) -> None:
    """Save JPG | corrected | BMP (where there is one) | what changed, as PNG."""
    panels, titles = [before, after], ["JPG", "corrected"]
    if truth is not None:
        panels.append(truth)
        titles.append("BMP")
    panels.append(difference(luma_of(after), luma_of(before)))
    titles.append("what changed, 4 times, grey = nothing")
    with whole_file(path) as file:
        side_by_side(panels, titles).save(file, "PNG")


# ---- figures -------------------------------------------------------------------------------


def measure(name: str, before: Pixels, after: Pixels, truth: Pixels) -> Row:
    """A row of the CSV: MSE, PSNR and SSIM of two luma planes against the truth's, uint8 [H, W]."""
    errors = mse(before, truth), mse(after, truth)
    return (name, *errors, *map(psnr, errors), ssim(before, truth), ssim(after, truth))


def figures_file(args: argparse.Namespace) -> Path:
    """The CSV's path; each shard has its own."""
    part, parts = args.part
    return args.results / ("figures.csv" if parts == 1 else f"figures_{part}_of_{parts}.csv")


def read_figures(path: Path) -> dict[str, Row]:
    """Read a CSV of an earlier run as {name: row}; empty where there is none.

    Raises UserError where it is none of ours: it would be overwritten.
    """
    if not path.exists():
        return {}
    try:
        with open(path, encoding="utf-8", errors="surrogateescape", newline="") as file:
            header, *lines = csv.reader(file)
        if tuple(header) != COLUMNS or any(len(line) != len(COLUMNS) for line in lines):
            raise ValueError("other columns")
        return {name: (name, *map(float, values)) for name, *values in lines}
    except (ValueError, csv.Error) as error:
        raise UserError(
            f"{path} is damaged, or of another program ({error}); it would be overwritten: move it elsewhere"
        ) from error


def write_figures(path: Path, rows: dict[str, Row]) -> None:
    """Write {name: row} to the CSV, by name."""
    with whole_file(path, "w") as file:
        # Quoted, as a name may hold even a carriage return.
        writer = csv.writer(file, lineterminator="\n", quoting=csv.QUOTE_NONNUMERIC)
        writer.writerows([COLUMNS, *(rows[name] for name in sorted(rows))])


def describe(row: Row) -> str:
    """A CSV row as a line for people."""
    name, mse_before, mse_after, psnr_before, psnr_after, ssim_before, ssim_after = row
    line = f"{name}: MSE {mse_before:.2f} -> {mse_after:.2f}, PSNR {psnr_before:.2f} -> {psnr_after:.2f} dB"
    return line if math.isnan(ssim_before) else f"{line}, SSIM {ssim_before:.4f} -> {ssim_after:.4f}"


def summary(rows: dict[str, Row]) -> Row:
    """The mean over images of every column, as a CSV row (SSIM over those that have one)."""
    columns = list(zip(*rows.values(), strict=True))[1:]
    return (
        f"mean of {len(rows)} images",
        *(float(np.nanmean(c)) if not np.isnan(c).all() else math.nan for c in columns),
    )


# ---- the folder ----------------------------------------------------------------------------


def refuse_twins(args: argparse.Namespace, jpegs: list[Path], lock: Path) -> None:
    """Raise UserError where a.jpg and A.jpg meet a results folder that does not tell A from a.

    lock: a file that is in the results folder.
    """
    if not lock.with_name(lock.name.swapcase()).exists():
        return
    seen: dict[str, str] = {}
    for jpg in jpegs:
        other = seen.setdefault(jpg.stem.casefold(), jpg.name)
        if other != jpg.name:
            raise UserError(
                f"{args.results} is on a disk that does not tell large letters from small ones: "
                f"{other} and {jpg.name} would give one result; rename one of them"
            )


def clear_leftovers(args: argparse.Namespace, jpegs: list[Path]) -> None:
    """Remove what a killed run of these JPEGs left half written."""
    halves = [name for name in os.listdir(args.results) if name.startswith(".") and name.endswith(".partial")]
    stems = {jpg.stem for jpg in jpegs} if halves else set()
    for name in halves:
        match = re.fullmatch(r"\.(.*)_(car\.(bmp|png)|compare\.png)\.partial", name, re.DOTALL)
        if match and match[1] in stems:
            (args.results / name).unlink(missing_ok=True)


def done_already(args: argparse.Namespace, jpegs: list[Path], rows: dict[str, Row]) -> set[Path]:
    """The JPEGs whose results are there; no image is opened.

    A result whose figures did not reach the CSV before a kill is to be made again.
    """
    there = set(os.listdir(args.results))
    return {
        jpg
        for jpg in jpegs
        if f"{jpg.stem}_car.{args.format}" in there and (jpg.stem in rows or not find_bmp(jpg))
    }


def correct_in_order(stages: Stages, jpegs: list[Path]) -> Iterator[tuple[Path, Future[Any]]]:
    """Yield (jpg, future of Saved) in order; result() raises BadImage for a bad image.

    One thread loads the next image and one saves the last, while the net works on this one. Ends
    with the image in hand where a signal asks for it.
    """
    with ThreadPoolExecutor(1) as loading, ThreadPoolExecutor(1) as saving:
        following = loading.submit(stages.load, jpegs[0])
        waiting = None
        for jpg, after in zip(jpegs, [*jpegs[1:], None], strict=True):
            outcome = following
            if after:
                following = loading.submit(stages.load, after)
            if outcome.exception() is None:
                loaded = outcome.result()
                outcome = saving.submit(stages.save, jpg, loaded, stages.correct(loaded))
            if waiting:
                yield waiting
            waiting = jpg, outcome
            if car_shell.stop.number:
                break
        if waiting:
            yield waiting


def correct_folder(
    args: argparse.Namespace, stages: Stages, jpegs: list[Path]
) -> tuple[dict[str, Row], list[str]]:
    """Correct all; name the bad ones and go on. Returns (rows by name, names of bad images).

    Raises UserError where the folder of the JPEGs goes away, Stopped where a signal ends the work.
    """
    figures = figures_file(args)
    earlier = read_figures(figures)
    rows = earlier if args.skip_existing else {}
    clear_leftovers(args, jpegs)
    skipped = done_already(args, jpegs, rows) if args.skip_existing else set()
    left = [jpg for jpg in jpegs if jpg not in skipped]
    bad: list[str] = []
    pixels, lost_said, write_at, done = 0, False, 0.0, 0
    with Progress(len(jpegs), "images", done=len(skipped)) as progress:
        for jpg, outcome in correct_in_order(stages, left) if left else ():
            done += 1
            try:
                saved = outcome.result()
            except BadImage as reason:
                if not args.data.is_dir():
                    raise UserError(
                        f"{args.data} went away; with --skip-existing the same command goes on"
                    ) from reason
                bad.append(jpg.name)
                progress.say(f"left out: {reason}")
                progress.step()
                continue
            pixels += saved.pixels
            if saved.lost and not lost_said:
                progress.say(f"{jpg.name}: BMP holds no EXIF or ICC profile; --format png keeps them")
                lost_said = True
            if saved.exif_lost:
                progress.say(f"{jpg.name}: its EXIF is damaged and was left out")
            if saved.row:
                rows[jpg.stem] = saved.row
                progress.say(describe(saved.row))
                if progress.seconds > write_at:
                    began = progress.seconds
                    write_figures(figures, rows)
                    # The whole file each time: of a large folder less often, so that it costs a fiftieth.
                    write_at = progress.seconds + max(CSV_SECONDS, 50 * (progress.seconds - began))
            progress.step(note=f"{pixels / progress.seconds / 1e6:.2f} megapixels a second")
    if rows:
        write_figures(figures, rows)
    already = f", {len(skipped)} were there already" if skipped else ""
    say(f"corrected {done - len(bad)} of {len(jpegs)} images into {args.results}{already}")
    if done < len(left):
        raise Stopped(f"stopped by {car_shell.stop.name}; with --skip-existing the same command goes on")
    return rows, bad
