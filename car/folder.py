"""Pictures corrected.

While the nets work on one image, one thread decodes the next and one finishes and saves the last.
"""

import contextlib
import io
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import numpy as np

from car import (
    cli,
    figures,
    find,
    images,
    jobs,
    levels,
    metadata,
    output,
    pictures,
    report,
    room,
    rows,
    stop,
    thumbnails,
    workload,
)
from car.arrays import Pixels
from car.correct import Corrected, Corrector, NetPlane
from car.errors import BadImage, UserError
from car.files import name_fits, naming, partial_of, whole_file
from car.find import Picture
from car.jobs import Job
from car.journal import Journal
from car.rows import Row
from car.saying import Outcome, Saved, Saying

# ---- one image -----------------------------------------------------------------------------


class Loaded(NamedTuple):
    """A JPEG that is ready for the nets, and its clean picture's pixels if there is one, upright."""

    picture: images.Decoded
    truth: Pixels | None
    seconds: float = 0.0  # that it took


def load(
    job: Job, journal: Journal, corrector: Corrector, picture: Picture, header_only: bool = False
) -> Loaded:
    """Read a picture and the clean one beside it.

    header_only: neither is decoded, as images.decode_jpeg says. Raises BadImage, also where its result cannot
    be written, or a user's file has that name.
    """
    began = time.perf_counter()
    with images.reading(picture.name):
        paths = job.files_of(job.name(picture))
        if not all(map(name_fits, paths)):
            raise BadImage("the name of its result would be too long")
        jobs.check_place(job, picture)
        for path in paths:
            journal.check_replaceable(path)
    with _in_folder_of(picture):
        read, clean = (
            corrector.decode(picture.path, job.depth, header_only),
            find.clean_beside(picture.path, job.inputs),
        )
    with images.reading(picture.name):
        output.check_size(read.pixels, job.format)
    with _in_folder_of(picture):
        if clean is None:
            return Loaded(read, None, time.perf_counter() - began)
        size = read.pixels.shape[:2]
        upright = size[::-1] if read.about.orientation >= 5 else size
        images.check_same_size(picture.path, upright, images.size_of(clean, corrector.max_pixels))
        if header_only:
            return Loaded(read, None)
        truth = images.read_pixels(clean, corrector.max_pixels, job.depth)
        return Loaded(read, truth, time.perf_counter() - began)


@contextlib.contextmanager
def _in_folder_of(picture: Picture) -> Iterator[None]:
    """Let the reason of a BadImage, which begins with a file's name, begin with its folder too."""
    try:
        yield
    except BadImage as reason:
        folder = picture.name.rpartition("/")[0]
        raise BadImage(f"{folder}/{reason}" if folder else str(reason)) from reason


def save(job: Job, journal: Journal, picture: Picture, corrected: Corrected, truth: Pixels | None) -> Saved:
    """Measure against the clean picture, and write the result, which gets the JPEG's time of modification."""

    def note(path: Path) -> None:
        journal.note(partial_of(path), path, picture.name)

    result = job.result(picture)
    if result.parent != job.results:  # a folder of results that went away is a fault
        with naming(result.parent):
            result.parent.mkdir(parents=True, exist_ok=True)

    pixels, measured, crops = corrected.pixels, None, None
    if "depth of 16 bits" not in metadata.HELD_OF_PIXELS[job.format]:
        pixels = levels.as_8_bits(pixels, corrected.white)
    jpeg, copied = _as_jpeg(job, picture, corrected, pixels) if job.format == "jpg" else (b"", False)
    if job.compare or job.report or truth is not None:
        before, after = (levels.as_8_bits(p, corrected.white) for p in (corrected.before, corrected.pixels))
        if jpeg:  # what is in the file
            saved = images.decode_jpeg(jpeg, max(images.MAX_PIXELS, after.size))
            after = metadata.upright(levels.as_8_bits(saved.pixels, saved.white), saved.about.orientation)
        if job.compare:
            pictures.save_png(job.sheet(picture), pictures.comparison(before, after, truth), note)
        if job.report:
            drawn = thumbnails.draw(before, after, truth)
            crops = report.save_shown(job, job.name(picture), drawn, note)
        measured = None if truth is None else figures.measure(before, after, truth)
    with whole_file(result, whole=note) as file:
        if jpeg:
            file.write(jpeg)
        else:
            output.write(file, pixels, corrected.about, job.format, alpha=corrected.alpha)
        file.flush()
        with contextlib.suppress(OSError):  # the JPEG went away, or the disk sets no times
            times = picture.path.stat()
            os.utime(partial_of(result), ns=(times.st_atime_ns, times.st_mtime_ns))
    changed = not np.array_equal(pixels, corrected.before)
    return what_came(job, picture, corrected, changed, copied, measured)._replace(crops=crops)


def what_came(
    job: Job,
    picture: Picture,
    corrected: Corrected,
    changed: bool,
    copied: bool,
    measured: figures.Figures | None = None,
) -> Saved:
    """What came of a picture. changed: any pixel, by correction. copied: its result is the file itself."""
    about, planes = corrected.about, corrected.planes
    kept, lost = metadata.fate(about, job.format, corrected.alpha is not None, corrected.white > 255)
    has_own_segments = job.format == "jpg" and about.segments is not None  # whatever is damaged in them
    damaged = about.noted + (() if has_own_segments else about.lost)
    behind = () if copied else (*about.behind, *_too_coarse(job, corrected))
    why = "" if changed else rows.why_unchanged(planes)
    if copied and changed:
        why, planes = "a new saving would gain nothing", tuple(p._replace(mean_change=0.0) for p in planes)
    left = (*lost, *damaged, *behind)
    past = "" if corrected.earlier is None else corrected.earlier.describe()
    row = rows.of(job.name(picture), corrected.pixels.shape, planes, kept, left, why, measured, past)
    return Saved(row, lost, damaged, behind, copied)


def _too_coarse(job: Job, corrected: Corrected) -> list[str]:
    """In words that --jpeg-quality, as it was told, takes more than correction gives."""
    coarseness = corrected.planes[0].coarseness if corrected.planes else None
    if job.format != "jpg" or not job.jpeg_quality or coarseness is None:
        return []
    needed = output.coarsest_quality_for(coarseness)
    return [f"detail: --jpeg-quality {job.jpeg_quality}, this file needs {needed}"] * (
        job.jpeg_quality < needed
    )


def _as_jpeg(job: Job, picture: Picture, corrected: Corrected, pixels: Pixels) -> tuple[bytes, bool]:
    """A JPEG of corrected pixels, uint8; or the file itself, and True."""
    if is_copied(job, corrected, not np.array_equal(corrected.pixels, corrected.before)):
        with images.reading(picture.name):
            return images.read_bytes(picture.path), True
    file = io.BytesIO()
    output.write(file, pixels, corrected.about, "jpg", _jpeg_quality(job, corrected) or output.JPEG_QUALITY)
    return file.getvalue(), False


def is_copied(job: Job, corrected: Corrected, changed: bool) -> bool:
    """Whether a JPEG result is the file itself, as a new saving gains nothing. changed: any pixel."""
    about = corrected.about
    was_jpeg = about.segments is not None and not about.from_cmyk
    return job.format == "jpg" and was_jpeg and not (changed and _jpeg_quality(job, corrected))


def _jpeg_quality(job: Job, corrected: Corrected) -> int | None:
    """At which a JPEG result is saved; None where none is worth it."""
    coarseness = corrected.planes[0].coarseness if corrected.planes else None
    return job.jpeg_quality or output.jpeg_quality_for(coarseness)


def in_order(
    job: Job,
    journal: Journal,
    corrector: Corrector,
    chosen: Sequence[Picture],
    watch: Callable[[float], None],
) -> Iterator[tuple[Picture, "Future[Saved]"]]:
    """Yield (picture, future of Saved) in order; result() raises BadImage for a bad image.

    watch is told how far the nets are beyond the images that were yielded, in images. Ends with the image in
    hand where a signal asks for it.
    """
    waiting: tuple[Picture, Future[Saved]] | None = None
    space = room.Room()

    def tell(share: float) -> None:
        watch(share + (waiting is not None))

    def read(picture: Picture) -> Loaded:
        pixels = workload.pixels_of(picture.path)
        space.take(picture, pixels)
        with space.stage(picture):
            if pixels <= corrector.max_pixels:  # else reading it says what is wrong
                room.check_memory(picture, pixels, costly=job.compare or job.format == "webp")
            return load(job, journal, corrector, picture)

    def through_nets(picture: Picture, reading: "Future[Loaded]") -> "Future[Saved]":
        try:
            loaded, began = reading.result(), time.perf_counter()
            with space.stage(picture):
                made = corrector.through_nets(loaded.picture, tell)
        except BadImage as reason:
            failed: Future[Saved] = Future()
            failed.set_exception(reason)
            return failed
        return saving.submit(finish, picture, loaded, made, time.perf_counter() - began)

    def finish(picture: Picture, loaded: Loaded, made: list[NetPlane], seconds: float) -> Saved:
        began = time.perf_counter()
        with space.stage(picture):
            corrected = corrector.finish(loaded.picture, made)
            made.clear()  # else the changes would stay in memory while the result is written
            saved = save(job, journal, picture, corrected, loaded.truth)
        space.give_back(picture)
        seconds += loaded.seconds + time.perf_counter() - began
        return saved._replace(row=saved.row._replace(seconds=round(seconds, 3)))

    with ThreadPoolExecutor(1) as loading, ThreadPoolExecutor(1) as saving:
        ahead = [loading.submit(read, chosen[0])]
        for picture, after in zip(chosen, [*chosen[1:], None], strict=True):
            reading = ahead.pop()
            if after:
                ahead.append(loading.submit(read, after))
            outcome = through_nets(picture, reading)
            del reading  # else its pixels would stay until the next one has been read
            if waiting:
                yield waiting
            waiting = picture, outcome
            if stop.asked():
                break
        if waiting:
            yield waiting


# ---- the folder ----------------------------------------------------------------------------


def settings_of(corrector: Corrector, weights_digest: str) -> dict[str, object]:
    """What decides the pixels of a result, by the names that people know from the options."""
    settings: dict[str, object] = {
        "version": cli.VERSION,
        "weights": weights_digest,
        "--strength": corrector.strength,
        "--ensemble": corrector.ensemble,
        "--ignore-header": corrector.ignore_header,
        "--ignore-history": corrector.ignore_history,
        "--luma-only": corrector.luma_only,
        "--overlap": corrector.halo,
    }
    if corrector.precision != "float32":
        settings["--precision"] = corrector.precision
    if corrector.bits != 8:
        settings["--bits"] = corrector.bits
    if not corrector.halo:  # else no tile is seen in the result
        settings["--patch-size"] = corrector.core_side
    return settings


def settings_for(job: Job, corrector: Corrector) -> dict[str, object]:
    """settings_of, with what the format adds."""
    settings = settings_of(corrector, job.weights)
    if job.format == "jpg":
        settings["--jpeg-quality"] = job.jpeg_quality
    return settings


def open_journal(job: Job, corrector: Corrector, writing: bool = True) -> Journal:
    """The journal of a job's results. writing: as in Journal."""
    return Journal(job.results, job.part, job.parts, settings_for(job, corrector), writing)


# How pictures are gone through: in_order, or anything that is called as it is and yields the same.
Way = Callable[
    [Job, Journal, Corrector, Sequence[Picture], Callable[[float], None]],
    Iterator[tuple[Picture, "Future[Saved]"]],
]


def correct_all(
    job: Job,
    corrector: Corrector,
    chosen: Sequence[Picture],
    unreadable: Mapping[str, str] | None = None,
    way: Way = in_order,
) -> Outcome:
    """Correct pictures into the results folder; name the bad ones and go on, up to the end or a signal.

    unreadable: of find.Found, bad from the start. Raises UserError where the data goes away, and where
    results that are to be skipped were made by other settings.
    """
    earlier = rows.done_in(job.results, job.figures)
    bad = unreadable or {}
    outcome = Outcome(len(chosen) + len(bad), begun=len(bad), bad=list(bad))
    journal = open_journal(job, corrector)
    skipped = jobs.done_already(job, journal, chosen, earlier) if job.skip_existing else set()
    jobs.clear_leftovers(job, chosen)
    left = [picture for picture in chosen if picture not in skipped]
    outcome.skipped = len(skipped)
    outcome.rows = {name: earlier[name] for name in map(job.name, skipped)}
    for name, why in bad.items():
        cli.say(f"left out: {name}: {why}")
    page = report.Page(job, journal, chosen, outcome.found, bad) if job.report else None
    with cli.Progress(len(chosen), "images", len(skipped), workload.of(left)) as progress:
        say = Saying(progress, job.format)
        csv = rows.Writer(job.figures, progress, page.write if page else None)
        for picture, future in way(job, journal, corrector, left, progress.part) if left else ():
            outcome.begun += 1
            try:
                saved = future.result()
            except BadImage as reason:
                if not job.data.exists():
                    raise UserError(
                        f"{job.data} went away; with --skip-existing the same command goes on"
                    ) from reason
                outcome.bad.append(picture.name)
                say.bad(reason)
                why = str(reason).removeprefix(f"{picture.name}: ")
                row = Row(job.name(picture), rows.LEFT_OUT, why)
            else:
                say.saved(picture.name, saved)
                row = saved.row
                if page:
                    page.add(row.name, saved.crops)
            outcome.add(row)
            csv.write_if_due(outcome.rows)
    if page:
        page.write(outcome.rows, finished=outcome.begun == outcome.found - outcome.skipped)
    if outcome.rows:
        rows.write(job.figures, outcome.rows)
    return outcome
