"""car/cli.py: arguments, faults as one line and a status, what is said, progress in a pipe and on a terminal."""

import contextlib
import ctypes
import os
import pty
import re
import signal
import subprocess
import sys
import types
import warnings
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import rich
from conftest import ROOT

import run_car_images
from car import cli, correct, images, metadata, stop, tiles, weights
from car.errors import Stopped, UserError

Capture = pytest.CaptureFixture[str]
Monkey = pytest.MonkeyPatch


@pytest.fixture
def process(monkeypatch: Monkey) -> Iterator[None]:
    """What a start changes of the process, and the module's own state, put back."""
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    monkeypatch.setattr(sys, "argv", ["/some/where/script.py"])
    monkeypatch.setattr(cli, "_loudness", cli.USUAL)
    for name in ("OPENBLAS_NUM_THREADS", "TF_CPP_MIN_LOG_LEVEL"):
        monkeypatch.setenv(name, "to be put back")
        monkeypatch.delenv(name)
    for name, value in {"_terminal": 2, "_asked": 0, "_unit": ""}.items():
        monkeypatch.setattr(stop, name, value)
    with warnings.catch_warnings():
        yield
    for number, handler in handlers.items():
        signal.signal(number, handler)
    if stop._terminal != 2:
        os.close(stop._terminal)


# ---- start and end -------------------------------------------------------------------------


def test_what_main_returns_is_the_status(process: None, capsys: Capture) -> None:
    @cli.script
    def main(argv: Sequence[str] | None) -> int:
        """The manual."""
        return 7 if argv == ["a"] else 8

    assert (main(["a"]), main()) == (7, 8) and (main.__name__, main.__doc__) == ("main", "The manual.")
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize(
    "fault, noted, status, said",
    [
        (UserError("mend\x1b this"), 0, 1, r"mend\x1b this"),
        (Stopped("goes on"), signal.SIGINT, 130, "goes on"),
        (Stopped("goes on"), signal.SIGTERM, 143, "goes on"),
        (OSError(28, "No space left on device", "/results/a.bmp"), 0, 1, "/results/a.bmp: No space left on device"),
        (OSError(5, "Input/output error"), 0, 1, "the output: Input/output error"),
        (OSError("broken"), 0, 1, "the output: broken"),
        (FileNotFoundError(2, "No such file or directory", "b\udcff"), 0, 1, r"b\udcff: No such file or directory"),
    ],
    ids=range(7),
)  # fmt: skip
def test_faults_are_one_line_and_a_status(
    process: None, capsys: Capture, fault: Exception, noted: int, status: int, said: str, monkeypatch: Monkey
) -> None:
    @cli.script
    def main(argv: Sequence[str] | None) -> int:
        monkeypatch.setattr(stop, "_asked", noted)
        raise fault

    assert main([]) == status
    assert capsys.readouterr() == ("", f"script.py: {said}\n")


def test_other_faults_are_the_code_s_and_pass(process: None) -> None:
    @cli.script
    def main(argv: Sequence[str] | None) -> int:
        raise KeyError("x")

    with pytest.raises(KeyError):
        main([])


def test_a_start_answers_signals_and_quiets_libraries(process: None, capsys: Capture) -> None:
    assert not {"OPENBLAS_NUM_THREADS", "TF_CPP_MIN_LOG_LEVEL"} & set(os.environ)
    cli.start()
    assert signal.getsignal(signal.SIGINT) is signal.getsignal(signal.SIGTERM) is stop._answer
    assert os.environ["OPENBLAS_NUM_THREADS"] == "1" and os.environ["TF_CPP_MIN_LOG_LEVEL"] == "3"
    # Its own descriptor of what 2 was: the signals are answered there.
    assert stop._terminal > 2 and os.path.sameopenfile(stop._terminal, 2)
    with warnings.catch_warnings(record=True) as seen:
        for text, module in (
            ("damaged", "PIL.TiffImagePlugin"),
            ("only soft file lock is available", "filelock"),
            ("damaged", "PILLOWS"),
            ("a soft file lock", "filelock"),
        ):
            warnings.warn_explicit(text, UserWarning, "file.py", 1, module=module, registry={})
    assert [str(warning.message) for warning in seen] == ["damaged", "a soft file lock"]
    print("b\udcff")
    assert capsys.readouterr().out == "b\\udcff\n"


def test_what_people_have_set_stays(process: None, monkeypatch: Monkey) -> None:
    monkeypatch.setenv("OPENBLAS_NUM_THREADS", "4")
    monkeypatch.setenv("TF_CPP_MIN_LOG_LEVEL", "0")
    cli.start()
    assert (os.environ["OPENBLAS_NUM_THREADS"], os.environ["TF_CPP_MIN_LOG_LEVEL"]) == ("4", "0")


ARENAS = """
import ctypes, sys, threading
from car import cli
libc = ctypes.CDLL(None)
libc.fopen.restype = libc.malloc.restype = ctypes.c_void_p
if "start" in sys.argv:
    cli.start()
together = threading.Barrier(8)
def take():
    libc.malloc(1000)
    together.wait()
threads = [threading.Thread(target=take) for _ in range(8)]
for thread in threads: thread.start()
for thread in threads: thread.join()
file = ctypes.c_void_p(libc.fopen(sys.argv[1].encode(), b"w"))
libc.malloc_info(0, file)
libc.fclose(file)
"""


@pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "malloc_info"), reason="glibc's")
def test_threads_of_a_script_share_two_arenas_of_memory(tmp_path: Path) -> None:
    found = {}
    for how in ("start", "not"):
        subprocess.run([sys.executable, "-c", ARENAS, tmp_path / how, how], check=True, cwd=ROOT)
        found[how] = (tmp_path / how).read_text().count("<heap ")
    assert found["start"] == 2 < found["not"]


def test_a_start_where_stdout_is_no_file(process: None, monkeypatch: Monkey) -> None:
    """As in a notebook."""
    monkeypatch.setattr(sys, "stdout", object())
    cli.start()


def test_tensorflow_is_loaded_with_its_chatter_silenced(
    process: None, monkeypatch: Monkey, capfd: Capture
) -> None:
    """A stand-in for it: the real one takes seconds."""
    levels: list[str] = []
    logger = types.SimpleNamespace(setLevel=levels.append)

    class StandIn(types.ModuleType):
        def __getattr__(self, name: str) -> Any:
            return (lambda: logger) if name == "get_logger" else object()

    monkeypatch.setitem(sys.modules, "tensorflow", StandIn("tensorflow"))
    cli.start()
    before = len(os.listdir("/proc/self/fd"))
    cli.load_tensorflow()
    assert levels == ["ERROR"]
    with cli.silenced():
        os.write(2, b"chatter\n")
    with pytest.raises(KeyError), cli.silenced():
        os.write(2, b"more chatter\n")
        raise KeyError
    os.write(2, b"a word\n")
    assert capfd.readouterr().err == "a word\n" and len(os.listdir("/proc/self/fd")) == before


# ---- arguments -----------------------------------------------------------------------------

MANUAL = "What it does.\n\n    an example   as it is\n"


def parsed(*argv: object, **names: list[str]) -> Any:
    parser = cli.parser(MANUAL)
    for name in ("workdir", "data", "results"):
        parser.add_argument(name)
    parser.add_argument("--verbatim", action="store_true")
    return cli.parse(parser, list(map(str, argv)), **names)


def refused(capsys: Capture, *argv: object, **names: list[str]) -> str:
    with pytest.raises(SystemExit) as ended:
        parsed(*argv, **names)
    assert ended.value.code == 2
    said = capsys.readouterr().err
    # One line of usage, however many options there are, and one that says what is wrong.
    assert said.startswith("usage: script.py workdir data results [options]\nscript.py: error: ")
    assert said.count("\n") == 2
    return said


def test_folders_are_joined_to_the_working_folder(process: None, tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    args = parsed(tmp_path, "in", "out", inputs=["data"], outputs=["results"])
    assert (args.workdir, args.data, args.results) == (tmp_path, tmp_path / "in", tmp_path / "out")
    assert not (tmp_path / "out").exists()
    args = parsed(tmp_path, tmp_path / "in", "in", inputs=["data"], outputs=["results"])
    assert (args.data, args.results) == (tmp_path / "in", tmp_path / "in")
    args = parsed(tmp_path, "in", "out")
    assert (args.data, args.results) == ("in", "out")


def test_folders_that_are_none_are_refused(process: None, tmp_path: Path, capsys: Capture) -> None:
    (tmp_path / "file").touch()
    said = refused(capsys, tmp_path / "gone", "in", "out")
    assert f"no folder {tmp_path / 'gone'}" in said
    assert f"no folder {tmp_path / 'file'}" in refused(capsys, tmp_path / "file", "in", "out")
    assert f"no folder {tmp_path / 'in'}" in refused(capsys, tmp_path, "in", "out", inputs=["data"])
    assert f"no folder {tmp_path / 'file'}" in refused(capsys, tmp_path, "file", "out", inputs=["data"])
    said = refused(capsys, tmp_path, "in", "file", outputs=["results"])
    assert f"{tmp_path / 'file'} is a file" in said


@pytest.mark.parametrize(
    "options, said",
    [([], ["usual"]), (["--quiet"], []), (["--verbose"], ["usual", "detail"])],
)
def test_quiet_and_verbose(
    process: None, tmp_path: Path, capsys: Capture, options: list[str], said: list[str]
) -> None:
    for before in (cli.QUIET, cli.VERBOSE):  # what an earlier call asked for does not stay
        cli._loudness = before
        parsed(tmp_path, "in", "out", *options)
        cli.say("usual")
        cli.detail("detail")
        assert capsys.readouterr().out.split() == said


def test_not_both_and_no_abbreviations(process: None, tmp_path: Path, capsys: Capture) -> None:
    assert "not allowed with" in refused(capsys, tmp_path, "in", "out", "--quiet", "--verbose")
    assert "--verbati" in refused(capsys, tmp_path, "in", "out", "--verbati")


def test_help_is_the_manual_and_the_version_is_told(process: None, capsys: Capture) -> None:
    for option in ("--help", "--version"):
        with pytest.raises(SystemExit) as ended:
            parsed(option)
        assert ended.value.code == 0
    said = capsys.readouterr().out
    assert MANUAL in said and said.endswith(f"script.py {cli.VERSION}\n")
    for option, meaning in (("--quiet", "errors alone"), ("--verbose", "more of each")):
        assert re.search(rf"{option} +print .*{meaning}", said)
    assert cli.parser(None).description is None


def test_whole_numbers(process: None, capsys: Capture) -> None:
    assert (
        cli.whole_number(3)("3") == 3 and cli.whole_number(3)("12345678901234567890") == 12345678901234567890
    )
    assert [cli.whole_number(-2, 5)(text) for text in ("-2", "5", " 4 ")] == [-2, 5, 4]
    for convert, texts in (
        (cli.whole_number(3), ["2", "-3", "3.0", "x", "", "nan"]),
        (cli.whole_number(-2, 5), ["-3", "6", "1e0"]),
        (cli.whole_number(0, 0), ["1", "-1"]),
        (cli.positive, ["0", "-1"]),
        (cli.seed, ["-1", str(2**31)]),
    ):
        for text in texts:
            with pytest.raises(ValueError):
                convert(text)
    assert cli.positive("1") == 1 and cli.seed("0") == 0 and cli.seed("2147483647") == 2147483647
    assert (cli.whole_number(3).__name__, cli.whole_number(3, 9).__name__) == (
        "whole number of 3 or more",
        "whole number of 3 to 9",
    )


def test_the_numbers_of_the_command_line_are_those_of_the_modules() -> None:
    here = (
        run_car_images.CORE_SIDE,
        run_car_images.SMALLEST_CORE,
        run_car_images.HALO,
        run_car_images.MAX_PIXELS,
    )
    assert here == (correct.CORE_SIDE, tiles.SMALLEST_CORE, weights.RADIUS, images.MAX_PIXELS)
    assert set(run_car_images.FORMATS) == set(metadata.HELD)


# ---- what is said --------------------------------------------------------------------------


def test_names_are_said_as_any_terminal_can_show_them(process: None, capsys: Capture) -> None:
    cli.say("a\nb\x1b \udcff ä")
    assert capsys.readouterr().out == "a\\nb\\x1b \\udcff ä\n"


def test_each_line_is_there_at_once(process: None, monkeypatch: Monkey) -> None:
    reading, writing = os.pipe()
    with open(writing, "w") as out, open(reading) as read:
        monkeypatch.setattr(sys, "stdout", out)
        cli.say("a line")
        os.set_blocking(reading, False)
        assert read.readline() == "a line\n"


@pytest.mark.parametrize(
    "seconds, said",
    [(0, "00:00:00"), (59.4, "00:00:59"), (59.6, "00:01:00"), (3725.4, "01:02:05"), (360_000, "100:00:00")],
)
def test_a_clock(seconds: float, said: str) -> None:
    assert cli._clock(seconds) == said


class Clock:
    """Time that goes on as the test says."""

    def __init__(self, monkeypatch: Monkey) -> None:
        self.now = 1000.0
        monkeypatch.setattr(cli, "time", types.SimpleNamespace(monotonic=lambda: self.now))


def test_lines_of_progress_in_a_pipe(process: None, capsys: Capture, monkeypatch: Monkey) -> None:
    clock = Clock(monkeypatch)
    with cli.Progress(7, "images", done=2) as progress:
        assert not progress.live and progress.seconds == 1e-6 and cli._bar is None
        clock.now += 9.99
        progress.step(note="fast")
        assert capsys.readouterr().out == "" and progress.seconds == pytest.approx(9.99)
        clock.now += 0.01
        progress.part(0.5)
        said = capsys.readouterr().out
        assert re.fullmatch(r"3/7 images, (\d\d:\d\d:\d\d left|time left not known yet), fast\n", said)
        clock.now += 9.99
        progress.step(2, note="slow")
        assert capsys.readouterr().out == ""
        clock.now += 0.02
        progress.step()
        said = capsys.readouterr().out
        assert re.fullmatch(r"6/7 images, (\d\d:\d\d:\d\d left|time left not known yet)\n", said)
        cli.say("a line of its own")
        assert capsys.readouterr().out == "a line of its own\n"
        progress.step(note="[b]end[/b]")
        clock.now += 3600
    assert capsys.readouterr().out == "7/7 images, 01:00:20 taken, [b]end[/b]\n"


def lines_of(capsys: Capture) -> list[str]:
    return capsys.readouterr().out.splitlines()


def test_the_time_left_is_told(process: None, capsys: Capture, monkeypatch: Monkey) -> None:
    """After a start of 100 seconds, a step takes 2 seconds."""
    monkeypatch.setattr(cli, "SECONDS_BETWEEN_LINES", 0.0)
    clock = Clock(monkeypatch)
    with cli.Progress(1000, "steps", done=500) as progress:
        progress.part(0.0)
        assert lines_of(capsys) == ["500/1000 steps, time left not known yet"]
        clock.now += 100
        progress.step()
        assert lines_of(capsys) == ["501/1000 steps, 13:51:40 left"]
        for _ in range(3):
            clock.now += 2
            progress.step()
        assert lines_of(capsys)[-1] == "504/1000 steps, 00:16:32 left"  # 496 steps of 2 seconds
        clock.now += 1
        progress.part(0.5)
        assert lines_of(capsys) == ["504/1000 steps, 00:16:31 left"]


def test_the_time_left_goes_by_the_work_of_each_picture(
    process: None, capsys: Capture, monkeypatch: Monkey
) -> None:
    """A megapixel takes a second, a large picture comes first, and how large the last is was not known."""
    monkeypatch.setattr(cli, "SECONDS_BETWEEN_LINES", 0.0)
    clock, work = Clock(monkeypatch), [24.0, 1.0, 1.0, 1.0]
    with cli.Progress(6, "images", done=2, work=work) as progress:
        clock.now += 12
        progress.part(0.5)
        assert lines_of(capsys) == ["2/6 images, 00:00:15 left"]
        work[-1] = 40.0
        clock.now += 12.5
        progress.part(1.5)  # the first waits to be saved
        assert lines_of(capsys) == ["2/6 images, 00:00:42 left"]
        progress.step()
        assert lines_of(capsys) == ["3/6 images, 00:00:42 left"]


def test_quiet_progress_says_nothing(process: None, capsys: Capture, monkeypatch: Monkey) -> None:
    monkeypatch.setattr(cli, "SECONDS_BETWEEN_LINES", 0.0)
    cli._loudness = cli.QUIET
    with cli.Progress(2, "images") as progress:
        progress.step(note="fast")
    assert capsys.readouterr().out == ""


def test_how_much_is_done_beyond_the_finished_units(process: None, monkeypatch: Monkey) -> None:
    def shown() -> tuple[float, object]:
        task = progress._rich.tasks[0]
        return task.completed, task.fields["count"]

    with cli.Progress(6, "images", done=1) as progress:
        assert shown() == (1, "1/6") and progress._rich.tasks[0].fields["note"] == ""
        progress.part(0.25)
        assert shown() == (1.25, "1/6")
        progress.part(1.5)  # one waits to be saved, the next is half through
        assert shown() == (2.5, "1/6")
        progress.step()
        assert shown() == (2.5, "2/6")
        progress.part(0.75)
        progress.step(note="n")
        assert shown() == (3, "3/6") and progress._rich.tasks[0].fields["note"] == "n"
        progress.step(2)
        assert shown() == (5, "5/6") and progress._rich.tasks[0].total == 6


def read_all(terminal: int) -> str:
    """What comes out of a terminal until nobody has its other end."""
    shown = b""
    with contextlib.suppress(OSError):
        while data := os.read(terminal, 100_000):
            shown += data
    os.close(terminal)
    return shown.decode()


def on_a_terminal(monkeypatch: Monkey, work: Callable[[], None]) -> str:
    """What work writes to stdout where that is a terminal."""
    ours, theirs = pty.openpty()
    with ThreadPoolExecutor(1) as pool, open(theirs, "w") as out:
        shown = pool.submit(read_all, ours)
        with monkeypatch.context() as patch:
            patch.setattr(sys, "stdout", out)
            patch.setattr(rich, "_console", None)  # it asks but once whether there are colours
            patch.setenv("TERM", "xterm")
            work()
        out.close()
        return shown.result(10)


def plain(shown: str) -> str:
    return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", shown)


def test_a_bar_on_a_terminal(process: None, monkeypatch: Monkey) -> None:
    monkeypatch.setattr(cli, "SECONDS_BETWEEN_LINES", 0.0)

    def work() -> None:
        with cli.Progress(5, "images", done=1) as progress:
            assert progress.live
            progress.step(2, note="[bold]fast")
            cli.say("left out: [red]a.jpg 12 \udcff" + 90 * "-" + "end")
            progress._rich.refresh()
        cli.say("after")

    shown = on_a_terminal(monkeypatch, work)
    assert "\x1b[?25l" in shown and "\x1b[?25h" in shown  # the cursor is hidden, and comes back
    assert "left out: [red]a.jpg 12 \\udcff" + 90 * "-" + "end" in shown  # one line, no colours in it
    assert "━" in shown
    assert re.search(r"3/5 images +(00:00:00 left|time left not known yet) +\[bold\]fast", plain(shown))
    assert "taken" not in shown and shown.endswith("after\r\n")
    assert cli._bar is None


def test_a_quiet_bar_is_none(process: None, monkeypatch: Monkey) -> None:
    def work() -> None:
        cli._loudness = cli.QUIET
        with cli.Progress(5, "images") as progress:
            progress.step()
            cli.say("nothing")

        print(".")

    assert on_a_terminal(monkeypatch, work) == ".\r\n"


CHILD = """
import sys
sys.path.insert(0, {root!r})
from car import cli
with cli.Progress(5, "images") as progress:
    for _ in range(3):
        progress.step(note="fast")
    cli.say("a line")
"""


def test_the_same_in_a_process_of_its_own() -> None:
    command = [sys.executable, "-c", CHILD.format(root=str(ROOT))]
    piped = subprocess.run(command, capture_output=True, text=True, timeout=20)
    assert re.fullmatch(r"a line\n3/5 images, 00:00:0\d taken, fast\n", piped.stdout) and not piped.stderr
    ours, theirs = pty.openpty()
    child = subprocess.Popen(command, stdout=theirs, stderr=theirs, env={**os.environ, "TERM": "xterm"})
    os.close(theirs)
    text = plain(read_all(ours))
    assert child.wait(20) == 0
    assert "3/5 images" in text and "━" in text and "a line\r\n" in text and "taken" not in text
