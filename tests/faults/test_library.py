"""A photographer's library: a deep tree of pictures of many sizes, stopped and gone on with; the time left as told."""

import functools
import io
import os
import re
import signal
import time
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

from conftest import ROOT, start
from PIL import Image
from processes import contents, end, wait_until
from test_many import resident

WIDTHS = (96, 112, 128, 160)  # pixels; the heights are three quarters
QUALITIES = (30, 60, 85, 95)
HIDDEN = re.compile(r"\.car_")


def jpeg_of(width: int, quality: int) -> bytes:
    file = io.BytesIO()
    picture = Image.open(ROOT / "samples/astronaut.bmp").convert("RGB").resize((width, width * 3 // 4))
    picture.save(file, "JPEG", quality=quality)
    return file.getvalue()


def save_library(folder: Path, count: int, folders: int, large: int, large_width: int) -> None:
    """A tree by year and month. `large` pictures of that width: the first one, and others in the later years."""
    widths = WIDTHS if large > 2 else WIDTHS[:2]  # each is a graph to be compiled
    made = {(width, q): jpeg_of(width, q) for width in (*widths, large_width) for q in QUALITIES}
    largest = {0, *(count // 2 + count * number // (2 * large) for number in range(1, large))}
    for number in range(count):
        place = number * folders // count
        path = folder / f"{1999 + place // 12}/{place % 12 + 1:02} Müller & Söhne/IMG_{number:05}.JPG"
        path.parent.mkdir(parents=True, exist_ok=True)
        width = large_width if number in largest else widths[number % len(widths)]
        path.write_bytes(made[width, QUALITIES[number // 4 % 4]])


class Told(NamedTuple):
    """A line of progress."""

    moment: float
    done: int
    left: float | None  # seconds; None where it is not known yet


def lines_of(printed: Path, seen: int) -> Iterator[Told]:
    """The lines of progress in what a process printed, from the byte `seen` on, as of now."""
    with open(printed) as file:
        file.seek(seen)
        for done, clock in re.findall(r"^(\d+)/\d+ images, ([\d:]+|time) left", file.read(), re.MULTILINE):
            told = re.fullmatch(r"(\d\d):(\d\d):(\d\d)", clock)
            seconds = [60 * 60 * int(told[1]) + 60 * int(told[2]) + int(told[3])] if told else [None]
            yield Told(time.monotonic(), int(done), *seconds)


def check_time_left(told: list[Told], ended: float) -> None:
    """Within a fifth; a line is printed every ten seconds, so that the last ones are short."""
    assert len(told) > 10
    for line in told:
        left = ended - line.moment
        assert line.left is not None and abs(line.left - left) < 0.2 * left + 5, line


def test_a_library(tmp_path: Path, long: bool) -> None:
    count, folders, large, large_width = (12_000, 300, 24, 5656) if long else (96, 24, 2, 600)
    save_library(tmp_path / "photos", count, folders, large, large_width)
    command = ("run_car_images.py", tmp_path, ROOT / "pretrained", "photos", "results", "--recursive")
    results, printed = tmp_path / "results", tmp_path / "printed"
    began, told, used = time.monotonic(), list[Told](), list[tuple[float, float]]()
    with open(printed, "w") as into:
        process = start(*command, stdout=into)
        assert wait_until(lambda: any(results.rglob("*.bmp")), process)
        first = time.monotonic() - began
        while process.poll() is None:
            seen = printed.stat().st_size
            used.append((time.monotonic(), resident(process.pid)))
            time.sleep(0.1)
            if printed.stat().st_size > seen:
                told += lines_of(printed, seen)
        ended = time.monotonic()
        end(process)
    seconds = ended - began
    assert f"corrected {count} of {count} images" in printed.read_text()
    a_tenth = began + first + (seconds - first) / 10
    # The large pictures but the first come in the second half of the pictures: two fifths of the time are behind.
    parts = [began + seconds * part / 5 for part in range(6)]
    peaks = [
        max((size for at, size in used if since <= at <= to), default=0.0) for since, to in pairwise(parts)
    ]
    print(f"\n{count} JPGs in {folders} folders in {seconds:.0f} s, the first after {first:.1f} s")
    print(f"memory: at the most {', '.join(f'{peak:.0f}' for peak in peaks)} MB in each fifth of the time")
    off = [(line.left - (ended - line.moment)) / max(ended - line.moment, 1) for line in told if line.left]
    print(f"time left as told, of {len(off)} lines: {min(off, default=0):+.0%} to {max(off, default=0):+.0%}")
    whole = {
        name: data for name, data in contents(results, ["figures.csv"]).items() if not HIDDEN.match(name)
    }
    assert len(whole) == count
    os.rename(results, tmp_path / "of one run")

    # Stopped three times (once in the short form): each run goes on where the last one ended.
    def are_done(wanted: int) -> bool:
        time.sleep(0.1)  # counting takes the time of a core
        return sum(1 for _ in results.rglob("*.bmp")) >= wanted

    for wanted in (count // 4, count // 2, count * 3 // 4) if long else (count // 2,):
        process = start(*command, "--skip-existing")
        assert wait_until(functools.partial(are_done, wanted), process, patience=3600)
        process.send_signal(signal.SIGINT)
        end(process, 128 + signal.SIGINT, lines=2)
    again = end(start(*command, "--skip-existing"), patience=3600).out
    already = re.search(r"(\d+) were there already", again)
    assert already and wanted <= int(already[1]) < count
    of_four = contents(results, ["figures.csv"])
    assert {name: data for name, data in of_four.items() if not HIDDEN.match(name)} == whole
    if long:  # the short form ends before all nets are compiled
        assert peaks[4] < peaks[2] + 80
        check_time_left([line for line in told if line.moment >= a_tenth], ended)
