"""Folders in a store (s3://, gs://, hdfs://), by pyarrow's file systems, and their image on this machine.

An image holds a file for each one of the store, of the same name, size and time, but empty. What finds
pictures and plans the work (car/find.py, car/jobs.py) goes through it as through any folder.
"""

import contextlib
import errno
import functools
import os
import posixpath
import shutil
import time
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import IO, NamedTuple, ParamSpec, TypeVar

from pyarrow import fs as arrow

from car import cli
from car.errors import UserError

ATTEMPTS = 6  # of what a store does not answer, over half a minute
FIRST_PAUSE = 1.0  # seconds; each next one is twice as long
LOCAL = ""  # the scheme of this machine's own paths
CHUNK_BYTES = 2**22  # that are copied at a time
TRANSFERS_AT_A_TIME = 8  # between a store and this machine
PARTIAL_START, PARTIAL_END = ".car_", ".partial"  # of names, before files are whole

Systems = Mapping[str, arrow.FileSystem]  # by scheme: "s3:"
P = ParamSpec("P")
T = TypeVar("T")


class Address(NamedTuple):
    """Where a file or folder lies."""

    scheme: str
    path: str  # as its file system has it: "bucket/folder/a.jpg"

    def __str__(self) -> str:
        return f"{self.scheme}//{self.path}" if self.scheme else self.path

    def __truediv__(self, name: str) -> "Address":
        return self._replace(path=posixpath.join(self.path, name))


def is_address(text: str) -> bool:
    """Whether this is the address of a store, and no path of this machine."""
    return "://" in text


def join(folder: str, name: str) -> str:
    """A name in a folder, each a path or an address; one that is absolute stands for itself.

    What follows a "?" in the folder's address, as a region, stays at the end.
    """
    if is_address(name) or not is_address(folder):
        return name if is_address(name) else os.path.join(folder, name)
    address, question, options = folder.partition("?")
    return posixpath.join(address, name) + question + options


# ---- files ---------------------------------------------------------------------------------


def patiently(do: Callable[P, T]) -> Callable[P, T]:
    """Do it again where a store answers with an error, after a pause.

    Not what this machine's own disks answer, which have a number for it (a full disk, a missing right).
    """

    @functools.wraps(do)
    def again(*args: P.args, **kwargs: P.kwargs) -> T:
        for attempt in range(1, ATTEMPTS):
            try:
                return do(*args, **kwargs)
            except OSError as error:
                if error.errno is not None:
                    raise
                time.sleep(FIRST_PAUSE * 2 ** (attempt - 1))
        return do(*args, **kwargs)

    return again


@patiently
def fetch(systems: Systems, address: Address, into: Path) -> None:
    """Copy a file of a store to this machine, with its time."""
    system = systems[address.scheme]
    into.parent.mkdir(parents=True, exist_ok=True)
    with system.open_input_stream(address.path) as source, open(into, "wb") as file:
        shutil.copyfileobj(source, file, CHUNK_BYTES)
    _set_time(into, system.get_file_info(address.path))


@patiently
def put(systems: Systems, file: Path, address: Address) -> None:
    """Copy a file of this machine to an address, with its time where files have one: whole, or not at all."""
    folder = posixpath.dirname(address.path)
    partial = posixpath.join(folder, f"{PARTIAL_START}{uuid.uuid4().hex}{PARTIAL_END}")
    system = systems[address.scheme]
    try:
        if isinstance(system, arrow.LocalFileSystem):
            shutil.copy2(file, partial)
            os.replace(partial, address.path)
        else:
            with open(file, "rb") as source, system.open_output_stream(partial) as target:
                shutil.copyfileobj(source, target, CHUNK_BYTES)
            system.move(partial, address.path)
    except OSError as error:
        with contextlib.suppress(OSError):
            system.delete_file(partial)
        raise OSError(error.errno, error.strerror or str(error), str(address)) from error


@patiently
def exists(systems: Systems, address: Address) -> bool:
    """Whether a file or folder is there."""
    found: bool = systems[address.scheme].get_file_info(address.path).type != arrow.FileType.NotFound
    return found


@patiently
def make_folder(systems: Systems, address: Address) -> None:
    """Make a folder, and those above it; a store that has none does nothing."""
    systems[address.scheme].create_dir(address.path, recursive=True)


@patiently
def remove_folder(systems: Systems, address: Address) -> None:
    """Remove an empty folder; one that holds something, or is none, stays."""
    system = systems[address.scheme]
    with contextlib.suppress(FileNotFoundError):
        if not system.get_file_info(arrow.FileSelector(address.path)):
            system.delete_dir(address.path)


@patiently
def remove(systems: Systems, address: Address) -> None:
    """Remove a file that may have gone away."""
    with contextlib.suppress(FileNotFoundError):
        systems[address.scheme].delete_file(address.path)


@patiently
def read(systems: Systems, address: Address) -> bytes:
    """The content of a small file. Raises FileNotFoundError."""
    with systems[address.scheme].open_input_stream(address.path) as source:
        return source.read()


@patiently
def state(systems: Systems, address: Address) -> tuple[int, int]:
    """The size of a file in bytes and its time in nanoseconds; (-1, -1) where there is none."""
    info = systems[address.scheme].get_file_info(address.path)
    return (info.size, info.mtime_ns or -1) if info.type == arrow.FileType.File else (-1, -1)


@patiently
def names(systems: Systems, address: Address) -> list[str]:
    """The names of the files in a folder; none where there is no folder."""
    infos = systems[address.scheme].get_file_info(arrow.FileSelector(address.path, allow_not_found=True))
    return [info.base_name for info in infos if info.type == arrow.FileType.File]


@patiently
def move(systems: Systems, file: Address, target: Address) -> None:
    """Give a file of a store another name there; one that has it is replaced."""
    systems[file.scheme].move(file.path, target.path)


@contextlib.contextmanager
def naming(address: Address) -> Iterator[None]:
    """Turn what a store answers into a UserError that names the address."""
    try:
        yield
    except OSError as error:
        raise UserError(f"{address}: {error}") from error


def copy_range(systems: Systems, address: Address, first: int, size: int, target: IO[bytes]) -> None:
    """Append bytes of a file to one of this machine."""
    start = target.tell()

    @patiently
    def copy() -> None:
        target.seek(start)
        target.truncate()
        with systems[address.scheme].open_input_file(address.path) as source:
            source.seek(first)
            left = size
            while left:
                chunk = source.read(min(left, CHUNK_BYTES))
                if not chunk:
                    raise OSError(errno.EIO, "is shorter than it was", str(address))
                target.write(chunk)
                left -= len(chunk)

    copy()


@patiently
def remove_tree(systems: Systems, address: Address) -> None:
    """Remove a folder with all that is in it."""
    with contextlib.suppress(FileNotFoundError):
        systems[address.scheme].delete_dir(address.path)


def is_partial(name: str) -> bool:
    """Whether put makes such names of files, which a kill leaves behind."""
    middle = name.removeprefix(PARTIAL_START).removesuffix(PARTIAL_END)
    return name == f"{PARTIAL_START}{middle}{PARTIAL_END}" and len(middle) == 32 and middle.isalnum()


def _set_time(path: Path, info: arrow.FileInfo) -> None:
    if info.mtime_ns:
        os.utime(path, ns=(info.mtime_ns, info.mtime_ns))


# ---- the image of a store ------------------------------------------------------------------


class Image:
    """Folders of stores on this machine: of each file its name, size and time.

    Folders of this machine are not copied: their address is the path itself.
    """

    def __init__(self, root: Path) -> None:
        """root: an empty folder of this machine."""
        self._root, self.systems = root, dict[str, arrow.FileSystem]()
        self.systems[LOCAL] = arrow.LocalFileSystem()
        self.unnamed: list[str] = []  # files whose names no folder of this machine can hold

    def path_of(self, address: str) -> Path:
        """The path on this machine that stands for an address as a person writes it. Raises UserError."""
        scheme = address.partition("://")[0]
        try:
            system, path = arrow.FileSystem.from_uri(address)
        except (ValueError, OSError, ImportError) as error:
            raise UserError(f"{address} is no address that can be used: {error}") from error
        if self.systems.setdefault(f"{scheme}:", system) != system:
            raise UserError(f"{address} is in another store than the others of {scheme}://; give one for all")
        start = "/" if path.startswith("/") else ""
        cli.called[f"{self._root / scheme}/"] = f"{scheme}://{start}"
        return self._root / scheme / path.strip("/")

    def drawn(self, workdir: str, name: str) -> str:
        """A path that stands for what an argument names, drawn; the name itself where it is in no store."""
        place = join(workdir, name)
        if not is_address(place):
            return name
        path = self.path_of(place)
        self.draw(path)
        return str(path)

    def folder(self, workdir: str) -> str:
        """The folder that stands for WORKDIR, made; WORKDIR itself where it is in no store."""
        if not is_address(workdir):
            return workdir
        path = self.path_of(workdir)
        path.mkdir(parents=True, exist_ok=True)
        return str(path)

    def address_of(self, path: Path) -> Address:
        """Where what a path stands for lies."""
        if not path.is_relative_to(self._root):
            return Address(LOCAL, str(path.absolute()))
        scheme, *names = path.relative_to(self._root).parts
        start = "/" if scheme in ("hdfs", "viewfs", "file") else ""
        return Address(f"{scheme}:", start + "/".join(names))

    def holds(self, path: Path) -> bool:
        """Whether a path stands for one in a store."""
        return path.is_relative_to(self._root)

    def draw(self, path: Path) -> None:
        """Make the files below a path that stands for a folder, or the file that it stands for."""
        address = self.address_of(path)
        system = self.systems[address.scheme]
        with naming(address):
            info = _info_of(system, address.path)
            if info.type == arrow.FileType.Directory:
                path.mkdir(parents=True, exist_ok=True)
                for inside in _infos_below(system, address.path):
                    self._make(path / PurePosixPath(inside.path).relative_to(address.path), inside)
            elif info.type == arrow.FileType.File:
                self._make(path, info)

    def fetch(self, paths: Iterable[Path]) -> None:
        """Give files of the image their content."""
        for path in paths:
            address = self.address_of(path)
            with naming(address):
                fetch(self.systems, address, path)

    def remove_partials(self, folder: Path) -> None:
        """Remove what runs that were killed left half written below a folder, here and there."""
        for path in folder.rglob(f"{PARTIAL_START}*{PARTIAL_END}"):
            if is_partial(path.name):
                remove(self.systems, self.address_of(path))
                path.unlink(missing_ok=True)

    def _make(self, path: Path, info: arrow.FileInfo) -> None:
        try:
            if info.type == arrow.FileType.Directory:
                path.mkdir(parents=True, exist_ok=True)
                return
            path.parent.mkdir(parents=True, exist_ok=True)
            with open(path, "wb") as file:
                file.truncate(info.size)
            _set_time(path, info)
        except OSError:
            self.unnamed.append(info.path)


@patiently
def _info_of(system: arrow.FileSystem, path: str) -> arrow.FileInfo:
    return system.get_file_info(path)


@patiently
def _infos_below(system: arrow.FileSystem, path: str) -> list[arrow.FileInfo]:
    found: list[arrow.FileInfo] = system.get_file_info(arrow.FileSelector(path, recursive=True))
    return found
