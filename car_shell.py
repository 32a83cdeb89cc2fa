"""What all scripts need of the shell: quiet start, arguments, stop signals, errors, progress, whole files.

Import this module before TensorFlow is used: it imports TensorFlow with the chatter
of its C++ start-up kept off the terminal.
"""

import argparse
import contextlib
import io
import os
import re
import shutil
import signal
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import FrameType
from typing import IO, Any, NoReturn

_STDERR = os.dup(2)  # the terminal's, also while descriptor 2 is silenced


LARGEST_SEED = 2**31 - 1


class Stop:
    """SIGINT (Ctrl-C) and SIGTERM: they end a script at once, and from `hold` on are only noted.

    At once means one line and exit status 128 + the signal, with nothing unwound: an exception
    raised amid an import or a trace can be swallowed there, or come out as a traceback.
    """

    def __init__(self) -> None:
        self.number = 0  # of the signal that was noted
        self.litter: list[Path] = []  # files to remove if the end comes at once
        self._held = False

    def watch(self) -> None:
        """Begin to answer the two signals."""
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, self._note)

    def hold(self) -> None:
        """From here on only note a signal, for a loop that looks at `number` after each step."""
        self._held = True

    @property
    def status(self) -> int:
        """The exit status of a script that ended early by the signal noted."""
        return 128 + self.number

    @property
    def name(self) -> str:
        """The signal noted, as people know it."""
        return "Ctrl-C" if self.number == signal.SIGINT else signal.Signals(self.number).name

    def _note(self, number: int, _frame: FrameType | None) -> None:
        self.number = number
        if self._held:
            return
        for path in self.litter:
            path.unlink(missing_ok=True)
        script = Path(sys.argv[0]).name
        line = f"{script}: stopped by {self.name} before it began; the same command starts it again\n"
        os.write(_STDERR, line.encode())
        os._exit(self.status)


stop = Stop()
if Path(getattr(sys.modules["__main__"], "__file__", "")).resolve().parent == Path(__file__).resolve().parent:
    stop.watch()  # a script of the suite is what runs here, and the import below takes seconds


@contextlib.contextmanager
def _stderr_to_null() -> Iterator[None]:
    """Silence file descriptor 2, where TensorFlow's C++ code writes before its log levels hold."""
    sys.stderr.flush()
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, 2)
    try:
        yield
    finally:
        os.dup2(_STDERR, 2)
        os.close(null)


os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
# numpy's matrix products here are small, and after each OpenBLAS's threads would spin in the net's time.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
with _stderr_to_null():
    import tensorflow as tf  # a failing import still raises, with its own message
tf.get_logger().setLevel("ERROR")  # its warnings, of retracing and the like, are for those who write programs


class UserError(Exception):
    """Something that the user can mend; its text says what, where and what to do. Exit status 1."""


class Stopped(Exception):
    """A signal ended the work early; its text says how to go on. Exit status 128 + the signal."""


# ---- arguments -----------------------------------------------------------------------------


def parser(manual: str | None) -> argparse.ArgumentParser:
    """An ArgumentParser whose --help is the script's docstring, example commands included."""
    return argparse.ArgumentParser(
        description=manual, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )


def parse(
    argument_parser: argparse.ArgumentParser,
    argv: Sequence[str] | None,
    inputs: Sequence[str] = (),
    outputs: Sequence[str] = (),
) -> argparse.Namespace:
    """Parse argv; join the named positionals to WORKDIR and turn them into Paths.

    inputs must exist as folders (else exit status 2 with the usage); outputs need not.
    """
    args = argument_parser.parse_args(argv)
    args.workdir = Path(args.workdir)
    if not args.workdir.is_dir():
        argument_parser.error(f"there is no folder {args.workdir}")
    for name in (*inputs, *outputs):
        folder = args.workdir / getattr(args, name)
        if name in inputs and not folder.is_dir():
            argument_parser.error(f"there is no folder {folder}")
        if folder.exists() and not folder.is_dir():
            argument_parser.error(f"{folder} is a file; a folder is needed")
        setattr(args, name, folder)
    return args


def positive(text: str) -> int:
    """Argparse type: a whole number of at least 1."""
    number = int(text)
    if number < 1:
        raise ValueError(text)
    return number


positive.__name__ = "positive whole number"  # argparse names the type in its message


def seed(text: str) -> int:
    """Argparse type: a whole number that every generator of numbers takes."""
    number = int(text)
    if not 0 <= number <= LARGEST_SEED:
        raise ValueError(text)
    return number


seed.__name__ = f"whole number of 0..{LARGEST_SEED}"


def some_of(names: Sequence[str]) -> str:
    """The number of names and the first few of them."""
    return f"{len(names)} ({printable(', '.join(names[:5]))}{', ...' if names[5:] else ''})"


# ---- lines and errors ----------------------------------------------------------------------


def printable(text: str) -> str:
    """A line as any terminal can show it: line ends, control codes and bytes that are no text escaped."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def say(line: str) -> None:
    """Print a line that may hold names of files."""
    print(printable(line), flush=True)


def run(main: Callable[[], int]) -> NoReturn:
    """Run main() as a script: its return value is the exit status; faults become one line."""
    status: int | str
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # a name in a locale that cannot show it
    try:
        status = main()
    except UserError as error:
        status = f"{Path(sys.argv[0]).name}: {error}"
    except Stopped as error:
        print(printable(f"{Path(sys.argv[0]).name}: {error}"), file=sys.stderr)
        status = stop.status
    except OSError as error:
        # Not a fault of the code: a full disk, a missing right, a folder that went away.
        place = error.filename or "the output"
        status = f"{Path(sys.argv[0]).name}: {place}: {error.strerror or error}"
    sys.exit(printable(status) if isinstance(status, str) else status)


def reason_of(error: Exception) -> str:
    """What TensorFlow says of a fault, in one line, without the names of its operations."""
    said = str(getattr(error, "message", None) or error or repr(error))
    return re.sub(r"^(\{\{.*?\}\} ?)+|\s*\[(Op:|\[).*$", "", said.splitlines()[0])


@contextlib.contextmanager
def naming(path: Path) -> Iterator[None]:
    """Let a fault of the disk in this block name the path, whoever found it: Python, Pillow, TensorFlow.

    Not the loss of another process of a cluster, which can show anywhere.
    """
    try:
        yield
    except (tf.errors.UnavailableError, tf.errors.AbortedError, tf.errors.CancelledError):
        raise
    except OSError as error:
        raise OSError(error.errno, error.strerror or str(error), str(path)) from error
    except tf.errors.OpError as error:
        raise UserError(f"{path}: {reason_of(error)}") from error


# ---- whole files and folders ---------------------------------------------------------------


class _Undescribed(io.BufferedWriter):
    """A file that hides its descriptor: Pillow, given one, calls a full disk "encoder error -2"."""

    def fileno(self) -> int:
        raise io.UnsupportedOperation("fileno")


def partial_of(path: Path) -> Path:
    """Where a file or folder is written before it is whole and gets its own name."""
    return path.with_name(f".{path.name}.partial")


@contextlib.contextmanager
def whole_file(path: Path, mode: str = "wb") -> Iterator[IO[Any]]:
    """Open a file beside `path` for writing, "wb" or "w"; rename it to `path` only if the block succeeds.

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


class Progress:
    """A live bar on a terminal, a plain line now and then elsewhere (a log file, CI).

    keras.utils.Progbar writes control codes into files too, hence this one.
    """

    def __init__(self, total: int, unit: str, done: int = 0) -> None:
        self.total, self.unit, self.done = total, unit, done
        self._live = sys.stdout.isatty()
        self._interval = 0.1 if self._live else 10.0  # seconds between two drawings
        self._start, self._start_done = time.monotonic(), done
        self._drawn = self._start
        self._note = ""

    def __enter__(self) -> "Progress":
        return self

    def __exit__(self, *_: object) -> None:
        self._draw(last=True)

    def step(self, count: int = 1, note: str = "") -> None:
        """Count finished units; note is shown behind the bar (a loss, a rate)."""
        self.done += count
        self._note = note
        if time.monotonic() - self._drawn >= self._interval:
            self._draw()

    def say(self, line: str) -> None:
        """Print a line of its own, above the bar."""
        if self._live:
            sys.stdout.write("\r\x1b[2K")
        say(line)

    @property
    def seconds(self) -> float:
        """Seconds since the start, never 0."""
        return max(time.monotonic() - self._start, 1e-6)

    def _draw(self, last: bool = False) -> None:
        self._drawn = time.monotonic()
        here = self.done - self._start_done
        left = (self.total - self.done) * self.seconds / here if here else 0
        clock = time.strftime("%H:%M:%S", time.gmtime(self.seconds if last else left))
        text = f"{self.done}/{self.total} {self.unit}, {clock} {'taken' if last else 'left'}"
        if self._note:
            text += f", {self._note}"
        if self._live:
            full = 20 * self.done // max(self.total, 1)
            end = "\n" if last else ""
            sys.stdout.write(f"\r\x1b[2K[{'#' * full}{'.' * (20 - full)}] {text}{end}")
            sys.stdout.flush()
        else:
            print(text, flush=True)
