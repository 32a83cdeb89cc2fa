"""What came of the pictures of a run, and all that is said of it."""

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from car import cli, figures, metadata, rows, stop, weights
from car.errors import BadImage, Stopped, some_of
from car.jobs import Job
from car.rows import Row

# ---- what came of them ---------------------------------------------------------------------


class Saved(NamedTuple):
    """What came of one image."""

    row: Row
    lost: Sequence[str] = ()  # fields of the metadata, and what is like them, that the format cannot hold
    damaged: Sequence[str] = ()  # what was damaged, in words for people
    behind: Sequence[str] = ()  # what else the file held, in words for people
    copied: bool = False  # the result is the JPEG itself, byte by byte
    crops: Sequence[tuple[int, int]] | None = None  # that the page of results shows; None where there is none


@dataclass
class Outcome:
    """What came of the pictures of a run."""

    found: int  # that were to be done
    skipped: int = 0  # of them, as their results were there
    begun: int = 0  # of the rest
    bad: list[str] = field(default_factory=list)  # names
    unchanged: Counter[str] = field(default_factory=Counter)  # of those begun, by the reason
    rows: dict[str, Row] = field(default_factory=dict)  # by name, with those that were skipped

    def add(self, row: Row) -> None:
        """Count a picture that was done or left out."""
        self.rows[row.name] = row
        if row.status == rows.UNCHANGED:
            self.unchanged[row.why] += 1


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
        if left := [field for field in saved.lost if field not in self._left_said]:
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
        cli.detail(f"{name}: {rows.describe(saved.row)}")
        if saved.row.figures:
            cli.say(f"{name}: {figures.describe(saved.row.figures)}")
        self._pixels += math.prod(saved.row.size or (0,))
        rate = self._pixels / self._progress.seconds / 1e6
        self._progress.step(note=f"{rate:.2f} megapixels a second")


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


def counts(done: str, job: Job, outcome: Outcome) -> str:
    """How many pictures came to what, in a line. done: "corrected", or "would correct"."""
    unchanged = sum(outcome.unchanged.values())
    corrected = outcome.begun - len(outcome.bad) - unchanged
    line = f"{done} {corrected} of {outcome.found} images into {job.results}"
    if unchanged:
        several = len(outcome.unchanged) > 1
        reasons = [f"{count} {why}" if several else why for why, count in sorted(outcome.unchanged.items())]
        line += f", unchanged {unchanged} ({', '.join(reasons)})"
    line += f", left out {len(outcome.bad)}" if outcome.bad else ""
    return line + (f", {outcome.skipped} were there already" if outcome.skipped else "")


def say_outcome(job: Job, outcome: Outcome) -> None:
    """Say what came of a folder. Raises Stopped where a signal ended the work."""
    cli.say(counts("corrected", job, outcome))
    if depth := job.depth.describe():
        cli.say(f"pictures of 16 bits: {depth}")
    if outcome.begun < outcome.found - outcome.skipped:
        raise Stopped(f"stopped by {stop.name()}; with --skip-existing the same command goes on")
    if measured := [row.figures for row in outcome.rows.values() if row.figures]:
        cli.say(figures.describe_mean(measured))
    if outcome.bad:
        cli.say(f"left out as bad: {some_of(outcome.bad)}")
