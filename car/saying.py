"""What came of the pictures of a run, and all that is said of it."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from car import cli, figures, metadata, stop, weights
from car.correct import PlaneFound
from car.errors import BadImage, Stopped, some_of
from car.jobs import Job

COMPONENTS = ("luma", "Cb", "Cr")


# ---- what came of them ---------------------------------------------------------------------


class Saved(NamedTuple):
    """What came of one image."""

    pixels: int
    left: tuple[str, ...]  # fields of the metadata that the result's format cannot hold
    damaged: tuple[str, ...]  # what was damaged, in words for people
    planes: tuple[PlaneFound, ...]
    figures: figures.Figures | None  # None where no clean picture stands beside it
    behind: tuple[str, ...] = ()  # what else the file held, in words for people
    copied: bool = False  # the result is the JPEG itself, byte by byte


@dataclass
class Outcome:
    """What came of a folder."""

    found: int  # JPEGs that were to be done
    skipped: int = 0  # of them, as their results were there
    begun: int = 0  # of the rest
    bad: list[str] = field(default_factory=list)  # names
    finer: int = 0  # of those begun, left as they are: finer than what the weights were trained on
    lossless: list[str] = field(default_factory=list)  # names of those in which nothing is to be corrected
    rows: dict[str, figures.Figures] = field(default_factory=dict)  # by name, of those with a clean picture


# ---- what is said --------------------------------------------------------------------------


class Saying:
    """What is said while a folder is corrected."""

    def __init__(self, progress: cli.Progress, form: str) -> None:
        self._progress, self._pixels = progress, 0
        self._form, self._left_said = form, set[str]()  # of the results; fields of metadata that were named
        self._behind_said = set[str]()  # kinds of what else files hold, without their number

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
            kinds = {what.lstrip("0123456789 ") for what in saved.behind}
            say = cli.detail if kinds <= self._behind_said else cli.say
            say(f"{name}: not kept: {', '.join(saved.behind)}")
            self._behind_said |= kinds
        if saved.copied:
            cli.detail(f"{name}: a new saving would gain nothing, the result is the file itself")
        described = "; ".join(map(describe, COMPONENTS, saved.planes))
        cli.detail(f"{name}: {described or 'nothing to correct (a lossless JPEG, or black and white alone)'}")
        if saved.figures:
            cli.say(f"{name}: {figures.describe(saved.figures)}")
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
        cli.say(f"pictures of 16 bits: {depth}")
    if outcome.lossless:
        kinds = "lossless JPEGs, black and white alone"
        cli.say(f"nothing to correct ({kinds}), pixels as they were: {some_of(outcome.lossless)}")
    if outcome.begun < outcome.found - outcome.skipped:
        raise Stopped(f"stopped by {stop.name()}; with --skip-existing the same command goes on")
    if outcome.finer:
        cli.say(f"left as they are: {outcome.finer}, finer than the JPGs that the weights were trained on")
    if outcome.rows:
        cli.say(figures.describe_mean(list(outcome.rows.values())))
    if outcome.bad:
        cli.say(f"left out as bad: {some_of(outcome.bad)}")
