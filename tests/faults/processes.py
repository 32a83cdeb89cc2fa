"""Starting the scripts, and stopping or killing them at chosen moments of their work."""

import functools
import random
import re
import signal
import subprocess
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from conftest import Printed, run
from warm import Process

PATIENCE = 300  # seconds


def end(process: Process, status: int = 0, lines: int = 1, patience: float = PATIENCE) -> SimpleNamespace:
    """Wait for a process; check its exit status, that it tells of a fault, and in how many lines at the most."""
    out, err = process.communicate(timeout=patience)
    assert process.returncode == status, f"{process.args!r} ended with {process.returncode}\n{out}\n{err}"
    assert "Traceback" not in err and err.count("\n") <= lines, err
    return SimpleNamespace(out=out, err=err)


def to_its_end(script: str | Path, *args: object, status: int = 0, lines: int = 1) -> Printed:
    """Run a script to its end, where nothing is to happen on the way; check as end does."""
    printed = run(script, *args, status=status)
    assert printed.err.count("\n") <= lines, printed.err
    return printed


def answers_signals(process: Process) -> bool:
    """Whether it answers SIGTERM itself: a script does so as its first act (cli.start)."""
    caught = re.search(r"SigCgt:\s*(\w+)", Path(f"/proc/{process.pid}/status").read_text())
    return caught is not None and bool(int(caught[1], 16) >> signal.SIGTERM - 1 & 1)


def wait_until(moment: Callable[[], bool], process: Process, patience: float = PATIENCE) -> bool:
    """Wait until moment() is true, so many seconds at the most; false where the process ends before."""
    latest = time.monotonic() + patience
    while not moment():
        if process.poll() is not None:
            return False
        assert time.monotonic() < latest, f"{process.args!r}: what was waited for does not come"
        time.sleep(0.002)
    return True


def together(*jobs: Callable[[], Any]) -> list[Any]:
    """Do jobs two at a time: most of a script's short life is the import of TensorFlow, on one core."""
    with ThreadPoolExecutor(2) as pool:
        return [future.result() for future in [pool.submit(job) for job in jobs]]


def kill_often(
    begin: Callable[[], Process], holder: Path, check: Callable[[], None], kills: int, seed: int
) -> None:
    """Start the same command again and again, kill -9 at random moments of its work; let it end, and check.

    begin starts the command, on what the runs before have left; its work has begun once it is named
    as the lock's holder; check asserts what an undisturbed run gives, and clears it away.
    """
    moments, longest, done = random.Random(seed), 0.5, 0
    while done < kills:
        process = begin()
        try:
            if wait_until(functools.partial(holds, process, holder), process):
                process.wait(moments.uniform(0, longest))
        except subprocess.TimeoutExpired:
            done += 1
            longest *= 1.3  # the work may be longer than was thought
        finally:
            process.kill()
            process.communicate()
        if process.returncode != -signal.SIGKILL:
            assert process.returncode == 0, process.args
            check()
            longest *= 0.7
    end(begin())
    check()


def holds(process: Process, holder: Path) -> bool:
    """Whether the lock is the process's own, not one that a killed run has left."""
    try:
        return f"process {process.pid} " in holder.read_text()
    except FileNotFoundError:  # not yet there, or just removed
        return False


def contents(folder: Path, but: Iterable[str] = ()) -> dict[str, bytes]:
    """{path in the folder: bytes} of all its files, hidden ones too, but those of the names in `but`."""
    files = (path for path in folder.rglob("*") if not path.is_dir() and path.name not in but)
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}
