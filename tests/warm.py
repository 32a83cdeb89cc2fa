"""A process that has TensorFlow loaded, and forks for each script that a test runs: 4 s less for each.

Of the suite it loads nothing, so that a script starts as it does for a user, but that `import tensorflow` is
quick. What needs more than arguments, a folder and variables of the environment (limits, a signal in the
middle, a variable that TensorFlow reads when it is loaded) is run in a process of its own; so is everything
with --long.
"""

import gc
import json
import os
import runpy
import select
import subprocess
import sys
import tempfile
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path

# As car/cli.py sets them before it loads TensorFlow.
AS_SCRIPTS_HAVE_IT = {"OPENBLAS_NUM_THREADS": "1", "TF_CPP_MIN_LOG_LEVEL": "3"}


class Warm:
    """The process; started for the first script."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[str] | None = None
        self._turn = threading.Lock()  # one script at a time: two have no more cores
        self.allowed = hasattr(os, "fork")

    def run(self, command: Sequence[str], cwd: str, timeout: float) -> "subprocess.CompletedProcess[str]":
        """As subprocess.run of a script and its arguments, with what it writes captured."""
        with self._turn, tempfile.TemporaryDirectory() as scratch:
            process = self._started()
            assert process.stdin and process.stdout
            out, err = Path(scratch, "out"), Path(scratch, "err")
            process.stdin.write(json.dumps([list(command), cwd, dict(os.environ), str(out), str(err)]) + "\n")
            process.stdin.flush()
            if not select.select([process.stdout], [], [], timeout)[0]:
                self.end()
                raise subprocess.TimeoutExpired(command, timeout)
            status = int(process.stdout.readline())
            return subprocess.CompletedProcess(command, status, *map(_text, (out, err)))

    def _started(self) -> "subprocess.Popen[str]":
        if self._process is None:
            self._process = subprocess.Popen(
                [sys.executable, __file__],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                env={**AS_SCRIPTS_HAVE_IT, **os.environ},
                text=True,
                start_new_session=True,
            )
        return self._process

    def end(self) -> None:
        """End it, and the script that it runs."""
        if self._process:
            os.killpg(self._process.pid, 9)
            self._process.communicate()
            self._process = None


def _text(path: Path) -> str:
    return path.read_text(errors="replace")


def serve() -> int:
    """Fork for each line of stdin; say the exit status. In a fork: the script's."""
    import tensorflow  # noqa: F401

    gc.freeze()  # what is there is not looked through by each fork
    for line in sys.stdin:
        if not (child := os.fork()):
            return run(*json.loads(line))
        _, ended = os.waitpid(child, 0)
        print(os.waitstatus_to_exitcode(ended), flush=True)
    return 0


def run(command: Sequence[str], cwd: str, environment: Mapping[str, str], out: str, err: str) -> int:
    """Run a script in this process, as `python script arguments` would."""
    written = os.O_WRONLY | os.O_CREAT
    for number, (path, flags) in enumerate([(os.devnull, os.O_RDONLY), (out, written), (err, written)]):
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
