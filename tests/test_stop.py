"""car/stop.py: Ctrl-C and SIGTERM, with real signals to a process of its own, and the answer by itself."""

import os
import pty
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import IO

import pytest
from conftest import ROOT

from car import stop

CHILD = """
import sys, time
from pathlib import Path
sys.path.insert(0, {root!r})
from car import stop
sys.argv[0] = "/somewhere/child.py"
stop.litter += [Path(name) for name in sys.argv[2:]]
stop.watch(2)
if sys.argv[1]:
    stop.hold(sys.argv[1])
print("ready", stop.asked(), flush=True)
while not stop.asked():
    time.sleep(0.005)
print("noted", stop.asked(), stop.name(), stop.status(), flush=True)
time.sleep(60)
"""


class Child:
    """A process that waits for signals."""

    def __init__(self, unit: str, *litter: Path) -> None:
        command = [sys.executable, "-c", CHILD.format(root=str(ROOT)), unit, *map(str, litter)]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        assert self.process.stdout is not None and self.process.stderr is not None
        self.out: IO[str] = self.process.stdout
        self.err: IO[str] = self.process.stderr
        assert self.out.readline() == "ready 0\n"

    def end(self) -> int:
        try:
            return self.process.wait(10)
        finally:
            self.process.kill()
            self.process.wait()
            self.out.close()
            self.err.close()


def test_the_first_is_noted_and_the_second_ends(tmp_path: Path) -> None:
    litter = tmp_path / "lock"
    litter.touch()
    (tmp_path / "other").touch()
    child = Child("image", tmp_path / "gone", litter)
    child.process.send_signal(signal.SIGINT)
    said = child.err.readline()  # at once, not when the loop comes round
    assert said == "child.py: ending after this image; once more to end now\n"
    assert child.out.readline() == "noted 2 Ctrl-C 130\n" and litter.exists()
    child.process.send_signal(signal.SIGINT)
    said = child.err.readline()
    assert said.startswith("child.py: stopped by Ctrl-C at once") and "what was finished is kept" in said
    assert child.err.read() == "" and child.end() == 130
    assert os.listdir(tmp_path) == ["other"]


@pytest.mark.parametrize("number, name", [(signal.SIGINT, "Ctrl-C"), (signal.SIGTERM, "SIGTERM")])
def test_before_the_work_one_ends(tmp_path: Path, number: signal.Signals, name: str) -> None:
    litter = tmp_path / "lock"
    litter.touch()
    child = Child("", litter)
    child.process.send_signal(number)
    said = child.err.read()
    assert said.startswith(f"child.py: stopped by {name} before it began") and said.count("\n") == 1
    assert "the same command" in said
    assert child.end() == 128 + number and not litter.exists()


def test_sigterm_is_noted_too_and_the_last_one_names_the_end() -> None:
    child = Child("step")
    child.process.send_signal(signal.SIGTERM)
    assert "ending after this step" in child.err.readline()
    assert child.out.readline() == "noted 15 SIGTERM 143\n"
    child.process.send_signal(signal.SIGINT)
    assert "stopped by Ctrl-C" in child.err.readline() and child.end() == 130


# ---- the same without a process of its own -------------------------------------------------


class Ended(BaseException):
    """Instead of the end of the process."""


@pytest.fixture
def state(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The module as it is at a start; its handlers, and what it knows, are put back."""
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}

    def end(status: int) -> None:
        raise Ended(status)

    monkeypatch.setattr(os, "_exit", end)
    monkeypatch.setattr(sys, "argv", ["folder/script.py", "argument"])
    for name, value in {"_unit": "", "_asked": 0, "_terminal": 2, "litter": []}.items():
        monkeypatch.setattr(stop, name, value)
    yield
    for number, handler in handlers.items():
        signal.signal(number, handler)


def said_by(reading: int) -> str:
    said = b""
    while not said.endswith(b"\n"):
        said += os.read(reading, 10_000)
    return said.decode()


def test_both_signals_are_answered_on_the_descriptor(state: None) -> None:
    reading, writing = os.pipe()
    stop.watch(writing)
    assert stop.asked() == 0
    stop.hold("picture")
    for number, name in ((signal.SIGTERM, "SIGTERM"), (signal.SIGINT, "Ctrl-C")):
        stop._asked = 0
        signal.raise_signal(number)
        assert said_by(reading) == "script.py: ending after this picture; once more to end now\n"
        assert (stop.asked(), stop.status(), stop.name()) == (number, 128 + number, name)
    with pytest.raises(Ended, match="143"):
        signal.raise_signal(signal.SIGTERM)
    assert said_by(reading).startswith("script.py: stopped by SIGTERM at once; what was finished is kept")
    os.close(reading)
    os.close(writing)


def test_before_it_began_everything_in_the_litter_goes(state: None, tmp_path: Path) -> None:
    reading, writing = os.pipe()
    stop.watch(writing)
    (tmp_path / "last").touch()
    stop.litter += [tmp_path / "never was", tmp_path / "last"]
    with pytest.raises(Ended, match="130"):
        stop._answer(signal.SIGINT, None)
    assert (
        said_by(reading) == "script.py: stopped by Ctrl-C before it began; the same command starts it again\n"
    )
    assert not any(tmp_path.iterdir())
    os.close(reading)
    os.close(writing)


def test_a_bar_is_wiped_and_its_cursor_shown_on_a_terminal_alone(state: None) -> None:
    ours, theirs = pty.openpty()
    stop.watch(theirs)
    stop.hold("image")
    signal.raise_signal(signal.SIGINT)
    assert said_by(ours).startswith("\r\x1b[2K\x1b[?25hscript.py: ending after this image")
    os.close(ours)
    os.close(theirs)


def test_a_name_that_is_no_text(state: None, monkeypatch: pytest.MonkeyPatch) -> None:
    reading, writing = os.pipe()
    stop.watch(writing)
    stop.hold("image")
    monkeypatch.setattr(sys, "argv", ["b\udcffd.py"])
    signal.raise_signal(signal.SIGINT)
    assert said_by(reading).startswith("b\\udcffd.py: ending")
    os.close(reading)
    os.close(writing)
