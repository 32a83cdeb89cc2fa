"""figures.csv of a folder of results: a row for each picture, and the same in a line for people."""

import contextlib
import csv
import math
import re
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from car import cli, jpeg, metadata
from car.correct import PlaneFound
from car.errors import UserError
from car.figures import Figures
from car.files import whole_file

CORRECTED, UNCHANGED, LEFT_OUT = "corrected", "unchanged", "left out"
COMPONENTS = ("luma", "Cb", "Cr")
SECONDS_BETWEEN_CSVS = 10
CSV_NAME = re.compile(r"figures(_\d+_of_\d+)?\.csv")
# What makes a cell a formula to a spreadsheet; an apostrophe before it makes it text.
FORMULA_STARTS = ("=", "+", "-", "@", "\t", "\r")


class Row(NamedTuple):
    """What came of a picture. What is not known or not there is None or empty."""

    name: str
    status: str  # CORRECTED, UNCHANGED, LEFT_OUT
    why: str = ""  # of what is unchanged or left out
    size: tuple[int, int] | None = None  # (width, height) in pixels, as the picture is shown
    quality: int | None = None  # that the header tells: of jpeg.quality_of
    tables: str = ""  # "standard", or "other": then the quality is one whose table is about as coarse
    weights: tuple[str, ...] = ("", "", "")  # chosen for luma, Cb and Cr, in words
    changes: tuple[float | None, ...] = (None, None, None)  # of each: mean absolute change, grey levels
    kept: str = ""  # of its metadata
    left: str = ""  # what was left behind: the format cannot hold it, or it was damaged
    seconds: float | None = None  # decoding, nets and writing; they overlap with those of other pictures
    earlier: str = ""  # a coarser saving before its own, in words, where one was found
    figures: Figures | None = None  # None where no clean picture stands beside it


COLUMNS = (
    *("name", "status", "why", "width", "height", "quality", "tables", "earlier"),
    *("weights_luma", "weights_cb", "weights_cr", "change_luma", "change_cb", "change_cr"),
    *("kept", "left", "seconds", *Figures._fields),
)


def of(
    name: str,
    shape: tuple[int, ...],
    planes: Sequence[PlaneFound],
    kept: Sequence[str],
    left: Sequence[str],
    why: str = "",
    figures: Figures | None = None,
    earlier: str = "",
) -> Row:
    """The row of a picture of shape (height, width), upright.

    kept, left: names of metadata.Metadata's fields, and other words. why: why it is unchanged, if it is.
    earlier: an earlier saving that was found, in words.
    """
    table = planes[0].table if planes else None
    quality, is_standard = jpeg.quality_of(table) if table is not None else (None, True)
    changes = [None if math.isnan(plane.mean_change) else round(plane.mean_change, 4) for plane in planes]
    return Row(
        name,
        UNCHANGED if why else CORRECTED,
        why,
        (shape[1], shape[0]),
        quality,
        "" if quality is None else "standard" if is_standard else "other",
        (*(sys.intern(_weights_of(plane)) for plane in planes), "", "", "")[:3],
        (*changes, None, None, None)[:3],
        kept=sys.intern(metadata.named(kept)),
        left=sys.intern(metadata.named(left)),
        figures=figures,
        earlier=sys.intern(earlier),
    )


def why_unchanged(planes: Sequence[PlaneFound]) -> str:
    """Why no pixel of a picture changed."""
    choices = [plane.choice for plane in planes]
    if not choices:
        return "lossless, black and white alone, or no JPEG found in it"
    if all(choice.one_level for choice in choices):
        return "one grey level throughout"
    if all(choice.unchanged for choice in choices):
        return "finer than all weights"
    return "the change rounds to nothing"


def _weights_of(plane: PlaneFound) -> str:
    """The weights that a plane went through, in words."""
    if plane.choice.one_level:
        return "none, as it has one level"
    if plane.choice.unchanged:
        return "none, as it is finer than all"
    factor, strength = plane.choice.factor, plane.choice.strength
    weights = "the log's own" if factor is None else f"quality {jpeg.quality_of_coarseness(factor)}"
    return weights if strength == 1 else f"{weights} at {strength:.2f}"


def describe(row: Row) -> str:
    """A row without its figures as a line for people, without the name."""
    told = [f"{row.status}, {row.why}" if row.why else row.status]
    if row.quality:
        told.append(f"quality {row.quality}" if row.tables == "standard" else f"about quality {row.quality}")
    if row.earlier:
        told.append(f"saved before at {row.earlier}")
    planes = [plane for plane in zip(COMPONENTS, row.weights, row.changes, strict=True) if plane[1]]
    if len({weights for _, weights, _ in planes}) == 1:
        told.append(f"weights: {planes[0][1]}")
    elif planes:
        told.append(f"weights: {', '.join(f'{weights} for {plane}' for plane, weights, _ in planes)}")
    changes = [f"{change:.2f} ({plane})" for plane, _, change in planes if change is not None]
    if changes:
        told.append(f"mean change {', '.join(changes)} grey levels")
    told += [f"{word} {text}" for word, text in (("kept", row.kept), ("left", row.left)) if text]
    if row.seconds is not None:
        told.append(f"{row.seconds:.2f} s")
    return "; ".join(told)


# ---- the file ------------------------------------------------------------------------------


class Writer:
    """Writes figures.csv again and again while rows come, so seldom that it costs a fiftieth of the time.

    first: what else is written of the rows each time, before it.
    """

    def __init__(
        self, path: Path, progress: cli.Progress, first: Callable[[Mapping[str, Row]], None] | None = None
    ) -> None:
        self.path, self._progress, self._first, self._next = path, progress, first, 0.0

    def write_if_due(self, rows: Mapping[str, Row]) -> None:
        """Write the whole file, if the last time is long enough ago."""
        began = self._progress.seconds
        if began > self._next:
            if self._first:
                self._first(rows)
            write(self.path, rows)
            self._next = next_due(began, self._progress.seconds)


def next_due(began: float, ended: float) -> float:
    """When to write next what took from began to ended, in seconds: so seldom that it costs a fiftieth."""
    return ended + max(SECONDS_BETWEEN_CSVS, 50 * (ended - began))


def write(path: Path, rows: Mapping[str, Row]) -> None:
    """Write {name: row} to the CSV, by name; text that a spreadsheet would compute gets an apostrophe."""
    with whole_file(path, "w") as file:
        # Quoted, as a name may hold even a carriage return.
        out = csv.writer(file, lineterminator="\n", quoting=csv.QUOTE_NONNUMERIC)
        out.writerow(COLUMNS)
        out.writerows(_cells(rows[name]) for name in sorted(rows))


def _cells(row: Row) -> list[Any]:
    size, figures = row.size or (None, None), row.figures or [None] * len(Figures._fields)
    cells: list[Any] = [row.name, row.status, row.why, *size, row.quality, row.tables]
    cells += [row.earlier, *row.weights]
    cells += [*row.changes, row.kept, row.left, row.seconds, *figures]
    told = ["" if cell is None or cell != cell else cell for cell in cells]  # a nan is not itself
    return [f"'{cell}" if isinstance(cell, str) and _is_formula(cell) else cell for cell in told]


def _is_formula(text: str) -> bool:
    """Whether a spreadsheet would compute a cell with this text; apostrophes in front do not count."""
    return text.lstrip("'").startswith(FORMULA_STARTS)


def read(path: Path) -> dict[str, Row]:
    """Read a CSV of an earlier run as {name: row}; empty where there is none.

    Raises UserError where it is none of ours: it would be overwritten.
    """
    if not path.exists():
        return {}
    try:
        with open(path, encoding="utf-8", errors="surrogateescape", newline="") as file:
            lines = csv.reader(file)
            header = tuple(next(lines, ()))
            if header[:3] == ("name", *Figures._fields[:2]):
                raise ValueError("columns of an earlier version")
            if header != COLUMNS:
                raise ValueError("other columns")
            rows = (_row_of(line) for line in lines)
            return {row.name: row for row in rows}
    except (ValueError, csv.Error) as error:
        raise UserError(
            f"{path} is damaged, or of another program ({error}); it would be overwritten: move it elsewhere"
        ) from error


def done_in(results: Path, own: Path) -> dict[str, Row]:
    """The rows of pictures that have results in a folder, from the CSVs of all parts of the work.

    own: the CSV of this part, that will be overwritten. Raises UserError as read does for it.
    """
    paths = [path for path in sorted(results.glob("figures*.csv")) if CSV_NAME.fullmatch(path.name)]
    rows: dict[str, Row] = {}
    for path in [*paths, own]:
        with contextlib.suppress(*() if path == own else (UserError,)):
            rows |= read(path)
    return {name: row for name, row in rows.items() if row.status != LEFT_OUT}


def _row_of(line: Sequence[str]) -> Row:
    """The row of the cells of a line. Raises ValueError."""
    if len(line) != len(COLUMNS):
        raise ValueError("other columns")
    texts = [cell[1:] if cell[:1] == "'" and _is_formula(cell) else cell for cell in line]
    cells = iter([texts[0], *map(sys.intern, texts[1:])])
    name, status, why = (next(cells) for _ in range(3))
    width, height, quality = (int(cell) if cell else None for cell in (next(cells) for _ in range(3)))
    tables, earlier, *weights = (next(cells) for _ in range(5))
    changes = tuple(_number(next(cells)) for _ in range(3))
    kept, left, seconds = next(cells), next(cells), _number(next(cells))
    measured = [math.nan if number is None else number for number in map(_number, cells)]
    return Row(
        *(name, status, why, None if width is None or height is None else (width, height), quality, tables),
        *(tuple(weights), changes, kept, left, seconds),
        figures=None if math.isnan(measured[0]) else Figures._make(measured),
        earlier=earlier,
    )


def _number(cell: str) -> float | None:
    return float(cell) if cell else None
