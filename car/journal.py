"""What this suite wrote into a folder of results, and by which settings: a hidden journal beside them.

A line is added before a file gets its name, so that no kill leaves a file of ours that the journal does not
know. Each part of the work has a journal of its own; those of all parts are read. Where several machines
write, each notes what it is about to write in a journal of a few pictures, in the folder HANDED_IN; the run
that leads them takes these over.
"""

import hashlib
import itertools
import json
import re
import sys
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from car.errors import BadImage
from car.files import naming, whole_file

CHUNK_BYTES = 2**20
HANDED_IN = ".car_results_handed_in"  # folder of journals that are to be taken over

Settings = Mapping[str, Any]  # by the name that people read; values that JSON keeps as they are


class Entry(NamedTuple):
    """A file as it was written."""

    digest: str  # of its bytes; see digest_of
    source: str  # name of the picture that it was made of (find.Picture.name)
    settings: str  # id of the settings
    run: int  # a later one has a larger number, whichever journal it writes


def digest_of(path: Path) -> str:
    """Length and CRC-32 of a file: against chance, not against an attack."""
    size = crc = 0
    with open(path, "rb") as file:
        while chunk := file.read(CHUNK_BYTES):
            size, crc = size + len(chunk), zlib.crc32(chunk, crc)
    return f"{size}-{crc:08x}"


class Journal:
    """The journals of a folder of results, of which one is written on."""

    def __init__(
        self, results: Path, part: int, parts: int, settings: Settings, writing: bool = True
    ) -> None:
        """Read all of them; write the own one again without the lines that later ones replaced.

        part: of how many parts, from 1; its lock is held. settings: those that decide the pixels now.
        Without writing nothing is written again, and no lock needed.
        """
        name = ".car_results.jsonl" if parts == 1 else f".car_results_{part}_of_{parts}.jsonl"
        self.results, self._path = results, results / name
        self._current = _id_of(settings)
        self._settings: dict[str, Settings] = {}
        self._entries: dict[str, Entry] = {}  # by name of the file
        own: dict[str, Entry] = {}
        for path in sorted(results.glob(".car_results*.jsonl")):
            if re.fullmatch(r"\.car_results(_\d+_of_\d+)?\.jsonl", path.name):
                entries = self._read(path)
                self._add(entries)
                if path == self._path:
                    own = entries
        handed_in = sorted((results / HANDED_IN).glob("*.jsonl")) if parts == 1 else []
        for path in handed_in:
            entries = self._read_handed_in(path)
            self._add(entries)
            own |= entries
        if writing and (handed_in or self._path.exists()):
            self._write_again(own)
            for path in handed_in:
                path.unlink()
        self.run = 1 + max((entry.run for entry in self._entries.values()), default=0)
        self._begun = False  # whether the line of the settings is written
        self._settings[self._current] = dict(settings)

    def _add(self, entries: Mapping[str, Entry]) -> None:
        """Know these entries, but those of which a later one is known."""
        for file, entry in entries.items():
            if entry.run >= self._entries.get(file, entry).run:
                self._entries[file] = entry

    def check_replaceable(self, path: Path) -> None:
        """Raise BadImage where a file that is not ours, or not as we wrote it, has this path."""
        check_replaceable(path, self.known(path), self.results)

    def known(self, path: Path) -> list[Entry]:
        """The entry of this path: one, or none."""
        entry = self._entries.get(self._name(path))
        return [entry] if entry else []

    def _name(self, path: Path) -> str:
        """What a file in the results is called here: "2019/a_car.png", with / on every system."""
        return path.relative_to(self.results).as_posix()

    def wrote(self, path: Path, source: str) -> bool:
        """Whether this file, if it is there, was made of this picture; it is not opened."""
        entry = self._entries.get(self._name(path))
        return entry is not None and entry.source == source

    def differences(self, paths: Iterable[Path]) -> list[str]:
        """In words what is other now than when these files were written; [] for nothing. None is opened."""
        entries = filter(None, (self._entries.get(self._name(path)) for path in paths))
        found = {entry.settings for entry in entries} - {self._current}
        now = self._settings[self._current]
        return sorted({line for key in found for line in _describe(self._settings.get(key), now)})

    def note(self, whole: Path, path: Path, source: str) -> None:
        """Add a line for a complete file that is about to get this path. source: name of its picture."""
        entry = Entry(digest_of(whole), source, self._current, self.run)
        self._append([{"file": self._name(path), **entry._asdict()}])

    def _append(self, lines: list[dict[str, Any]]) -> None:
        if not self._begun:
            lines = [{"id": self._current, **self._settings[self._current]}, *lines]
        with naming(self._path), open(self._path, "a", encoding="ascii") as file:
            file.write("".join(json.dumps(line) + "\n" for line in lines))
        self._begun = True

    def take_over(self, text: str) -> None:
        """Add the lines of a journal that was handed in: its files have got their names.

        Of work that was done twice, as a machine was lost, it holds a file twice: the last line is added.
        """
        lines = {str(line["file"]): line for line in _parsed(text.splitlines()) if "file" in line}
        self._append(list(lines.values()))
        self._add({file: _entry_of(line) for file, line in lines.items()})

    def _read_handed_in(self, path: Path) -> dict[str, Entry]:
        """The entries of a journal that was handed in, by name of the file, of those files that are there."""
        for line in _lines(path):
            if "id" in line:
                self._settings[str(line.pop("id"))] = line
        found = {name: _matching(self.results / name, some) for name, some in entries_in(path).items()}
        return {name: entry for name, entry in found.items() if entry}

    def _read(self, path: Path) -> dict[str, Entry]:
        """The entries of a journal by name of the file, the last of each; its settings are noted.

        Of the last line alone it is not certain that its file got its name before a kill: that file is read.
        """
        entries: dict[str, Entry] = {}
        name, before = "", None  # of the last line
        for line in _lines(path):
            if "file" in line:
                name = str(line["file"])
                before, entries[name] = entries.get(name), _entry_of(line)
            elif "id" in line:
                self._settings[str(line.pop("id"))] = line
        if name:
            found = _matching(self.results / name, [entries.pop(name), *([before] if before else [])])
            if found:
                entries[name] = found
        return entries

    def _write_again(self, entries: Mapping[str, Entry]) -> None:
        used = {entry.settings for entry in entries.values()}
        with whole_file(self._path, "w") as file:
            for key in sorted(used & set(self._settings)):
                file.write(json.dumps({"id": key, **self._settings[key]}) + "\n")
            for name, entry in entries.items():
                file.write(json.dumps({"file": name, **entry._asdict()}) + "\n")


def check_replaceable(path: Path, known: Sequence[Entry], results: Path) -> None:
    """Raise BadImage where a file has this path that is none of those known. results: the folder, as told."""
    if not path.is_symlink() and not path.exists():
        return
    if path.is_dir():
        raise BadImage(f"{path.name} is a folder in {results}; rename or remove it")
    if not _matching(path, known):
        raise BadImage(
            f"{path.name} is in {results}, and was not written by this suite or was changed since; "
            f"rename or remove it, or give another results folder"
        )


def _lines(path: Path) -> Iterator[dict[str, Any]]:
    """The lines of a journal that can be read."""
    with naming(path), open(path, encoding="ascii", errors="replace") as file:
        yield from _parsed(file)


def _parsed(texts: Iterable[str]) -> Iterator[dict[str, Any]]:
    """The lines that can be read; a kill or a full disk may have cut the last one."""
    for text in texts:
        try:
            line = json.loads(text)
        except ValueError:
            continue
        if isinstance(line, dict):
            yield line


def _entry_of(line: Mapping[str, Any]) -> Entry:
    digest, source, settings = (str(line.get(key)) for key in ("digest", "source", "settings"))
    run = line["run"] if isinstance(line.get("run"), int) else 0
    return Entry(digest, source, sys.intern(settings), run)


def uncertain_in(results: Path) -> list[str]:
    """The names of the files that Journal reads: a kill may have come before they got their names.

    The last one of each journal, and all of those that were handed in.
    """
    last = [list(entries_in(path))[-1:] for path in results.glob(".car_results*.jsonl")]
    return [*itertools.chain(*last, *map(entries_in, (results / HANDED_IN).glob("*.jsonl")))]


def entries_in(path: Path) -> dict[str, list[Entry]]:
    """All entries of a journal by name of the file, whether or not the files are there."""
    versions: dict[str, list[Entry]] = {}
    for line in _lines(path):
        if "file" in line:
            name = str(line["file"])
            versions[name] = [*versions.pop(name, []), _entry_of(line)]  # the last line's name comes last
    return versions


def _matching(path: Path, entries: Sequence[Entry]) -> Entry | None:
    """The entry whose bytes a file holds, if any: none of a link, and of what cannot be read."""
    try:
        found = None if path.is_symlink() else digest_of(path)
    except OSError:
        return None
    return next((entry for entry in entries if entry.digest == found), None)


def _id_of(settings: Settings) -> str:
    return hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()[:8]


def _describe(there: Settings | None, now: Settings) -> list[str]:
    """What differs, a line for each setting."""
    if there is None:
        return ["settings that are not known there"]
    differing = [name for name in {**there, **now} if there.get(name) != now.get(name)]
    return [
        "other weights"
        if name == "weights"
        else f"{name} {_word(there.get(name))} there, {_word(now.get(name))} now"
        for name in differing
    ]


def _word(value: object) -> str:
    """A setting's value for people."""
    words = {True: "on", False: "off", None: "not set"}
    return words[value] if value is None or isinstance(value, bool) else str(value)
