"""Which JPEGs of a folder are to be corrected, what their results are called, and what is there already."""

import os
import re
import unicodedata
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from car import cli, figures, find, levels, split
from car.errors import UserError, some_of
from car.journal import Journal


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
    weights: str = ""  # digest of the weights
    told_apart: Mapping[str, str] = field(default_factory=dict)  # of tell_apart
    depth: levels.Depth = field(default_factory=levels.Depth)  # of the clean pictures

    def name(self, jpg: Path) -> str:
        """What the files of a JPEG in the results begin with, and its row of figures is called."""
        return self.told_apart.get(jpg.name, jpg.stem)

    def result(self, jpg: Path) -> Path:
        """Where the result of a JPEG goes."""
        return self.results / f"{self.name(jpg)}_car.{self.format}"

    def sheet(self, jpg: Path) -> Path:
        """Where its sheet goes."""
        return self.results / f"{self.name(jpg)}_compare.png"

    @property
    def figures(self) -> Path:
        """The CSV's path; each shard has its own."""
        name = "figures.csv" if self.parts == 1 else f"figures_{self.part}_of_{self.parts}.csv"
        return self.results / name


# ---- which images --------------------------------------------------------------------------


def choose(jpegs: list[Path], data: Path, log: Path, which: str | None) -> list[Path]:
    """Those to correct of a folder's JPEGs: all, or one set of the log's split. Raises UserError for none."""
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
        there = len({jpg.stem for jpg in jpegs})
        cli.say(f"{which} set: {there} of {len(names)} images are in {data}")
    if not jpegs:
        raise UserError(f"{data} holds no .jpg or .jpeg to correct")
    return jpegs


# ---- twins ---------------------------------------------------------------------------------


def tell_apart(jpegs: Sequence[Path], one_case: bool) -> dict[str, str]:
    """Return {name of a JPEG: what its result is called} of those that cannot be called by their stem.

    jpegs: all of the folder, so that each part of the work finds the same. Of a.jpg and a.jpeg the first is
    called by its stem, the second a.jpeg. one_case: whether A and a are one name in the results.
    """

    def key(name: str) -> str:
        return unicodedata.normalize("NFC", name.casefold()) if one_case else name

    taken = Counter(key(jpg.stem) for jpg in jpegs)
    first: set[str] = set()
    apart: dict[str, str] = {}
    for jpg in sorted((jpg for jpg in jpegs if taken[key(jpg.stem)] > 1), key=_rank):
        if key(jpg.stem) not in first:
            first.add(key(jpg.stem))
            continue
        name, number = jpg.name, 1
        while key(name) in taken:  # a.jpeg.jpg has that name
            number += 1
            name = f"{jpg.name}_{number}"
        taken[key(name)] = 1
        apart[jpg.name] = name
    return apart


def _rank(jpg: Path) -> tuple[int, str]:
    """In which order twins take a name: by type, small letters first."""
    return find.JPEG_SUFFIXES.index(jpg.suffix.lower()), jpg.name.swapcase()


def tell_apart_beside(lock: Path, jpegs: Sequence[Path]) -> dict[str, str]:
    """tell_apart for a folder's JPEGs, said in a line. lock: a file that is in the results folder."""
    one_case = lock.with_name(lock.name.swapcase()).exists()
    apart = tell_apart(jpegs, one_case)
    if apart:
        named = [f"{jpg} becomes {name}_car" for jpg, name in sorted(apart.items())]
        cli.say(f"told apart from others of their name: {some_of(named)}")
    return apart


# ---- what is there already -----------------------------------------------------------------


def clear_leftovers(job: Job, jpegs: Sequence[Path]) -> None:
    """Remove what a killed run of these JPEGs left half written."""
    halves = [name for name in os.listdir(job.results) if name.startswith(".") and name.endswith(".partial")]
    names = {job.name(jpg) for jpg in jpegs} if halves else set()
    for half in halves:
        match = re.fullmatch(r"\.(.*)_(car\.(bmp|png)|compare\.png)\.partial", half, re.DOTALL)
        if match and match[1] in names:
            (job.results / half).unlink(missing_ok=True)


def done_already(
    job: Job, journal: Journal, jpegs: Sequence[Path], rows: Mapping[str, figures.Row]
) -> set[Path]:
    """The JPEGs whose results are there; no image is opened.

    A result whose figures did not reach the CSV before a kill is to be made again, as is one of another
    picture of that name. Raises UserError where results were made by other settings.
    """
    there = set(os.listdir(job.results))
    made = [jpg for jpg in jpegs if (name := job.result(jpg).name) in there and journal.wrote(name, jpg.name)]
    if differences := journal.differences(job.result(jpg).name for jpg in made):
        raise UserError(
            f"--skip-existing: results in {job.results} were made otherwise: {'; '.join(differences)}; give "
            f"the same options and weights, or another results folder, or leave --skip-existing out"
        )
    return {jpg for jpg in made if job.name(jpg) in rows or not find.bmp_beside(jpg)}
