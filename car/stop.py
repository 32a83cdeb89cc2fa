"""Ctrl-C (SIGINT) and SIGTERM.

While a script starts, they end it at once. From `hold` on the first one is answered at once and noted, for
a loop that looks at `asked` after each image or step; the second one ends the script.

To end at once means one line and exit status 128 + the signal, with nothing unwound: an exception raised
amid an import or a trace can be swallowed there, or come out as a traceback.
"""

import os
import signal
import sys
from pathlib import Path
from types import FrameType

litter: list[Path] = []  # files to remove where the end comes at once

_unit = ""  # what the work goes on by; empty until it begins
_asked = 0  # the signal that was noted
_terminal = 2  # the descriptor for what is said


def watch(terminal: int) -> None:
    """Begin to answer the two signals, on this descriptor."""
    global _terminal
    _terminal = terminal
    watch_again()


def watch_again() -> None:
    """Answer them as before, where a library has begun to."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _answer)


def hold(unit: str) -> None:
    """From here on only note the first signal; unit: what is ended first, as "image"."""
    global _unit
    _unit = unit


def asked() -> int:
    """The signal that was noted; 0 for none."""
    return _asked


def status() -> int:
    """The exit status of a script that ends early by the signal noted."""
    return 128 + _asked


def name() -> str:
    """The signal noted, as people know it."""
    return "Ctrl-C" if _asked == signal.SIGINT else signal.Signals(_asked).name


def _answer(number: int, _frame: FrameType | None) -> None:
    global _asked
    first, _asked = not _asked, number
    if _unit and first:
        _say(f"ending after this {_unit}; once more to end now")
        return
    for path in litter:
        path.unlink(missing_ok=True)
    when = "at once; what was finished is kept" if _unit else "before it began"
    _say(f"stopped by {name()} {when}; the same command starts it again")
    os._exit(status())


def _say(line: str) -> None:
    """Write a line as a signal handler may: past Python's buffers, which may be in use just now."""
    start = "\r\x1b[2K\x1b[?25h" if os.isatty(_terminal) else ""  # over a bar, which hides the cursor
    os.write(_terminal, f"{start}{Path(sys.argv[0]).name}: {line}\n".encode(errors="backslashreplace"))
