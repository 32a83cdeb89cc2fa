"""Pictures corrected, and all that is said.

While the nets work on one image, one thread decodes the next and one finishes and saves the last.
"""

import contextlib
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import numpy as np

from car import cli, figures, find, images, jobs, levels, metadata, output, pictures, stop, weights, workload
from car.arrays import Pixels
from car.correct import Corrected, Corrector, NetPlane, PlaneFound
from car.errors import BadImage, Stopped, UserError, some_of
from car.files import name_fits, naming, partial_of, whole_file
from car.find import Picture
from car.jobs import Job
from car.journal import Journal

SECONDS_BETWEEN_CSVS = 10
COMPONENTS = ("luma", "Cb", "Cr")


# ---- one image -----------------------------------------------------------------------------


class Loaded(NamedTuple):
    """A JPEG that is ready for the nets, and its clean picture's pixels if there is one, upright."""

    picture: images.Decoded
    truth: Pixels | None


class Saved(NamedTuple):
    """What came of one image."""

    pixels: int
    left: tuple[str, ...]  # fields of the metadata that the result's format cannot hold
    damaged: tuple[str, ...]  # what was damaged, in words for people
    planes: tuple[PlaneFound, ...]
    row: figures.Row | None  # None where no BMP stands beside the JPEG
    behind: tuple[str, ...] = ()  # what else the file held, in words for people
    copied: bool = False  # the result is the JPEG itself, byte by byte


def load(job: Job, journal: Journal, corrector: Corrector, picture: Picture) -> Loaded:
    """Read a picture and the clean one beside it.

    Raises BadImage, also where its result cannot be written, or a user's file has that name.
    """
    with images.reading(picture.name):
        jobs.check_place(job, picture)
        for path in job.files_of(job.name(picture)):
            if not name_fits(path):
                raise BadImage("the name of its result would be too long")
            journal.check_replaceable(path)
    with _in_folder_of(picture):
        read, clean = (
            corrector.decode(picture.path, job.depth),
            find.clean_beside(picture.path, job.inputs),
        )
    with images.reading(picture.name):
        output.check_size(read.pixels, job.format)
    with _in_folder_of(picture):
        if clean is None:
            return Loaded(read, None)
        truth = images.read_pixels(clean, corrector.max_pixels, job.depth)
        images.check_same_size(picture.path, metadata.upright(read.pixels, read.about.orientation), truth)
        return Loaded(read, truth)


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

    pixels, about, planes = corrected.pixels, corrected.about, corrected.planes
    before, after = (levels.as_8_bits(p, corrected.white) for p in (corrected.before, pixels))
    if job.compare:
        pictures.save_png(job.sheet(picture), pictures.comparison(before, after, truth), note)
    row = None
    if truth is not None:
        row = figures.measure(job.name(picture), *(levels.luma_of(shown) for shown in (before, after, truth)))
    same = None
    if job.format == "jpg" and not about.from_cmyk and np.array_equal(pixels, corrected.before):
        with images.reading(picture.name):
            same = images.read_bytes(picture.path)
    with whole_file(result, whole=note) as file:
        if same and same.startswith(find.JPEG_START):  # another generation would lose something
            file.write(same)
        else:
            held = pixels if "16 bits" in metadata.HELD_OF_PIXELS[job.format] else after
            output.write(file, held, about, job.format, job.jpeg_quality, corrected.alpha)
        file.flush()
        with contextlib.suppress(OSError):  # the JPEG went away, or the disk sets no times
            times = picture.path.stat()
            os.utime(partial_of(result), ns=(times.st_atime_ns, times.st_mtime_ns))
    left = (*metadata.left_behind(about, job.format), *_lost_of_pixels(corrected, job.format))
    damaged = about.noted + (() if job.format == "jpg" else about.lost)  # a JPEG has it as it was
    behind = () if same else about.behind
    return Saved(pixels.shape[0] * pixels.shape[1], left, damaged, planes, row, behind, bool(same))


def _lost_of_pixels(corrected: Corrected, form: str) -> list[str]:
    """What a format cannot hold of the pixels themselves, by the names of metadata.HELD."""
    has = {"transparency": corrected.alpha is not None, "16 bits": corrected.white > 255}
    return [name for name, is_there in has.items() if is_there and name not in metadata.HELD_OF_PIXELS[form]]


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

    def tell(share: float) -> None:
        watch(share + (waiting is not None))

    def finish(picture: Picture, loaded: Loaded, made: list[NetPlane]) -> Saved:
        return save(job, journal, picture, corrector.finish(loaded.picture, made), loaded.truth)

    with ThreadPoolExecutor(1) as loading, ThreadPoolExecutor(1) as saving:
        following = loading.submit(load, job, journal, corrector, chosen[0])
        for picture, after in zip(chosen, [*chosen[1:], None], strict=True):
            loading_this = following
            if after:
                following = loading.submit(load, job, journal, corrector, after)
            if fault := loading_this.exception():
                outcome: Future[Saved] = Future()
                outcome.set_exception(fault)
            else:
                loaded = loading_this.result()
                outcome = saving.submit(finish, picture, loaded, corrector.through_nets(loaded.picture, tell))
            if waiting:
                yield waiting
            waiting = picture, outcome
            if stop.asked():
                break
        if waiting:
            yield waiting


# ---- the folder ----------------------------------------------------------------------------


@dataclass
class Outcome:
    """What came of a folder."""

    found: int  # JPEGs that were to be done
    skipped: int = 0  # of them, as their results were there
    begun: int = 0  # of the rest
    bad: list[str] = field(default_factory=list)  # names
    finer: int = 0  # of those begun, left as they are: finer than what the weights were trained on
    lossless: list[str] = field(default_factory=list)  # names of lossless JPEGs, which stay as they are
    rows: dict[str, figures.Row] = field(default_factory=dict)  # by name, of those with a BMP


class CsvWriter:
    """Writes figures.csv again and again while rows come, so seldom that it costs a fiftieth of the time."""

    def __init__(self, path: Path, progress: cli.Progress) -> None:
        self.path, self._progress, self._next = path, progress, 0.0

    def write_if_due(self, rows: dict[str, figures.Row]) -> None:
        """Write the whole file, if the last time is long enough ago."""
        began = self._progress.seconds
        if began > self._next:
            figures.write(self.path, rows)
            ended = self._progress.seconds
            self._next = ended + max(SECONDS_BETWEEN_CSVS, 50 * (ended - began))


def settings_of(corrector: Corrector, weights_digest: str) -> dict[str, object]:
    """What decides the pixels of a result, by the names that people know from the options."""
    settings: dict[str, object] = {
        "version": cli.VERSION,
        "weights": weights_digest,
        "--strength": corrector.strength,
        "--ensemble": corrector.ensemble,
        "--ignore-header": corrector.ignore_header,
        "--luma-only": corrector.luma_only,
        "--overlap": corrector.halo,
    }
    if not corrector.halo:  # else no tile is seen in the result
        settings["--patch-size"] = corrector.core_side
    return settings


def correct_all(
    job: Job, corrector: Corrector, chosen: Sequence[Picture], unreadable: Mapping[str, str] | None = None
) -> Outcome:
    """Correct pictures into the results folder; name the bad ones and go on, up to the end or a signal.

    unreadable: of find.Found, bad from the start. Raises UserError where the data goes away, and where
    results that are to be skipped were made by other settings.
    """
    earlier = figures.read(job.figures)
    bad = unreadable or {}
    outcome = Outcome(len(chosen) + len(bad), rows=earlier if job.skip_existing else {})
    outcome.begun, outcome.bad = len(bad), list(bad)
    settings = settings_of(corrector, job.weights)
    if job.format == "jpg":
        settings["--jpeg-quality"] = job.jpeg_quality
    journal = Journal(job.results, job.part, job.parts, settings)
    skipped = jobs.done_already(job, journal, chosen, outcome.rows) if job.skip_existing else set()
    jobs.clear_leftovers(job, chosen)
    left = [picture for picture in chosen if picture not in skipped]
    outcome.skipped = len(skipped)
    for name, why in bad.items():
        cli.say(f"left out: {name}: {why}")
    with cli.Progress(len(chosen), "images", len(skipped), workload.of(left)) as progress:
        say, csv = Saying(progress, job.format), CsvWriter(job.figures, progress)
        for picture, future in in_order(job, journal, corrector, left, progress.part) if left else ():
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
                continue
            say.saved(picture.name, saved)
            outcome.finer += is_finer(saved.planes)
            if not saved.planes:
                outcome.lossless.append(picture.name)
            if saved.row:
                outcome.rows[saved.row.name] = saved.row
                csv.write_if_due(outcome.rows)
    if outcome.rows:
        figures.write(job.figures, outcome.rows)
    return outcome


# ---- what is said --------------------------------------------------------------------------


class Saying:
    """What is said while a folder is corrected."""

    def __init__(self, progress: cli.Progress, form: str) -> None:
        self._progress, self._pixels = progress, 0
        self._form, self._left_said = form, set[str]()  # of the results; fields of metadata that were named
        self._behind_said = False  # what else files hold, which is said of the first alone

    def bad(self, reason: BadImage) -> None:
        """An image was left out."""
        cli.say(f"left out: {reason}")
        self._progress.step()

    def saved(self, name: str, saved: Saved) -> None:
        """An image was corrected."""
        if left := [field for field in saved.left if field not in self._left_said]:
            cli.say(f"{name}: {metadata.describe_left(left, self._form)}")
            self._left_said.update(left)
        for line in saved.damaged:
            cli.say(f"{name}: {line}")
        if saved.behind:
            (cli.detail if self._behind_said else cli.say)(f"{name}: left out: {', '.join(saved.behind)}")
            self._behind_said = True
        if saved.copied:
            cli.detail(f"{name}: nothing changes, the result is the file itself: no generation lost")
        described = "; ".join(map(describe, COMPONENTS, saved.planes))
        cli.detail(f"{name}: {described or 'lossless JPEG, nothing to correct'}")
        if saved.row:
            cli.say(figures.describe(saved.row))
        self._pixels += saved.pixels
        rate = self._pixels / self._progress.seconds / 1e6
        self._progress.step(note=f"{rate:.2f} megapixels a second")


def is_finer(planes: Sequence[PlaneFound]) -> bool:
    """Whether an image stays as it is because it is finer than what the weights were trained on."""
    choices = [plane.choice for plane in planes]
    return all(choice.unchanged for choice in choices) and not all(choice.one_level for choice in choices)


def describe(component: str, plane: PlaneFound) -> str:
    """What was found of a plane and done to it, for people."""
    if plane.choice.one_level:
        return f"{component} has one level throughout and stays as it is"
    if plane.choice.unchanged:
        return f"{component} is finer than all weights and stays as it is"
    coarse = (
        "no table known" if plane.coarseness is None else f"table {plane.coarseness:.2f} of the standard one"
    )
    of = plane.choice.factor
    chosen = "the log's own weights" if of is None else f"weights for {of:.2f}"
    return f"{component}: {coarse}, {chosen}, mean change {plane.mean_change:.2f} grey levels"


def say_worse_than_none(log: Path, trained: weights.Weights) -> None:
    """Name weights by which validation found the pictures worse than before."""
    if trained.worse_than_none:
        cli.say(
            f"{log}: this net is worse than no correction (validation loss {trained.val_loss:.3f}, "
            f"the JPG's own {trained.val_jpg_mse:.3f}); train it on, or name the folder 'pretrained'"
        )


def say_unknown_coarseness(log: Path, bank: weights.Bank) -> None:
    """Say it where a log has no bank, and does not know for which files its net is."""
    if set(bank) == {None} and bank[None].coarseness is None:
        cli.say(
            f"how coarse the JPGs were that {log} was trained on is not known: its net corrects every file, "
            f"and may harm finer ones; records written by this version of the loaders tell it to train_car.py"
        )


def say_outcome(job: Job, outcome: Outcome) -> None:
    """Say what came of a folder. Raises Stopped where a signal ended the work."""
    already = f", {outcome.skipped} were there already" if outcome.skipped else ""
    done = outcome.begun - len(outcome.bad)
    cli.say(f"corrected {done} of {outcome.found} images into {job.results}{already}")
    if depth := job.depth.describe():
        cli.say(f"grey of 16 bits: {depth}")
    if outcome.lossless:
        cli.say(f"lossless JPEGs, nothing to correct, pixels as they were: {some_of(outcome.lossless)}")
    if outcome.begun < outcome.found - outcome.skipped:
        raise Stopped(f"stopped by {stop.name()}; with --skip-existing the same command goes on")
    if outcome.finer:
        cli.say(f"left as they are: {outcome.finer}, finer than the JPGs that the weights were trained on")
    if outcome.rows:
        cli.say(figures.describe(figures.summary(outcome.rows)))
    if outcome.bad:
        cli.say(f"left out as bad: {some_of(outcome.bad)}")
