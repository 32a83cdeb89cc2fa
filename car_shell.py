"""What all scripts need of the shell: quiet start, arguments, errors, progress, whole files.

Import this module before TensorFlow is used: it imports TensorFlow with the chatter
of its C++ start-up kept off the terminal.
"""

import argparse
import contextlib
import os
import shutil
import sys
import time
from pathlib import Path


@contextlib.contextmanager
def _stderr_to_null():
    """Silence file descriptor 2, where TensorFlow's C++ code writes before its log levels hold."""
    sys.stderr.flush()
    kept = os.dup(2)
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, 2)
    try:
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(null)


os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
with _stderr_to_null():
    import tensorflow  # noqa: F401  (a failing import still raises, with its own message)


class UserError(Exception):
    """Something that the user can mend; its text says what, where and what to do. Exit status 1."""


def parser(manual):
    """An ArgumentParser whose --help is the script's docstring, example commands included."""
    return argparse.ArgumentParser(
        description=manual, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )


def parse(argument_parser, argv, inputs=(), outputs=()):
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


def positive(text):
    """Argparse type: a whole number of at least 1."""
    number = int(text)
    if number < 1:
        raise ValueError(text)
    return number


positive.__name__ = "positive whole number"  # argparse names the type in its message


def run(main):
    """Run main() as a script: its return value is the exit status; faults become one line."""
    try:
        status = main()
    except UserError as error:
        status = f"{Path(sys.argv[0]).name}: {error}"
    except OSError as error:
        # Not a fault of the code: a full disk, a missing right, a folder that went away.
        place = error.filename or "the output"
        status = f"{Path(sys.argv[0]).name}: {place}: {error.strerror or error}"
    except KeyboardInterrupt:
        status = 130
    sys.exit(status)


def some_of(names):
    """The number of names and the first few of them."""
    return f"{len(names)} ({', '.join(names[:5])}{', ...' if names[5:] else ''})"


@contextlib.contextmanager
def whole_file(path, mode="wb"):
    """Open a file beside `path` for writing; rename it to `path` only if the block succeeds."""
    path = Path(path)
    partial = path.with_name(f".{path.name}.partial")
    try:
        with open(partial, mode) as file:
            yield file
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)


def replace_folder(new, old):
    """Put the finished folder `new` in the place of `old`, which may be missing."""
    aside = old.with_name(f"{old.name}.old")
    shutil.rmtree(aside, ignore_errors=True)  # left by a run killed between the two renames
    if old.exists():
        os.rename(old, aside)
    os.rename(new, old)
    shutil.rmtree(aside, ignore_errors=True)


class Progress:
    """A live bar on a terminal, a plain line now and then elsewhere (a log file, CI).

    keras.utils.Progbar writes control codes into files too, hence this one.
    """

    def __init__(self, total, unit, done=0):
        self.total, self.unit, self.done = total, unit, done
        self._live = sys.stdout.isatty()
        self._interval = 0.1 if self._live else 10.0  # seconds between two drawings
        self._start, self._start_done = time.monotonic(), done
        self._drawn = self._start
        self._note = ""

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._draw(last=True)

    def step(self, count=1, note=""):
        """Count finished units; note is shown behind the bar (a loss, a rate)."""
        self.done += count
        self._note = note
        if time.monotonic() - self._drawn >= self._interval:
            self._draw()

    def say(self, line):
        """Print a line of its own, above the bar."""
        if self._live:
            sys.stdout.write("\r\x1b[2K")
        print(line, flush=True)

    @property
    def seconds(self):
        """Seconds since the start, never 0."""
        return max(time.monotonic() - self._start, 1e-6)

    def _draw(self, last=False):
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
