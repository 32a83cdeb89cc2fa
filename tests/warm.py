"""A process that has TensorFlow loaded, and forks for each script that a test runs: 4 s less for each.

Of the suite it loads nothing, so that a script starts as it does for a user, but that `import tensorflow` is
quick. What needs more than arguments, a folder and variables of the environment (limits, a stop during the
start, memory that is measured) is run in a process of its own; so is everything with --long.
"""

import gc
import json
import os
import runpy
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

# As car/cli.py sets them before it loads TensorFlow.
AS_SCRIPTS_HAVE_IT = {"OPENBLAS_NUM_THREADS": "1", "TF_CPP_MIN_LOG_LEVEL": "3"}
SECONDS_BETWEEN_LOOKS = 0.002


class Script:
    """A script that runs in a fork; what tests need of subprocess.Popen is as there."""

    returncode: int | None = None

    def __init__(self, args: Sequence[str], notes: Path, parent: subprocess.Popen[str]) -> None:
        """notes: where the fork writes what it is and what it prints; parent: the process that forks."""
        self.args, self._notes = list(args), notes
        while not (pid := self._noted("pid")):
            assert parent.poll() is None, "the process that has TensorFlow loaded has ended"
            time.sleep(SECONDS_BETWEEN_LOOKS)
        self.pid = int(pid)

    def _noted(self, name: str) -> str:
        """What stands in a note that is complete."""
        path = self._notes / name
        text = path.read_text() if path.exists() else ""
        return text.removesuffix("\n") if text.endswith("\n") else ""

    def poll(self) -> int | None:
        if self.returncode is None and (status := self._noted("status")):
            self.returncode = int(status)
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        latest = None if timeout is None else time.monotonic() + timeout
        while (status := self.poll()) is None:
            if latest is not None and time.monotonic() > latest:
                raise subprocess.TimeoutExpired(self.args, timeout or 0)
            time.sleep(SECONDS_BETWEEN_LOOKS)
        return status

    def communicate(self, timeout: float | None = None) -> tuple[str, str]:
        self.wait(timeout)
        out, err = ((self._notes / name).read_text(errors="replace") for name in ("out", "err"))
        return out, err

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            os.kill(self.pid, number)

    def kill(self) -> None:
        self.send_signal(signal.SIGKILL)


Process = subprocess.Popen[str] | Script


class Warm:
    """The process; started for the first script."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[str] | None = None
        self._scratch = tempfile.TemporaryDirectory(prefix="warm_")
        self.folder = Path(self._scratch.name)  # for the time of the tests
        self._count = 0
        self._lock = threading.Lock()
        self.allowed = hasattr(os, "fork")

    def start(self, command: Sequence[str], cwd: str, environment: Mapping[str, str]) -> Script:
        """Start a script with its arguments, in a folder."""
        with self._lock:  # tests start scripts from several threads
            if self._process is None:
                self._process = subprocess.Popen(
                    [sys.executable, __file__],
                    stdin=subprocess.PIPE,
                    stdout=subprocess.DEVNULL,
                    stderr=subprocess.DEVNULL,
                    env={**AS_SCRIPTS_HAVE_IT, **os.environ},
                    text=True,
                    start_new_session=True,
                )
            assert self._process.stdin
            self._count += 1
            notes = self.folder / str(self._count)
            notes.mkdir()
            work = json.dumps([command, cwd, dict(environment), str(notes)])
            print(work, file=self._process.stdin, flush=True)
        return Script(command, notes, self._process)

    def end(self) -> None:
        """End it, and the scripts that it runs."""
        if self._process:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.communicate()
        self._scratch.cleanup()


# ---- in the process ------------------------------------------------------------------------


def serve() -> int:
    """Fork for each line of stdin, in which a script is to be run. Returns, in a fork, its exit status."""
    import tensorflow  # noqa: F401

    gc.freeze()  # what is there is not looked through by each fork
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for those that mind a script
    for line in sys.stdin:
        if not os.fork():
            return mind(*json.loads(line))
    return 0


def mind(command: Sequence[str], cwd: str, environment: Mapping[str, str], notes: str) -> int:
    """Run a script in a fork; note its process, and its exit status once it has ended."""
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    if not (script := os.fork()):
        return run(command, cwd, environment, notes)
    Path(notes, "pid").write_text(f"{script}\n")
    _, ended = os.waitpid(script, 0)
    Path(notes, "status").write_text(f"{os.waitstatus_to_exitcode(ended)}\n")
    os._exit(0)


def run(command: Sequence[str], cwd: str, environment: Mapping[str, str], notes: str) -> int:
    """Run a script in this process, as `python script arguments` would."""
    written = os.O_WRONLY | os.O_CREAT
    streams = [(os.devnull, os.O_RDONLY), (f"{notes}/out", written), (f"{notes}/err", written)]
    for number, (path, flags) in enumerate(streams):
        os.dup2(os.open(path, flags), number)
    os.chdir(cwd)
    os.environ.clear()
    os.environ.update(environment)
    sys.argv = list(command)
    sys.path[0] = str(Path(command[0]).parent)
    runpy.run_path(command[0], run_name="__main__")
    return 0


if __name__ == "__main__":
    sys.exit(serve())
