"""Whole files and folders, and one run at a time in a folder."""

import contextlib
import errno
import io
import os
import re
import shlex
import shutil
import socket
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from car import stop
from car.errors import UserError

if TYPE_CHECKING:
    import filelock

LONGEST_NAME_IN_BYTES = 255  # bytes, on nearly every disk
LOCKS_NOT_SUPPORTED = (errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS)  # what some network folders answer


@contextlib.contextmanager
def naming(path: Path) -> Iterator[None]:
    """Let a fault of the disk in this block name the path, whoever found it."""
    try:
        yield
    except OSError as error:
        raise OSError(error.errno, error.strerror or str(error), str(path)) from error


# ---- whole files and folders ---------------------------------------------------------------


class _Undescribed(io.BufferedWriter):
    """A file that hides its descriptor: Pillow, given one, calls a full disk "encoder error -2"."""

    def fileno(self) -> int:
        raise io.UnsupportedOperation("fileno")


def partial_of(path: Path) -> Path:
    """Where a file or folder is written before it is whole and gets its own name."""
    return path.with_name(f".{path.name}.partial")


def name_fits(path: Path) -> bool:
    """Whether the name of a file, and that of its partial, can be had on a disk."""
    return len(os.fsencode(partial_of(path).name)) <= LONGEST_NAME_IN_BYTES


@contextlib.contextmanager
def whole_file(
    path: Path, mode: str = "wb", whole: Callable[[Path], None] | None = None
) -> Iterator[IO[Any]]:
    """Open a file beside `path` for writing, "wb" or "w"; rename it to `path` only if the block succeeds.

    whole: called with `path` once its partial is complete, before that gets its name.
    A link that has one of the two names is replaced, never written through. Text is UTF-8 whatever
    the locale, and holds names of files that are none.
    """
    partial = partial_of(path)
    with naming(path):
        try:
            partial.unlink(missing_ok=True)  # left by a run that was killed
            raw = open(partial, "xb", buffering=0)  # noqa: SIM115 (closed with the file around it)
            with _Undescribed(raw) as file:
                if mode == "wb":
                    yield file
                else:
                    with io.TextIOWrapper(file, "utf-8", "surrogateescape", newline="") as text:
                        yield text
            if whole:
                whole(path)
            os.replace(partial, path)
        finally:
            with contextlib.suppress(OSError):
                partial.unlink(missing_ok=True)


@contextlib.contextmanager
def whole_folder(path: Path, names: str) -> Iterator[Path]:
    """Yield a new folder beside `path`; put it in path's place, as a whole, only if the block succeeds.

    path: no link. What a killed run left is put right first; names, a regex, are those that such a
    run can have left in the folder that it filled. Raises UserError where there are others.
    """
    partial, aside = partial_of(path), path.with_name(f".{path.name}.old")
    if aside.exists() and not path.exists():
        os.rename(aside, path)  # killed between the two renamings below
    for left in (partial, aside):
        if left.exists():
            for entry in left.iterdir():
                if not re.fullmatch(names, entry.name):
                    raise UserError(f"{left} is in the way and holds {entry.name}; move it elsewhere")
            shutil.rmtree(left)
    partial.mkdir(parents=True)
    try:
        yield partial
        if path.exists():
            os.rename(path, aside)
        os.rename(partial, path)
        shutil.rmtree(aside, ignore_errors=True)
    finally:
        if aside.exists() and not path.exists():
            os.rename(aside, path)
        shutil.rmtree(partial, ignore_errors=True)


# ---- one run at a time ---------------------------------------------------------------------


def holder_of(lock: Path) -> Path:
    """The file beside a lock that says who holds it: on Windows nobody else can read a locked file."""
    return lock.with_name(f"{lock.name}.holder")


@contextlib.contextmanager
def locked(folder: Path, lock: Path) -> Iterator[None]:
    """Hold `lock`, the lock of `folder`, during the block. Raises UserError naming the run that holds it.

    The system lets a lock go when its holder ends, however it ends: a file that a killed run left is no
    lock any more. Both files are removed at the end of the block.
    """
    holder = holder_of(lock)
    held = _acquire(folder, lock)
    stop.litter += [lock, holder]
    try:
        me = f"process {os.getpid()} on {socket.gethostname()}: {shlex.join(sys.argv)}"
        with whole_file(holder) as file:
            file.write(os.fsencode(me))
        yield
    finally:
        for path in (holder, lock):
            stop.litter.remove(path)
            # Windows removes no open file; there filelock itself removes the lock once it is released.
            with contextlib.suppress(OSError):
                path.unlink()
        held.release()


@contextlib.contextmanager
def part_locked(folder: Path, part: int, parts: int) -> Iterator[Path]:
    """Hold one part of the work in a folder: against the same part, and against all of another division.

    Yields the lock file.
    """
    own = folder / f".car_{part}_of_{parts}.lock"
    with locked(folder, own):
        # Own lock first, then a look at the others: of two that begin at once one at least sees the other.
        for other in folder.glob(".car_*_of_*.lock"):
            if not other.name.endswith(f"_of_{parts}.lock"):
                with locked(folder, other):
                    pass
        yield own


def _acquire(folder: Path, lock: Path) -> "filelock.BaseFileLock":
    """Take the lock without waiting."""
    import filelock  # here, as it warns where a system has no locks: files that it makes then serve

    taken = filelock.FileLock(lock, blocking=False)
    with naming(lock):
        if lock.is_symlink():
            raise OSError(errno.ELOOP, "is a link, which a lock never is")
        try:
            taken.acquire()
        except filelock.Timeout:
            try:
                holder = os.fsdecode(holder_of(lock).read_bytes())
            except FileNotFoundError:
                holder = "a run that is just starting"
            raise UserError(
                f"{folder} is in use by {holder}; wait for its end, or name another folder"
            ) from None
        except OSError as error:
            if error.errno not in LOCKS_NOT_SUPPORTED:
                raise
            print(f"{folder}: this disk knows no locks; take care that no second run writes there")
    return taken
