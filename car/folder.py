"""A folder of JPEGs corrected: which are to be done, what is there already, and all that is said.

While the nets work on one image, one thread decodes the next and one finishes and saves the last.
"""

import contextlib
import os
import re
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from PIL import Image

from car import cli, figures, images, metadata, pictures, split, stop, weights
from car.arrays import Pixels
from car.correct import Corrected, Corrector, NetPlane, PlaneFound
from car.errors import BadImage, Stopped, UserError, some_of
from car.files import name_fits, partial_of, whole_file

SECONDS_BETWEEN_CSVS = 10
COMPONENTS = ("luma", "Cb", "Cr")


@dataclass(frozen=True)
class Job:
    """What is to be done with a folder."""

    data: Path
    results: Path
    format: str = "bmp"  # or "png", which keeps metadata
    compare: bool = False  # a sheet beside each result
    skip_existing: bool = False
    part: int = 1  # of how many parts, from 1: shards
    parts: int = 1
    depth: images.Depth = field(default_factory=images.Depth)  # of the clean pictures

    def result(self, jpg: Path) -> Path:
        """Where the result of a JPEG goes."""
        return self.results / f"{jpg.stem}_car.{self.format}"

    def sheet(self, jpg: Path) -> Path:
        """Where its sheet goes."""
        return self.results / f"{jpg.stem}_compare.png"

    @property
    def figures(self) -> Path:
        """The CSV's path; each shard has its own."""
        name = "figures.csv" if self.parts == 1 else f"figures_{self.part}_of_{self.parts}.csv"
        return self.results / name


# ---- which images --------------------------------------------------------------------------


def find(data: Path, log: Path, which: str | None) -> list[Path]:
    """The JPEGs to correct: those of the folder, of one set of the log's split. Raises UserError for none."""
    jpegs = images.find_jpegs(data)
    if which:
        written = split.read(log)
        if written is None:
            raise UserError(
                f"{log / split.SPLIT_FILE} is missing: --split needs the log of a training on records "
                f"that the loaders wrote"
            )
        names = set(written["sets"][which])
        if not names:
            raise UserError(
                f"the {which} set is empty by {log / split.SPLIT_FILE} (--all leaves none for it, nor do "
                f"two groups); leave --split out, or write the records again without --all"
            )
        jpegs = [jpg for jpg in jpegs if jpg.stem in names]
        cli.say(f"{which} set: {len(jpegs)} of {len(names)} images are in {data}")
    if not jpegs:
        raise UserError(f"{data} holds no .jpg or .jpeg to correct")
    return jpegs


def refuse_twins(results: Path, jpegs: Sequence[Path], lock: Path) -> None:
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
                f"{results} is on a disk that does not tell large letters from small ones: "
                f"{other} and {jpg.name} would give one result; rename one of them"
            )


def clear_leftovers(results: Path, jpegs: Sequence[Path]) -> None:
    """Remove what a killed run of these JPEGs left half written."""
    halves = [name for name in os.listdir(results) if name.startswith(".") and name.endswith(".partial")]
    stems = {jpg.stem for jpg in jpegs} if halves else set()
    for name in halves:
        match = re.fullmatch(r"\.(.*)_(car\.(bmp|png)|compare\.png)\.partial", name, re.DOTALL)
        if match and match[1] in stems:
            (results / name).unlink(missing_ok=True)


def done_already(job: Job, jpegs: Sequence[Path], rows: dict[str, figures.Row]) -> set[Path]:
    """The JPEGs whose results are there; no image is opened.

    A result whose figures did not reach the CSV before a kill is to be made again.
    """
    there = set(os.listdir(job.results))
    return {
        jpg
        for jpg in jpegs
        if job.result(jpg).name in there and (jpg.stem in rows or not images.find_bmp(jpg))
    }


# ---- one image -----------------------------------------------------------------------------


class Loaded(NamedTuple):
    """A JPEG that is ready for the nets, and its clean picture's pixels if there is one, upright."""

    picture: images.Jpeg
    truth: Pixels | None


class Saved(NamedTuple):
    """What came of one image."""

    pixels: int
    left: tuple[str, ...]  # fields of the metadata that the result's format cannot hold
    damaged: tuple[str, ...]  # what was damaged of the metadata, in words for people
    planes: tuple[PlaneFound, ...]
    row: figures.Row | None  # None where no BMP stands beside the JPEG


def load(job: Job, corrector: Corrector, jpg: Path) -> Loaded:
    """Read a JPEG and the BMP beside it. Raises BadImage."""
    if not name_fits(job.result(jpg)):
        raise BadImage(f"{jpg.name}: the name of its result would be too long")
    picture, bmp = corrector.decode(jpg), images.find_bmp(jpg)
    if bmp is None:
        return Loaded(picture, None)
    truth = images.read_pixels(bmp, corrector.max_pixels, job.depth)
    images.check_same_size(jpg, metadata.upright(picture.pixels, picture.about.orientation), truth)
    return Loaded(picture, truth)


def save(job: Job, jpg: Path, corrected: Corrected, truth: Pixels | None) -> Saved:
    """Measure against the BMP, and write the result, which gets the JPEG's time of modification."""
    pixels, before, about, planes = corrected
    if job.compare:
        pictures.save_png(job.sheet(jpg), pictures.comparison(before, pixels, truth))
    row = None
    if truth is not None:
        row = figures.measure(jpg.stem, *(images.luma_of(picture) for picture in (before, pixels, truth)))
    result = job.result(jpg)
    with whole_file(result) as file:
        Image.fromarray(pixels).save(file, job.format.upper(), **metadata.kept(about, job.format))
        file.flush()
        with contextlib.suppress(OSError):  # the JPEG went away, or the disk sets no times
            times = jpg.stat()
            os.utime(partial_of(result), ns=(times.st_atime_ns, times.st_mtime_ns))
    left = metadata.left_behind(about, job.format)
    return Saved(pixels.shape[0] * pixels.shape[1], left, about.lost, planes, row)


def in_order(
    job: Job, corrector: Corrector, jpegs: Sequence[Path], watch: Callable[[float], None]
) -> Iterator[tuple[Path, "Future[Saved]"]]:
    """Yield (jpg, future of Saved) in order; result() raises BadImage for a bad image.

    watch is told how far the nets are beyond the images that were yielded, in images. Ends with the image in
    hand where a signal asks for it.
    """
    waiting: tuple[Path, Future[Saved]] | None = None

    def tell(share: float) -> None:
        watch(share + (waiting is not None))

    def finish(jpg: Path, loaded: Loaded, made: list[NetPlane]) -> Saved:
        return save(job, jpg, corrector.finish(loaded.picture, made), loaded.truth)

    with ThreadPoolExecutor(1) as loading, ThreadPoolExecutor(1) as saving:
        following = loading.submit(load, job, corrector, jpegs[0])
        for jpg, after in zip(jpegs, [*jpegs[1:], None], strict=True):
            loading_this = following
            if after:
                following = loading.submit(load, job, corrector, after)
            if fault := loading_this.exception():
                outcome: Future[Saved] = Future()
                outcome.set_exception(fault)
            else:
                loaded = loading_this.result()
                outcome = saving.submit(finish, jpg, loaded, corrector.through_nets(loaded.picture, tell))
            if waiting:
                yield waiting
            waiting = jpg, outcome
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


def correct_all(job: Job, corrector: Corrector, jpegs: Sequence[Path]) -> Outcome:
    """Correct JPEGs into the results folder; name the bad ones and go on, up to the end or a signal.

    Raises UserError where the folder of the JPEGs goes away.
    """
    earlier = figures.read(job.figures)
    outcome = Outcome(len(jpegs), rows=earlier if job.skip_existing else {})
    clear_leftovers(job.results, jpegs)
    skipped = done_already(job, jpegs, outcome.rows) if job.skip_existing else set()
    left = [jpg for jpg in jpegs if jpg not in skipped]
    outcome.skipped = len(skipped)
    with cli.Progress(len(jpegs), "images", done=len(skipped)) as progress:
        say, csv = Saying(progress, job.format), CsvWriter(job.figures, progress)
        for jpg, future in in_order(job, corrector, left, progress.part) if left else ():
            outcome.begun += 1
            try:
                saved = future.result()
            except BadImage as reason:
                if not job.data.is_dir():
                    raise UserError(
                        f"{job.data} went away; with --skip-existing the same command goes on"
                    ) from reason
                outcome.bad.append(jpg.name)
                say.bad(reason)
                continue
            say.saved(jpg, saved)
            if not saved.planes:
                outcome.lossless.append(jpg.name)
            if saved.row:
                outcome.rows[jpg.stem] = saved.row
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

    def bad(self, reason: BadImage) -> None:
        """An image was left out."""
        cli.say(f"left out: {reason}")
        self._progress.step()

    def saved(self, jpg: Path, saved: Saved) -> None:
        """An image was corrected."""
        if left := [name for name in saved.left if name not in self._left_said]:
            cli.say(f"{jpg.name}: {metadata.describe_left(left, self._form)}")
            self._left_said.update(left)
        for line in saved.damaged:
            cli.say(f"{jpg.name}: {line}")
        described = "; ".join(map(describe, COMPONENTS, saved.planes))
        cli.detail(f"{jpg.name}: {described or 'lossless JPEG, nothing to correct'}")
        if saved.row:
            cli.say(figures.describe(saved.row))
        self._pixels += saved.pixels
        rate = self._pixels / self._progress.seconds / 1e6
        self._progress.step(note=f"{rate:.2f} megapixels a second")


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


def say_outcome(job: Job, outcome: Outcome) -> None:
    """Say what came of a folder. Raises Stopped where a signal ended the work."""
    already = f", {outcome.skipped} were there already" if outcome.skipped else ""
    done = outcome.begun - len(outcome.bad)
    cli.say(f"corrected {done} of {outcome.found} images into {job.results}{already}")
    if depth := job.depth.describe():
        cli.say(f"clean pictures: {depth}")
    if outcome.lossless:
        cli.say(f"lossless JPEGs, nothing to correct, pixels as they were: {some_of(outcome.lossless)}")
    if outcome.begun < outcome.found - outcome.skipped:
        raise Stopped(f"stopped by {stop.name()}; with --skip-existing the same command goes on")
    if outcome.rows:
        cli.say(figures.describe(figures.summary(outcome.rows)))
    if outcome.bad:
        cli.say(f"left out as bad: {some_of(outcome.bad)}")
