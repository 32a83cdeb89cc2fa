"""A folder of very many small JPGs: an early start, flat memory, progress all along, and what is done is not opened."""

import os
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
from conftest import ROOT, start
from PIL import Image
from processes import end, to_its_end, wait_until


def save_many(folder: Path, count: int) -> None:
    """Small JPGs of three sizes, each with a content of ten; every tenth has its BMP beside it."""
    folder.mkdir()
    picture = Image.open(ROOT / "samples/astronaut.bmp")
    for number in range(count):
        width, height = ((16, 16), (16, 12), (12, 16))[number % 3]  # the net is not what is tested
        left = 40 * (number % 10)
        crop = picture.crop((left, 100, left + width, 100 + height))
        crop.save(folder / f"{number:06}.jpg", quality=30)
        if number % 10 == 0:
            crop.save(folder / f"{number:06}.bmp")


def resident(pid: int) -> float:
    """Memory of a process now, in MB."""
    pages = Path(f"/proc/{pid}/statm").read_text().split()[1]
    return int(pages) * os.sysconf("SC_PAGE_SIZE") / 1e6


def processor_seconds(pid: int) -> float:
    """What a process has computed so far, whatever else the machine does."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def test_many_small_jpegs(trained: SimpleNamespace, tmp_path: Path, long: bool) -> None:
    count = 100_000 if long else 400
    save_many(tmp_path / "data", count)
    results = tmp_path / "results"
    options = ("--conv", "direct", "--luma-only")
    command = ("run_car_images.py", tmp_path, trained.log, "data", "results", *options)
    began = time.monotonic()
    with open(tmp_path / "printed", "w+") as printed:
        process = start(*command, stdout=printed)
        assert wait_until(lambda: any(results.glob("*_car.bmp")), process)
        first, work = time.monotonic() - began, processor_seconds(process.pid)
        used: list[float] = []  # MB
        told, size = [time.monotonic()], 0  # moments at which more was printed
        while process.poll() is None:
            if (tmp_path / "printed").stat().st_size > size:
                size = (tmp_path / "printed").stat().st_size
                told.append(time.monotonic())
            used.append(resident(process.pid))
            time.sleep(0.05)
        end(process)
        seconds = time.monotonic() - began
        printed.seek(0)
        said = printed.read()
        assert f" of {count} images into" in said and "left out" not in said
    early, late = max(used[: len(used) // 5 + 1]), max(used)
    silence = float(np.diff(told).max()) if len(told) > 1 else 0.0
    print(
        f"\n{count} JPGs in {seconds:.0f} s, the first after {first:.1f} s ({work:.1f} s of work), {silence:.0f} s without progress"
    )
    print(f"memory: {early:.0f} MB at the most in the first fifth, {late:.0f} MB in all")
    rows = count * 0.55e-3  # MB of those of figures.csv
    assert late < early + 80 + rows and silence < 60 and work < 60

    # One is to be made again. All the others would be bad images, were they opened.
    (results / "000001_car.bmp").unlink()
    for path in (tmp_path / "data").iterdir():
        if path.stem != "000001":
            path.write_bytes(b"")
    began = time.monotonic()
    again = to_its_end(*command, "--skip-existing").out
    print(f"--skip-existing over {count - 1} done: {time.monotonic() - began:.1f} s")
    assert f"corrected 1 of {count} images" in again and f"{count - 1} were there already" in again
    assert len(list(results.iterdir())) == count + 2  # figures.csv and the journal
