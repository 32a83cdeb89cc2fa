"""Which of the pictures found are corrected, what their results are called, and what is there already."""

import contextlib
import dataclasses
import functools
import hashlib
import os
import unicodedata
from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from car import cli, find, levels, metadata, split
from car.errors import BadImage, UserError, some_of
from car.files import partial_of
from car.find import Picture
from car.journal import Journal


@dataclass(frozen=True)
class Job:
    """What is to be done with the pictures that were found."""

    data: Path  # the folder, the picture or the list that was named
    results: Path
    format: str = "bmp"  # of metadata.HELD
    jpeg_quality: int | None = None  # by the file where not told; see output.jpeg_quality_for
    suffix: str = "_car"  # of the results' names
    compare: bool = False  # a sheet beside each result
    report: bool = False  # a page that shows all of them
    skip_existing: bool = False
    inputs: Sequence[str] = find.JPEG_SUFFIXES  # types of pictures that are corrected
    part: int = 1  # of how many parts, from 1: shards
    parts: int = 1
    weights: str = ""  # digest of the weights
    told_apart: Mapping[str, str] = field(default_factory=dict)  # of tell_apart
    depth: levels.Depth = field(default_factory=levels.Depth)  # of grey pictures of 16 bits, clean ones too
    found: Sequence[Picture] = ()  # all pictures, in whichever part: none is overwritten

    def name(self, picture: Picture) -> str:
        """What a picture's files in the results begin with, and its row of figures is called: "2019/a"."""
        return self.told_apart.get(picture.name, picture.stem)

    def files_of(self, name: str) -> list[Path]:
        """The files that are written of a picture of that name: its result first."""
        result, sheet = f"{name}{self.suffix}.{self.format}", f"{name}_compare.png"
        shown = self.shown(name) if self.report else []
        return [self.results / result, *([self.results / sheet] if self.compare else []), *shown]

    def result(self, picture: Picture) -> Path:
        """Where the result of a picture goes."""
        return self.files_of(self.name(picture))[0]

    def sheet(self, picture: Picture) -> Path:
        """Where its sheet goes."""
        return self.results / f"{self.name(picture)}_compare.png"

    # ---- of --report

    @property
    def shown_in(self) -> Path:
        """The folder of what the page shows."""
        return self.results / "report"

    @staticmethod
    def key(name: str) -> str:
        """What stands for a picture of that name there, whatever letters and folders are in it."""
        return hashlib.sha256(name.encode("utf-8", "surrogatepass")).hexdigest()[:16]

    def shown(self, name: str) -> list[Path]:
        """What the page shows of a picture of that name: it reduced, and crops."""
        return [self.shown_in / f"{self.key(name)}{end}" for end in (".jpg", ".webp")]

    @property
    def page(self) -> Path:
        """The page; each shard has its own, which shows those of all."""
        return self.results / f"index{self._part_end(self.part)}.html"

    @property
    def page_data(self) -> Path:
        """What the page knows of this part."""
        return self.shown_in / f"data{self._part_end(self.part)}.js"

    @property
    def all_page_data(self) -> list[Path]:
        """What it knows of all parts."""
        return [self.shown_in / f"data{self._part_end(part)}.js" for part in range(1, self.parts + 1)]

    def _part_end(self, part: int) -> str:
        return "" if self.parts == 1 else f"_{part}_of_{self.parts}"

    @functools.cached_property
    def sources(self) -> Mapping[tuple[int, int], str]:
        """The names of all pictures by the file that they are on the disk, whatever path leads to it."""
        names = {}
        for picture in self.found:
            with contextlib.suppress(OSError):  # one that went away
                names[_file_at(picture.path)] = picture.name
        return names

    @property
    def figures(self) -> Path:
        """The CSV's path; each shard has its own."""
        return self.results / f"figures{self._part_end(self.part)}.csv"


# ---- which images --------------------------------------------------------------------------


def choose(
    pictures: list[Picture], data: Path, log: Path, which: str | None, records: Path | None = None
) -> list[Picture]:
    """All pictures that were found, or one set of a split. Raises UserError for none.

    The split is the log's, or that of a folder of records: then it is said how many of the set are among
    those that the log was trained on.
    """
    if which:
        place = (records or log) / split.SPLIT_FILE
        written = split.read(place.parent)
        if written is None:
            needed = "--records needs a folder of" if records else "--split needs the log of a training on"
            raise UserError(
                f"{place} is missing: {needed} records that the loaders wrote (--records FOLDER names others)"
            )
        names = set(written["sets"][which])
        if not names:
            raise UserError(
                f"the {which} set is empty by {place} (--all leaves none for it, nor do "
                f"two groups); leave --split out, or write the records again without --all"
            )
        trained_on = split.trained_on(split.read(log) if records else None, written)
        if shared := sorted(names & trained_on):
            cli.say(f"{log} was trained on {some_of(shared)} of the {which} set: its figures are too good")
        pictures = [picture for picture in pictures if picture.stem in names]
        there = len({picture.stem for picture in pictures})
        cli.say(f"{which} set: {there} of {len(names)} images are in {data}")
    if not pictures and which:
        raise UserError(
            f"{data} holds no JPEG of the {which} set: save its pictures as JPGs of the same names first "
            f"(records made with --quality keep none)"
        )
    if not pictures:
        raise UserError(
            f"{data} holds no JPEG to correct; --recursive looks into its folders too, and --input-types "
            f"takes pictures that were saved as PNG, WebP, TIFF or BMP"
        )
    return pictures


# ---- twins ---------------------------------------------------------------------------------


def tell_apart(job: Job, pictures: Sequence[Picture], one_case: bool) -> dict[str, str]:
    """Return {name of a picture: what its files are called} of those that cannot be called by their stem.

    pictures: all that were found, so that each part of the work finds the same. Of a.jpg and a.jpeg the first
    is called by its stem, the second a.jpeg. one_case: whether A and a are one name in the results.
    """

    def keys(name: str) -> set[str]:
        names = {file.relative_to(job.results).as_posix() for file in job.files_of(name)}
        return {unicodedata.normalize("NFC", n.casefold()) for n in names} if one_case else names

    taken: set[str] = set()
    apart: dict[str, str] = {}
    for picture in sorted(pictures, key=_rank):
        if taken.isdisjoint(files := keys(picture.stem)):
            taken |= files
        else:
            apart[picture.name] = ""
    for name in apart:  # now, as a.jpeg.jpg has the name that a.jpeg would get
        called, number = name, 1
        while not taken.isdisjoint(files := keys(called)):
            number += 1
            called = f"{name}_{number}"
        taken |= files
        apart[name] = called
    return apart


def _rank(picture: Picture) -> tuple[int, str]:
    """In which order twins take a name: by type, small letters first."""
    suffixes = find.JPEG_SUFFIXES + find.OTHER_SUFFIXES
    rank = suffixes.index(picture.suffix) if picture.suffix in suffixes else len(suffixes)
    return rank, picture.name.swapcase()


def tell_apart_beside(there: Path, job: Job, pictures: Sequence[Picture]) -> dict[str, str]:
    """tell_apart for a job's pictures, said in a line.

    there: a file or folder with letters in its name on the disk of the results.
    """
    other = there.parent / there.name.swapcase()
    one_case = other != there and other.exists() and other.samefile(there)
    apart = tell_apart(job, pictures, one_case)
    if apart:
        named = [f"{picture} becomes {name}{job.suffix}" for picture, name in sorted(apart.items())]
        cli.say(f"told apart from others of their name: {some_of(named)}")
    return apart


def with_names(job: Job, there: Path) -> Job:
    """A job that tells twins apart. there: as of tell_apart_beside."""
    return dataclasses.replace(job, told_apart=tell_apart_beside(there, job, job.found))


# ---- what is there already -----------------------------------------------------------------


def check_place(job: Job, picture: Picture) -> None:
    """Raise BadImage where a picture's result cannot go where it should.

    Its folder is none, or a link, or one of the pictures themselves is there: by a link, by another way to
    the same folder, or as the result of an earlier run that is to be corrected now.
    """
    try:
        partial_of(job.result(picture)).is_symlink()
    except OSError as error:  # a path that is too long, a folder without rights
        raise BadImage(f"its result cannot be written: {error.strerror}") from error
    folder = job.results
    for part in job.result(picture).relative_to(job.results).parent.parts:
        folder /= part
        if folder.is_symlink():
            raise BadImage(f"{folder} is a link, which results are not written through; remove or rename it")
        if folder.exists() and not folder.is_dir():
            raise BadImage(f"{folder} is in the way: its result needs a folder of that name; rename it")
    for path in job.files_of(job.name(picture)):
        if path.exists() and (name := job.sources.get(_file_at(path))):
            raise BadImage(
                f"its result would replace {path}, which is the picture {name}: give another folder"
            )


def _file_at(path: Path) -> tuple[int, int]:
    """The file that a path leads to: device and number."""
    about = path.stat()
    return about.st_dev, about.st_ino


def clear_leftovers(job: Job, pictures: Sequence[Picture]) -> None:
    """Remove what a killed run of these pictures left half written."""
    ends = [*(f"{job.suffix}.{form}" for form in metadata.HELD), "_compare.png"]
    for folder, some in _by_folder(job, pictures).items():
        halves = {name for name in _names_in(folder) if name.startswith(".") and name.endswith(".partial")}
        if halves:
            names = [Path(job.name(picture)).name for picture in some]
            for half in halves.intersection(f".{name}{end}.partial" for name in names for end in ends):
                (folder / half).unlink(missing_ok=True)


def done_already(
    job: Job, journal: Journal, pictures: Sequence[Picture], told: Container[str]
) -> set[Picture]:
    """The pictures whose results are there; no image is opened.

    told: the names (Job.name) of those that have a row in figures.csv. A result whose row did not reach it
    before a kill is to be made again, as is one of another picture of that name. Raises UserError where
    results were made by other settings.
    """
    made = []
    for folder, some in _by_folder(job, pictures).items():
        there = _names_in(folder)
        made += [p for p in some if job.result(p).name in there and journal.wrote(job.result(p), p.name)]
    if differences := journal.differences(job.result(picture) for picture in made):
        raise UserError(
            f"--skip-existing: results in {job.results} were made otherwise: {'; '.join(differences)}; give "
            f"the same options and weights, or another results folder, or leave --skip-existing out"
        )
    return {picture for picture in made if job.name(picture) in told}


def _by_folder(job: Job, pictures: Sequence[Picture]) -> dict[Path, list[Picture]]:
    """The pictures by the folder of their results."""
    folders: dict[Path, list[Picture]] = {}
    for picture in pictures:
        folders.setdefault(job.result(picture).parent, []).append(picture)
    return folders


def _names_in(folder: Path) -> set[str]:
    return set(os.listdir(folder)) if folder.is_dir() else set()
