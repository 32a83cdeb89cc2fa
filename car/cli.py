"""What all scripts need of the shell: the start, arguments, faults as one line, what is said, progress.

A script is a `main` under `@script`. Its first lines parse the arguments, so that --help and the word on a
wrong argument come at once; TensorFlow, which takes seconds, is loaded after that (`load_tensorflow`).
"""

import argparse
import bisect
import contextlib
import ctypes
import functools
import io
import os
import sys
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from car import stop
from car.errors import Stopped, UserError, printable

VERSION = "1.0.0"
PRECISIONS = ("float32", "bfloat16")  # of a net's layers 1 and 2
LARGEST_SEED = 2**31 - 1  # that every generator of numbers takes
QUIET, USUAL, VERBOSE = range(3)
NOT_KNOWN = "time left not known yet"
SECONDS_BETWEEN_ESTIMATES = 0.2
SECONDS_BETWEEN_LINES = 10.0  # between two lines of progress where there is no terminal
# glibc lets each thread take memory from an arena of its own, up to 8 for each processor, and what one thread
# freed no other gets: a picture of 50 megapixels took 170 MB more for it.
M_ARENA_MAX, ARENAS = -8, 2  # the first as malloc.h has it

Main = Callable[[Sequence[str] | None], int]  # arguments (None: those of the shell) -> exit status

called: dict[str, str] = {}  # how people know a path, or what paths begin with, where that is not by itself
_loudness = USUAL
_bar: "Progress | None" = None  # the one that is being shown


# ---- start and end -------------------------------------------------------------------------


def script(main: Main) -> Callable[..., int]:
    """Make main a command of the shell: it starts the process, and faults become one line and a status."""

    @functools.wraps(main)
    def command(argv: Sequence[str] | None = None) -> int:
        start()
        try:
            return main(argv)
        except UserError as error:
            return _fault(str(error), 1)
        except Stopped as error:
            return _fault(str(error), stop.status())
        except OSError as error:
            # Not a fault of the code: a full disk, a missing right, a folder that went away.
            return _fault(f"{error.filename or 'the output'}: {error.strerror or error}", 1)

    return command


def start() -> None:
    """Make the process a script's: stop signals, and no chatter of libraries. Before numpy is loaded."""
    stop.watch(os.dup(2))  # the terminal, also while descriptor 2 is silenced
    quiet_libraries()


def quiet_libraries() -> None:
    """What start does but for the signals: for the processes of a cluster, too.

    Before numpy is loaded: its matrix products here are small, and after each OpenBLAS's threads would
    spin in the net's time.
    """
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    if mallopt := c_function("mallopt"):
        mallopt(M_ARENA_MAX, ARENAS)
    # Pillow warns of damaged metadata that it passes over, filelock of a system without locks.
    warnings.filterwarnings("ignore", module=r"PIL\.")
    warnings.filterwarnings("ignore", "only soft file lock")
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # a name in a locale that cannot show it


def c_function(name: str) -> Callable[..., int] | None:
    """A function of the C library, None where it has no such: those of glibc's memory."""
    found: Callable[..., int] | None = getattr(ctypes.CDLL(None), name, None) if os.name == "posix" else None
    return found


def load_tensorflow() -> None:
    """Load TensorFlow, which takes seconds, with what it writes while it starts kept off the terminal."""
    with silenced():
        import tensorflow as tf  # a failing import still raises, with its own message
    tf.get_logger().setLevel(
        "ERROR"
    )  # its warnings, of retracing and the like, are for those who write programs


@contextlib.contextmanager
def silenced() -> Iterator[None]:
    """Silence file descriptor 2, where TensorFlow's C++ code writes before its log levels hold."""
    sys.stderr.flush()
    terminal, null = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, 2)
    try:
        yield
    finally:
        os.dup2(terminal, 2)
        for descriptor in (terminal, null):
            os.close(descriptor)


def _fault(text: str, status: int) -> int:
    print(_for_people(f"{Path(sys.argv[0]).name}: {text}"), file=sys.stderr)
    return status


# ---- arguments -----------------------------------------------------------------------------


class Parser(argparse.ArgumentParser):
    """A parser whose usage is one line: the options fill a screen, above which an error would go unseen."""

    def parse_known_args(self, *args: Any, **options: Any) -> Any:
        """As ArgumentParser; the arguments that must be given are known by now."""
        given = [action.metavar or action.dest for action in self._get_positional_actions()]
        self.usage = f"%(prog)s {' '.join(map(str, given))} [options]"
        return super().parse_known_args(*args, **options)


def parser(manual: str | None) -> argparse.ArgumentParser:
    """An ArgumentParser whose --help is the script's docstring, example commands included."""
    made = Parser(
        description=manual, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    made.add_argument("--version", action="version", version=f"%(prog)s {VERSION}")
    loudness = made.add_mutually_exclusive_group()
    loudness.add_argument("--quiet", action="store_true", help="print errors alone")
    loudness.add_argument("--verbose", action="store_true", help="print more of each image, file or step")
    return made


def parse(
    argument_parser: argparse.ArgumentParser,
    argv: Sequence[str] | None,
    inputs: Sequence[str] = (),
    outputs: Sequence[str] = (),
    sources: Sequence[str] = (),
) -> argparse.Namespace:
    """Parse argv, and check what was parsed."""
    args = argument_parser.parse_args(argv)
    check(argument_parser, args, inputs, outputs, sources)
    return args


def check(
    argument_parser: argparse.ArgumentParser,
    args: argparse.Namespace,
    inputs: Sequence[str] = (),
    outputs: Sequence[str] = (),
    sources: Sequence[str] = (),
) -> None:
    """Join the named arguments, each a name or a list of them, to WORKDIR as Paths.

    inputs must exist as folders, sources as folders or files (else exit status 2 with the usage); outputs
    need not.
    """
    global _loudness
    _loudness = QUIET if args.quiet else VERBOSE if args.verbose else USUAL
    args.workdir = Path(args.workdir)
    if not args.workdir.is_dir():
        argument_parser.error(f"there is no folder {args.workdir}")
    for name in sources:
        source = args.workdir / getattr(args, name)
        if not source.exists():
            argument_parser.error(f"there is no folder and no file {source}")
        setattr(args, name, source)
    for name in (*inputs, *outputs):
        given = getattr(args, name)
        folders = [args.workdir / one for one in (given if isinstance(given, list) else [given])]
        for folder in folders:
            if name in inputs and not folder.is_dir():
                argument_parser.error(f"there is no folder {folder}")
            if folder.exists() and not folder.is_dir():
                argument_parser.error(f"{folder} is a file; a folder is needed")
        setattr(args, name, folders if isinstance(given, list) else folders[0])


def whole_number(lowest: int, highest: int | None = None) -> Callable[[str], int]:
    """An argparse type: a whole number from lowest on, up to highest if one is given."""

    def convert(text: str) -> int:
        number = int(text)
        if number < lowest or (highest is not None and number > highest):
            raise ValueError(text)
        return number

    # argparse names the type in its message
    convert.__name__ = f"whole number of {lowest} " + ("or more" if highest is None else f"to {highest}")
    return convert


positive = whole_number(1)
seed = whole_number(0, LARGEST_SEED)


# ---- what is said --------------------------------------------------------------------------


def say(line: str) -> None:
    """Print a line, which may hold names of files; above the bar of progress, if there is one."""
    if _loudness == QUIET:
        return
    if _bar:
        _bar.print_above(_for_people(line))
    else:
        print(_for_people(line), flush=True)


def _for_people(line: str) -> str:
    for path, name in called.items():
        line = line.replace(path, name)
    return printable(line)


def detail(line: str) -> None:
    """Print a line if --verbose asks for more."""
    if _loudness == VERBOSE:
        say(line)


class Progress:
    """A live bar on a terminal, a plain line now and then elsewhere (a log file, CI).

    total: of units; done: of them, before this start. work: how much each of the others is, in any measure,
    in order; it may change while the work goes on. The time left follows from how long the later half of what
    was done took: that forgets a slow start, and levels out that pictures differ.
    """

    def __init__(self, total: int, unit: str, done: int = 0, work: Sequence[float] | None = None) -> None:
        from rich import progress  # here, as --help needs none of it

        self.total, self.unit, self.done = total, unit, done
        self.live = sys.stdout.isatty() and _loudness != QUIET
        columns = (
            progress.BarColumn(),
            progress.TextColumn("{task.fields[count]} {task.fields[unit]}"),
            progress.TextColumn("{task.fields[left]}"),
            progress.TextColumn("{task.fields[note]}", markup=False),
        )
        self._rich = progress.Progress(*columns, disable=not self.live)
        self._start = self._drawn = time.monotonic()
        self._note, self._ahead = "", 0.0
        self._work, self._begun_at = work or [1.0] * (total - done), done
        self._moments = [self._start]  # at which `_done_then` was noted, a second apart or more
        self._done_then = [0.0]
        self._time_left, self._told = NOT_KNOWN, self._start
        self._task = self._rich.add_task(
            "", total=total, completed=done, count=f"{done}/{total}", unit=unit, left=NOT_KNOWN, note=""
        )

    def __enter__(self) -> "Progress":
        global _bar
        _bar = self if self.live else None
        self._rich.start()
        return self

    def __exit__(self, *_: object) -> None:
        global _bar
        self._rich.stop()
        _bar = None
        if not self.live:
            self._draw(last=True)

    def step(self, count: int = 1, note: str = "") -> None:
        """Count finished units; note is shown behind the bar (a loss, a rate)."""
        self.done += count
        self._note = note
        self.part(max(0.0, self._ahead - count))

    def part(self, ahead: float) -> None:
        """Show how much is done beyond the finished units: 0.5 of one, or more where several are in hand."""
        self._ahead = ahead
        completed, count = self.done + ahead, f"{self.done}/{self.total}"
        self._rich.update(self._task, completed=completed, count=count, left=self._left(), note=self._note)
        if not self.live and time.monotonic() - self._drawn >= SECONDS_BETWEEN_LINES:
            self._draw()

    def print_above(self, line: str) -> None:
        """Print a line of its own."""
        self._rich.console.print(line, markup=False, highlight=False, soft_wrap=True)

    @property
    def seconds(self) -> float:
        """Seconds since the start, never 0."""
        return max(time.monotonic() - self._start, 1e-6)

    def _left(self) -> str:
        """The time left, for people; of very many units the sums take time, so now and then."""
        now, whole = time.monotonic(), self.done - self._begun_at
        if now - self._told < SECONDS_BETWEEN_ESTIMATES:
            return self._time_left
        self._told = now
        ahead = int(self._ahead)
        begun = self._work[whole + ahead : whole + ahead + 1]
        done = sum(self._work[: whole + ahead]) + (self._ahead - ahead) * sum(begun)
        half = bisect.bisect_right(self._done_then, done / 2) - 1
        seconds, since = now - self._moments[half], done - self._done_then[half]
        if now - self._moments[-1] >= 1:
            self._moments.append(now)
            self._done_then.append(done)
        if seconds > 0 and since > 0:
            self._time_left = f"{_clock((sum(self._work) - done) * seconds / since)} left"
        return self._time_left

    def _draw(self, last: bool = False) -> None:
        self._drawn = time.monotonic()
        clock = f"{_clock(self.seconds)} taken" if last else self._left()
        text = f"{self.done}/{self.total} {self.unit}, {clock}"
        say(f"{text}, {self._note}" if self._note else text)


def _clock(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes // 60:02}:{minutes % 60:02}:{rest:02}"
