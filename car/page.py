"""A page that is opened by a double click: its template, style and scripts become one file.

What it shows lies in the folder report/ beside it, as data and pictures. No library of widgets or plots
serves: a page that is opened from a disk may fetch nothing, the slider is the browser's own, and ten
thousand cards need a list that holds only those in view, which leaves little for a library to do.
"""

import base64
import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from car.errors import UserError
from car.files import naming, whole_file

NAME, FOLDER = "index.html", "report"
# The line that the data begin with: a script, as a page from a disk can read no other file.
DATA_START = "(globalThis.carReport ??= []).push("
DATA_END = ");\n"
HEAD_BYTES = 2000  # of a page, in which its kind stands


class Kind(NamedTuple):
    """What differs from page to page."""

    title: str
    things: str  # of which each has a card
    script: str  # report_SCRIPT.js shows them
    figures: str = ""  # the file that holds the figures too


def page_of(kind: Kind, data: Sequence[str]) -> str:
    """The page that shows these files of data, names in its folder.

    Its policy names style and script by their hashes: no other style is taken, no script but the data.
    """
    template, style = (_part(name) for name in ("report.html", "report.css"))
    script = _part("report.js") + _part(f"report_{kind.script}.js")
    parts = {
        "CAR:TITLE": kind.title,
        "CAR:THINGS": kind.things,
        "CAR:ELSEWHERE": f"The figures are in {kind.figures} too." if kind.figures else "",
        "CAR:STYLE-HASH": _hash_of(style),
        "CAR:SCRIPT-HASH": _hash_of(script),
        "CAR:STYLE": style,
        "CAR:DATA": "\n".join(f'<script src="{FOLDER}/{name}"></script>' for name in data),
        "CAR:SCRIPT": script,
    }
    for mark, text in parts.items():
        template = template.replace(mark, text)
    return template


def _part(name: str) -> str:
    return Path(__file__).with_name(name).read_text(encoding="utf-8")


def _hash_of(text: str) -> str:
    """As a Content-Security-Policy names what is allowed."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


def write_data(path: Path, about: Mapping[str, Any], rows: Iterable[Sequence[Any]]) -> None:
    """Write what a page knows: about all of it, and a row for each of its things."""
    with whole_file(path, "w") as file:
        file.write(f"{DATA_START}\n{_as_json(about)[:-1]},\n")
        file.write('"rows": [\n' + ",\n".join(map(_as_json, rows)) + f"\n]}}\n{DATA_END}")


def _as_json(value: object) -> str:
    """In ASCII, so that no name can end a line or a text; Infinity and NaN, which a script knows, stay."""
    return json.dumps(value, separators=(",", ":"))


def make_folder(folder: Path) -> None:
    """Make the folder of what a page shows. Raises UserError where something else has its name."""
    if folder.is_symlink() or (folder.exists() and not folder.is_dir()):
        raise UserError(f"--report: {folder} is in the way; rename it, or give another folder")
    with naming(folder):
        folder.mkdir(exist_ok=True)


def begin(folder: Path, kind: Kind, data: str) -> Path:
    """Write a page into a folder that has no journal. Returns the folder of its data.

    Raises UserError where a page there, or data, are not of this kind: they would be overwritten.
    """
    page, shown = folder / NAME, folder / FOLDER
    for path, mark in ((page, f"<title>{kind.title}</title>"), (shown / data, DATA_START)):
        if path.is_symlink() or (path.exists() and not _begins_with(path, mark)):
            raise UserError(
                f"--report: {path} is of another program, or another page; it would be overwritten"
            )
    make_folder(shown)
    with whole_file(page, "w") as file:
        file.write(page_of(kind, [data]))
    return shown


def _begins_with(path: Path, mark: str) -> bool:
    with naming(path), open(path, "rb") as file:
        return mark.encode() in file.read(HEAD_BYTES)
