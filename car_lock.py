"""One run at a time in a folder.

A lock is a hidden file that its run holds by flock and removes at its end. The kernel lets a lock
go when its holder ends, however it ends: a file that a killed run left is no lock any more.
"""

import contextlib
import errno
import fcntl
import os
import shlex
import socket
import sys
from collections.abc import Iterator
from pathlib import Path

from car_shell import UserError, naming, stop

NO_LOCKS = (errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS)  # some network folders


@contextlib.contextmanager
def locked(folder: Path, file: Path) -> Iterator[None]:
    """Hold `file`, the lock of `folder`, during the block. Raises UserError naming the run that holds it."""
    with naming(file):
        descriptor = _take(folder, file)
        stop.litter.append(file)
    try:
        with naming(file):
            me = f"process {os.getpid()} on {socket.gethostname()}: {shlex.join(sys.argv)}"
            os.truncate(descriptor, 0)
            os.write(descriptor, os.fsencode(me))
        yield
    finally:
        stop.litter.remove(file)
        with contextlib.suppress(OSError):
            file.unlink()
        os.close(descriptor)


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


def _take(folder: Path, file: Path) -> int:
    """Open and lock the file. Returns its descriptor."""
    while True:
        descriptor = os.open(file, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o666)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.fsdecode(os.pread(descriptor, 4000, 0)) or "a run that is just starting"
            os.close(descriptor)
            raise UserError(
                f"{folder} is in use by {holder}; wait for its end, or name another folder"
            ) from None
        except OSError as error:
            if error.errno not in NO_LOCKS:
                raise
            print(f"{folder}: this disk knows no locks; take care that no second run writes there")
            return descriptor
        # The last holder may have removed the file between the two lines above: then it is no lock.
        with contextlib.suppress(FileNotFoundError):
            if os.path.samestat(os.fstat(descriptor), os.stat(file)):
                return descriptor
        os.close(descriptor)
