"""The page of results: index.html, and what it shows in the folder report/ beside it.

What came of the pictures is written as data beside it, again and again while work goes on.
"""

import json
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from car import cli, page, rows, thumbnails
from car.errors import BadImage, UserError
from car.figures import Figures
from car.files import partial_of, whole_file
from car.find import Picture
from car.jobs import Job
from car.journal import Journal
from car.rows import Row

KIND = page.Kind("Before and after", "pictures", "pictures", "figures.csv")
COLUMNS = ("key", "source", "crops", *Row._fields)

Crops = Sequence[thumbnails.Place]


class Page:
    """The page of a folder of results while it is worked on."""

    def __init__(
        self, job: Job, journal: Journal, pictures: Sequence[Picture], total: int, bad: Mapping[str, str]
    ) -> None:
        """Write the page; what an earlier run knew of its pictures is read.

        pictures: all that are to be done. total: their number and that of `bad`, those that were bad from the
        start, {name: why}. Raises UserError where a file of the user's is in the way.
        """
        self._job, self._total = job, total
        self._sources = {job.name(picture): self._source_of(picture) for picture in pictures}
        self._bad = {name: Row(name, rows.LEFT_OUT, why) for name, why in bad.items()}
        self._crops = crops_in(job.page_data)
        try:
            journal.check_replaceable(job.page)
        except BadImage as reason:
            raise UserError(f"--report: {reason}") from reason
        page.make_folder(job.shown_in)
        with whole_file(
            job.page, "w", whole=lambda path: journal.note(partial_of(path), path, "--report")
        ) as file:
            file.write(page.page_of(KIND, [path.name for path in job.all_page_data]))

    def add(self, name: str, crops: Crops | None) -> None:
        """Note which crops were drawn of a picture of that name, () for none; None where nothing was."""
        if crops is None:
            self._crops.pop(name, None)
        else:
            self._crops[name] = crops

    def write(self, done: Mapping[str, Row], finished: bool = False) -> None:
        """Write what came of pictures so far, {name: row}, as data of the page."""
        job = self._job
        about = {
            "version": cli.VERSION,
            "data": str(job.data),
            "base": self._base(),
            "result_end": f"{job.suffix}.{job.format}",
            "sheet_end": "_compare.png" if job.compare else "",
            "parts": job.parts,
            "total": self._total,
            "finished": finished,
            "columns": COLUMNS,
            "figure_columns": Figures._fields,
        }
        known = (*self._bad.values(), *(done[name] for name in sorted(done)))
        page.write_data(job.page_data, about, map(self._entry, known))

    def _entry(self, row: Row) -> list[Any]:
        crops = None if row.status == rows.LEFT_OUT else self._crops.get(row.name)
        figures = row.figures and [round(value, 5) for value in row.figures]
        return [self._job.key(row.name), self._sources.get(row.name, ""), crops, *row[:-1], figures]

    def _folder_of_sources(self) -> Path:
        return self._job.data if self._job.data.is_dir() else self._job.data.parent

    def _source_of(self, picture: Picture) -> str:
        """Where a picture lies, from the folder of the data; empty where no path leads there."""
        return _from(self._folder_of_sources(), picture.path) or ""

    def _base(self) -> str:
        """Where the folder of the data lies, from the results; an address where no path leads there."""
        folder = self._folder_of_sources().absolute()
        return _from(self._job.results, folder) or folder.as_uri()


def _from(folder: Path, path: Path) -> str | None:
    """The path from a folder, with / on every system; None from one disk of Windows to another."""
    try:
        return Path(os.path.relpath(path, folder)).as_posix()
    except ValueError:
        return None


def crops_in(path: Path) -> dict[str, Crops]:
    """The crops of each picture that the data of an earlier page tell of; none where there are none.

    Raises UserError where the file is none of ours: it would be overwritten.
    """
    if not path.exists() and not path.is_symlink():
        return {}
    try:
        text = path.read_text(encoding="ascii")
        if path.is_symlink() or not text.startswith(page.DATA_START):
            raise ValueError("it begins otherwise")
        told = json.loads(text.removeprefix(page.DATA_START).removesuffix(page.DATA_END))
        places = [tuple(told["columns"]).index(column) for column in ("name", "crops")]
        entries = ([entry[place] for place in places] for entry in told["rows"])
        return {str(name): crops for name, crops in entries if crops is not None}
    except (ValueError, TypeError, KeyError, IndexError, OSError) as error:
        raise UserError(
            f"--report: {path} is damaged, or of another program ({error}); it would be overwritten: move it "
            "elsewhere"
        ) from error


# ---- what it shows of a picture ------------------------------------------------------------


def save_shown(job: Job, name: str, drawn: thumbnails.Drawn, note: Callable[[Path], None]) -> Crops:
    """Write what the page shows of a picture of that name; note: as `whole` of whole_file.

    Returns where the crops are.
    """
    for path, content in zip(job.shown(name), thumbnails.as_files(drawn), strict=True):
        if content:
            with whole_file(path, whole=note) as file:
                file.write(content)
    return drawn.places
