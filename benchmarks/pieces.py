"""What a picture takes, one by one: rates of all that is done for each; bytes, seconds. Parts of scale.py."""

import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from timing import ROOT, Figures, seconds  # first: it lets the suite be found

# isort: split
import numpy as np
import psutil
import simulation
from PIL import Image

from car import cli, find, jobs, metadata, output, rows, workload
from car.arrays import Pixels
from car.find import Picture
from car.journal import Journal

# ---- what is done once a picture -----------------------------------------------------------


def photograph(width: int, height: int, number: int) -> Pixels:
    """A colour picture of that size, uint8 [H, W, 3]: one of the samples, mirrored again and again."""
    name = ("astronaut", "chelsea", "coffee")[number % 3]
    with Image.open(ROOT / f"samples/{name}.bmp") as image:
        pixels = np.asarray(image.convert("RGB"))
    more = [(0, max(0, side - there)) for side, there in zip((height, width, 3), pixels.shape, strict=True)]
    return np.pad(pixels, more, "symmetric")[:height, :width]


def time_books(folder: Path, count: int = 100_000) -> Figures:
    """Pictures a second of one thread, and bytes: names, headers, rows of figures, lines of journals."""
    data = folder / "data"
    jpeg = folder / "small.jpg"
    Image.fromarray(photograph(64, 64, 0)).save(jpeg, quality=75)

    def make() -> None:
        for number in range(count):
            place = data / f"{number // 1000:03}"
            if number % 1000 == 0:
                place.mkdir(parents=True)
            (place / f"{number:06}.jpg").write_bytes(b"")

    found: Figures = {"files made": count / seconds(make)}
    process, listed = psutil.Process(), list[Picture]()
    before = process.memory_info().rss
    found["listed"] = count / seconds(lambda: listed.extend(find.in_folder(data, (".jpg",), True).pictures))
    found["bytes of memory a name"] = (process.memory_info().rss - before) / count
    few = listed[:2000]
    for picture in few:
        shutil.copy(jpeg, picture.path)
    found["headers"] = len(few) / seconds(lambda: [workload.samples_of(picture.path) for picture in few])

    row = rows.Row("", rows.CORRECTED, "", (4000, 3000), 85, "standard", *(("quality 85",) * 3, (0.5,) * 3))
    table = {picture.stem: row._replace(name=picture.stem, seconds=15.2) for picture in listed}
    figures = folder / "figures.csv"
    found["rows written"] = count / seconds(lambda: rows.write(figures, table))
    found["rows read"] = count / seconds(lambda: rows.read(figures))
    found["bytes a row"] = figures.stat().st_size / count

    results = folder / "results"
    results.mkdir()
    journal = Journal(results, 1, 2, {"version": cli.VERSION, "weights": "0" * 16})
    named = [(picture.path, results / f"{picture.stem}_car.png", picture.name) for picture in few]

    def note() -> None:
        for whole, path, source in named:
            journal.note(whole, path, source)

    found["lines noted"] = len(few) / seconds(note)
    file = results / ".car_results_1_of_2.jsonl"
    lines = file.read_text().splitlines()
    found["bytes a line"] = file.stat().st_size / len(lines)
    file.write_text("\n".join([lines[0], *lines[1:] * (count // len(few))]) + "\n")
    found["lines read"] = count / seconds(lambda: Journal(results, 2, 2, {}))
    job = jobs.Job(data, results, part=2, parts=2)
    found["results looked for"] = count / seconds(lambda: jobs.done_already(job, journal, listed, {}))
    for name, rate in found.items():
        cli.say(f"{name}: {rate:,.0f}{'' if name.startswith('bytes') else ' a second'}")
    return found


def time_pictures(folder: Path) -> dict[str, Figures]:
    """Seconds of one core and bytes of photographs of 12 megapixels and of web pictures of half a megapixel.

    By run_car_images.py over one and over several, as BMP.
    """
    found: dict[str, Figures] = {}
    for name, size, quality, count in (("photograph", (4000, 3000), 90, 2), ("web", (800, 600), 75, 13)):
        for number in range(count):
            for place in ("several", "one")[: 1 + (number == 0)]:
                (folder / name / place).mkdir(parents=True, exist_ok=True)
                picture = Image.fromarray(photograph(*size, number))
                picture.save(folder / name / place / f"{number}.jpg", quality=quality, subsampling="4:2:0")
        several, one = (on_one_core(folder / name, data) for data in ("several", "one"))
        read = np.mean([file.stat().st_size for file in (folder / name / "several").iterdir()])
        each = (several - one) / (count - 1)
        row = {"seconds": each, "start": one - each, "read": float(read), "pixels": float(size[0] * size[1])}
        found[name] = row
        cli.say(f"{name}: " + ", ".join(f"{key} {value:,.3g}" for key, value in row.items()))
    return found


def on_one_core(folder: Path, data: str, *options: str) -> float:
    """Seconds that run_car_images.py keeps one core busy over folder / data: whatever else the machine does.

    Raises RuntimeError where it fails.
    """
    command = [sys.executable, ROOT / "run_car_images.py", folder, ROOT / "pretrained", data, f"of {data}"]
    run = subprocess.Popen([*map(str, command), *options], stdout=subprocess.DEVNULL)
    os.sched_setaffinity(run.pid, {min(os.sched_getaffinity(0))})
    _, status, used = os.wait4(run.pid, 0)
    run.returncode = os.waitstatus_to_exitcode(status)
    if run.returncode:
        raise RuntimeError(f"run_car_images.py ended with {run.returncode}")
    return used.ru_utime + used.ru_stime


def time_formats() -> dict[str, Figures]:
    """Bytes a pixel and seconds a megapixel of writing the samples in colour, JPEGs at quality 95."""
    found: dict[str, Figures] = {}
    for form in metadata.HELD:
        spent = written = pixels = 0.0
        for file in sorted((ROOT / "samples").glob("*.bmp")):
            with Image.open(file) as image, tempfile.TemporaryFile() as result:
                if image.mode == "RGB":
                    began = time.process_time()
                    output.write(result, np.asarray(image), metadata.Metadata(), form, 95)
                    spent += time.process_time() - began
                    written += result.seek(0, os.SEEK_END)
                    pixels += image.width * image.height
        found[form] = {"bytes a pixel": written / pixels, "seconds a megapixel": spent / pixels * 1e6}
        cli.say(f"{form}: " + ", ".join(f"{value:.3g} {key}" for key, value in found[form].items()))
    return found


CALLS = "open,openat,stat,lstat,newfstatat,statx,rename,renameat,unlink,mkdir,utimensat,access,readlink"


def count_calls(folder: Path) -> Figures:
    """How often run_car_images.py asks the disk for a file by its name, for each picture more."""
    if not shutil.which("strace"):
        cli.say("strace is not installed: its part is left out")
        return {}
    called = {}
    for count in (4, 12):
        data = folder / f"{count} pictures"
        data.mkdir()
        for number in range(count):
            Image.fromarray(photograph(64, 64, number)).save(data / f"{number}.jpg", quality=75)
        log = folder / f"{count}.strace"
        command = ["strace", "-f", "-qq", "-o", log, "-e", f"trace={CALLS}", sys.executable]
        command += [ROOT / "run_car_images.py", folder, ROOT / "pretrained", data.name, f"of {count}"]
        subprocess.run(list(map(str, command)), check=True, capture_output=True)
        lines = [line for line in log.read_text(errors="replace").splitlines() if str(folder) in line]
        called[count] = {kind: sum(kind in line for line in lines) for kind in ("open", "rename", "")}
    found = {kind or "all": (called[12][kind] - called[4][kind]) / 8 for kind in called[4]}
    cli.say("calls a picture by the name of a file: " + ", ".join(f"{k} {n:.1f}" for k, n in found.items()))
    return found


# ---- the simulation against what is measured ------------------------------------------------


def check_shards(folder: Path, count: int = 24) -> dict[str, Figures]:
    """Seconds of shards of pictures of very different sizes on two cores, run and simulated.

    What a megapixel and a start take is measured by one process over all pictures, and over the first. Parts
    are run one by one; each is the next one of the core that had less to do so far, by its processor's time.
    """
    rng = np.random.default_rng(0)
    megapixels = np.clip(rng.lognormal(-1.5, 1.0, count), 0.03, 4)
    for name, sizes in (("mixed", megapixels), ("first", megapixels[:1])):
        (folder / name).mkdir()
        for number, size in enumerate(sizes):
            height = round(float(np.sqrt(size * 1e6 * 3 / 4)))
            picture = Image.fromarray(photograph(round(height * 4 / 3), height, number))
            picture.save(folder / name / f"{number:02}.jpg", quality=75)
    first, whole = (on_one_core(folder, data) for data in ("first", "mixed"))
    of_a_megapixel = (whole - first) / megapixels[1:].sum()
    work = simulation.Work(megapixels * of_a_megapixel, np.zeros(count), np.zeros(count))
    start = first - float(work.seconds[0])
    cli.say(f"a start {start:.1f} s, a megapixel {of_a_megapixel:.2f} s")
    found: dict[str, Figures] = {}
    for parts in (2, 4, 6):
        shutil.rmtree(folder / "of mixed")
        busy = [0.0, 0.0]
        for part in range(1, parts + 1):
            core = int(np.argmin(busy))
            busy[core] += on_one_core(folder, "mixed", "--shard", f"{part}/{parts}")
        way = simulation.Way(simulation.shards(count, parts), True)
        fleet = simulation.Fleet(np.ones(2), start=start)
        told = simulation.simulate(work, way, fleet, simulation.Store())
        found[f"{parts} shards"] = {"measured": max(busy), "simulated": told.seconds}
        cli.say(f"{parts} shards on 2 cores: {max(busy):.1f} s measured, {told.seconds:.1f} simulated")
    return found
