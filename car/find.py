"""Which pictures are meant: those of a folder, of a tree of folders, of a list of paths, or a single one."""

import os
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from car.errors import UserError

JPEG_SUFFIXES = (".jpg", ".jpeg", ".jpe", ".jfif", ".jif", ".jfi", ".pjpeg", ".pjp", ".jpg_large")
OTHER_TYPES: Mapping[str, tuple[str, ...]] = {
    "png": (".png",),
    "webp": (".webp",),
    "tiff": (".tif", ".tiff"),
    "bmp": (".bmp",),
}
OTHER_SUFFIXES = tuple(suffix for suffixes in OTHER_TYPES.values() for suffix in suffixes)
CLEAN_SUFFIXES = (
    ".bmp",
    ".png",
    ".tif",
    ".tiff",
)  # of the clean picture beside a JPEG, the first that is there
LOSSLESS_SUFFIXES = (*CLEAN_SUFFIXES, ".pgm", ".ppm")
JPEG_START = b"\xff\xd8\xff"
RESULTS_MARK = ".car_results"  # what the journals in a folder of results begin with


class Picture(NamedTuple):
    """A picture to work on."""

    path: Path
    name: str  # where it lies in the folder or list that was named: "2019/a.jpg", with / on every system

    @property
    def suffix(self) -> str:
        """Its type in small letters: ".jpg"."""
        return self.path.suffix.lower()

    @property
    def stem(self) -> str:
        """The name without its type: "2019/a"."""
        return str(PurePosixPath(self.name).with_suffix(""))


class Found(NamedTuple):
    """What was found, and what was passed over."""

    pictures: list[Picture]  # sorted by name
    passed: Counter[str]  # files and folders that were passed over, by kind
    below: Counter[str]  # pictures in folders that were not looked into, by folder
    unreadable: dict[str, str]  # by name: why a folder, or a path of a list, cannot be read

    def describe(self) -> list[str]:
        """Lines for people on what was passed over."""
        lines = []
        if self.passed:
            kinds = [f"{count} {kind}" for kind, count in sorted(self.passed.items())]
            lines.append(f"passed over: {', '.join(kinds)}")
        if self.below:
            pictures, folders = sum(self.below.values()), len(self.below)
            are = "pictures lie" if pictures > 1 else "picture lies"
            where = f"{folders} subfolders" if folders > 1 else f"the subfolder {next(iter(self.below))}"
            lines.append(f"{pictures} more {are} in {where}, passed over: --recursive takes them")
        return lines


def suffixes_of(types: Sequence[str] = ()) -> tuple[str, ...]:
    """The suffixes of JPEG and of these other types, a key of OTHER_TYPES each."""
    return JPEG_SUFFIXES + tuple(suffix for name in types for suffix in OTHER_TYPES[name])


def of(data: Path, workdir: Path, suffixes: Sequence[str], recursive: bool, results: Path) -> Found:
    """What DATA means: a folder, a picture, or a text file of paths. Raises UserError.

    suffixes: of the pictures that are taken. results: a folder that is not looked into.
    """
    if data.is_dir():
        return in_folder(data, suffixes, recursive, results)
    suffix = data.suffix.lower()
    if suffix in suffixes or _begins_as_jpeg(data):
        return Found([Picture(data, data.name)], Counter(), Counter(), {})
    for name, others in OTHER_TYPES.items():
        if suffix in others:
            raise UserError(f"{data} is no JPEG; --input-types {name} takes it")
    return in_list(data, workdir, suffixes)


def _begins_as_jpeg(path: Path) -> bool:
    with open(path, "rb") as file:
        return file.read(len(JPEG_START)) == JPEG_START


# ---- folders -------------------------------------------------------------------------------


def in_folder(
    folder: Path, suffixes: Sequence[str], recursive: bool = False, results: Path | None = None
) -> Found:
    """The pictures of a folder, by their suffixes, any case; recursive: and of all folders in it.

    Hidden ones and links to folders are passed over, and so are `results` and folders of earlier results. A
    clean picture beside one that was found is no file that was passed over.
    """
    found = Found([], Counter(), Counter(), {})
    for place, folders, files in _walk(folder, found, recursive, results):
        inside = place.relative_to(folder)
        names = [name for name in files if _suffix(name) in suffixes]
        if inside.parts and not recursive:
            if names:
                found.below[inside.parts[0]] += len(names)
            continue
        found.pictures.extend(Picture(place / name, (inside / name).as_posix()) for name in names)
        stems = {os.path.splitext(name)[0] for name in names}
        for name in set(files).difference(names):
            stem, suffix = os.path.splitext(name)
            if stem not in stems or suffix.lower() not in CLEAN_SUFFIXES:
                found.passed[suffix.lower() or "without a type"] += 1
        if recursive:
            found.passed.update("link to a folder" for name in folders if (place / name).is_symlink())
    found.pictures.sort(key=lambda picture: picture.name)
    return found


def _walk(
    folder: Path, found: Found, recursive: bool, results: Path | None
) -> Iterator[tuple[Path, list[str], list[str]]]:
    """(folder, folders in it, files in it) of a tree, without what is passed over, which is counted."""

    def note(error: OSError) -> None:
        path = Path(error.filename)
        if path == folder:
            raise error
        if recursive:
            found.unreadable[path.relative_to(folder).as_posix()] = f"cannot be read: {error.strerror}"

    for place, folders, files in os.walk(folder, onerror=note):
        here = Path(place)
        is_root = here == folder
        if not is_root and (_is_same(here, results) or any(name.startswith(RESULTS_MARK) for name in files)):
            folders.clear()
            if recursive and not _is_same(here, results):
                found.passed["folder of results"] += 1
            continue
        hidden = [name for name in (*folders, *files) if name.startswith(".")]
        if is_root or recursive:
            ours = is_root and any(name.startswith(RESULTS_MARK) for name in files)
            if hidden and not ours:
                found.passed["hidden"] += len(hidden)
        folders[:] = sorted(set(folders).difference(hidden))
        yield here, folders, [name for name in files if not name.startswith(".")]


def _suffix(name: str) -> str:
    return os.path.splitext(name)[1].lower()


def _is_same(path: Path, other: Path | None) -> bool:
    return other is not None and other.exists() and path.samefile(other)


# ---- lists ---------------------------------------------------------------------------------


def in_list(file: Path, workdir: Path, suffixes: Sequence[str]) -> Found:
    """The pictures that a text file names, one path a line: from the list's own folder, else from workdir.

    One that lies in that folder keeps its place in the results; of others the file's name is kept alone, with
    as many folders before it as tell it from others. Raises UserError where the file is no text.
    """
    try:
        text = file.read_bytes().decode("utf-8-sig", errors="surrogateescape")
    except OSError as error:
        raise UserError(f"{file} cannot be read: {error.strerror}") from error
    if "\0" in text:
        raise UserError(f"{file} is neither a picture that is taken nor a text file (UTF-8) of paths")
    found, seen = Found([], Counter(), Counter(), {}), set[Path]()
    for line in filter(str.strip, (line.rstrip("\r") for line in text.split("\n"))):
        path = next((path for base in (file.parent, workdir) if (path := base / line).exists()), None)
        if path is None or path.is_dir():
            found.unreadable[line] = "is a folder; name it as DATA" if path else "is not there"
        elif path.suffix.lower() not in suffixes and not _begins_as_jpeg(path):
            found.passed[path.suffix.lower() or "without a type"] += 1
        elif (real := path.resolve()) in seen:
            found.passed["named twice"] += 1
        else:
            seen.add(real)
            is_inside = not Path(line).is_absolute() and ".." not in Path(line).parts
            found.pictures.append(Picture(path, Path(line).as_posix() if is_inside else path.name))
    found.pictures[:] = _told_apart(found.pictures)
    return found


def _told_apart(pictures: Sequence[Picture], folders: int = 1) -> list[Picture]:
    """The pictures, in whose names those that several have begin with so many of their folders, or more."""
    count = Counter(picture.name for picture in pictures)
    if len(count) == len(pictures):
        return list(pictures)

    def longer(picture: Picture) -> Picture:
        parts = [part.strip(":\\/") for part in picture.path.resolve().parts]  # without the root
        return picture._replace(name="/".join(list(filter(None, parts))[-1 - folders :]))

    apart = [longer(picture) if count[picture.name] > 1 else picture for picture in pictures]
    return _told_apart(apart, folders + 1)


# ---- partners ------------------------------------------------------------------------------


def by_stem(pictures: Sequence[Picture]) -> dict[str, list[Picture]]:
    """Return {stem: pictures}: two or more where names differ in the type alone."""
    found: dict[str, list[Picture]] = {}
    for picture in pictures:
        found.setdefault(picture.stem, []).append(picture)
    return found


def clean_beside(path: Path, inputs: Sequence[str] = JPEG_SUFFIXES) -> Path | None:
    """The clean picture beside a JPEG, by CLEAN_SUFFIXES in small, capital or mixed letters, or None.

    inputs: suffixes of pictures that are corrected themselves, which are no clean ones.
    """
    for suffix in CLEAN_SUFFIXES:
        if suffix in inputs:
            continue
        for written in (suffix, suffix.upper(), suffix.capitalize(), f".{suffix[1:].capitalize()}"):
            if (clean := path.with_suffix(written)).exists():
                return clean
    return None
