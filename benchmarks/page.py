"""The page of `run_car_images.py --report`: its picture in docs/options.md, its size and speed, its cost.

    python benchmarks/page.py                           # benchmarks/page.png: the slider over a sample
    python benchmarks/page.py --many 10000              # so many small pictures: size, first view, scrolling
    python benchmarks/page.py --cost LIVE1 --rounds 5   # processor time with and without, at quality 30

Needs Chromium and playwright (tests/requirements.txt). The cost is that of the correction, start-up apart.
"""

import argparse
import resource
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from PIL import Image

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

import browser

from car import find

if TYPE_CHECKING:
    from playwright.sync_api import Page

PICTURE = ROOT / "benchmarks/page.png"
SMALL_SIDE = 64  # pixels, of the pictures of --many
QUALITY = 30  # of those of --cost
# Scrolls by 100 pixels a frame; gives the time between two frames, in milliseconds: the median, and what 95 %
# do not pass.
SCROLL = """async () => {
    const times = [];
    let before = performance.now();
    for (let frame = 0; frame < 300; frame += 1) {
        scrollBy(0, 100);
        const now = await new Promise(requestAnimationFrame);
        times.push(now - before);
        before = now;
    }
    times.sort((a, b) => a - b);
    return [times[150], times[285]];
}"""
ALL_THERE = (
    "document.images.length > 0 && [...document.images].every(image => image.complete || "
    "image.getBoundingClientRect().top > innerHeight)"
)


def correct(data: Path, results: Path, *options: str) -> float:
    """Correct a folder as users do. Returns the processor time that it took, in seconds."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    command: list[str | Path] = [
        sys.executable,
        ROOT / "run_car_images.py",
        ROOT,
        "pretrained",
        data,
        results,
        "--quiet",
        *options,
    ]
    subprocess.run(command, check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def draw_picture(folder: Path) -> None:
    """Take the picture of docs/options.md: a crop under the slider, what changed, and the clean picture."""
    correct(ROOT / "samples", folder, "--report")
    with browser.started() as chromium, browser.opened(chromium, folder / "index.html") as page:
        page.set_viewport_size({"width": 1000, "height": 900})
        page.get_by_role("button", name="Look closer at chelsea").click()
        page.get_by_role("button", name="crop 3").click()
        page.wait_for_function(ALL_THERE)
        page.locator("#stage").screenshot(path=PICTURE)
    print(f"{PICTURE}: {PICTURE.stat().st_size / 1e3:.0f} KB")


def small_pictures(folder: Path, count: int) -> None:
    """Save so many JPEGs, cut from the samples."""
    folder.mkdir()
    samples = [Image.open(path).convert("RGB") for path in sorted((ROOT / "samples").glob("*.bmp"))]
    for number in range(count):
        sample = samples[number % len(samples)]
        x, y = 7 * number % (sample.width - SMALL_SIDE), 5 * number % (sample.height - SMALL_SIDE)
        cut = sample.crop((x, y, x + SMALL_SIDE, y + SMALL_SIDE))
        cut.save(folder / f"picture_{number:05}.jpg", quality=10 + number % 80)


def measure_many(folder: Path, count: int) -> None:
    """Print how large the page of many pictures is, and how quick."""
    small_pictures(folder / "data", count)
    correct(folder / "data", folder / "results", "--report")
    files = folder / "results/index.html", folder / "results/report/data.js"
    size = sum(path.stat().st_size for path in files)
    print(f"page of {count} pictures, without these: {size / 1e6:.2f} MB")
    with browser.started() as chromium:
        views, scrolls = [], []
        for _ in range(5):
            with browser.opened(chromium, files[0]) as page:
                views.append(first_view(page))
                scrolls.append(page.evaluate(SCROLL))
    print(f"first view: {statistics.median(views):.2f} s, at the most {max(views):.2f} s (five times)")
    middle, late = (statistics.median(some) for some in zip(*scrolls, strict=True))
    print(f"scrolling: {middle:.0f} ms from frame to frame, {late:.0f} ms at the most in 95 of 100")


def first_view(page: "Page") -> float:
    """Seconds from the click until all that is in view is there, pictures included."""
    page.wait_for_function(ALL_THERE)
    return float(page.evaluate("performance.now()")) / 1000


def measure_cost(folder: Path, images: Path, rounds: int) -> None:
    """Print what --report costs beside the correction, in turns with and without it."""
    (folder / "data").mkdir()
    (folder / "one").mkdir()
    for picture in find.in_folder(images, find.LOSSLESS_SUFFIXES, recursive=False).pictures:
        Image.open(picture.path).convert("RGB").save(
            folder / f"data/{picture.path.stem}.jpg", quality=QUALITY
        )
    Image.new("RGB", (SMALL_SIDE, SMALL_SIDE), "gray").save(folder / "one/one.jpg", quality=QUALITY)
    times: dict[str, list[float]] = {"start": [], "without": [], "with": []}
    for number in range(rounds):
        times["start"].append(correct(folder / "one", folder / f"{number}_start"))
        times["without"].append(correct(folder / "data", folder / f"{number}_without"))
        times["with"].append(correct(folder / "data", folder / f"{number}_with", "--report"))
    start, without, reported = (statistics.median(some) for some in times.values())
    print(f"processor time, the start-up of {start:.2f} s apart: {without - start:.2f} s without --report")
    cost = reported - without
    print(f"--report: {cost:.2f} s more, {100 * cost / (without - start):.1f} % (median of {rounds} rounds)")


def main() -> None:
    """Do what the command line asks."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--many", type=int, metavar="N", help="measure the page of N small pictures")
    parser.add_argument("--cost", type=Path, metavar="FOLDER", help="measure what it costs on clean pictures")
    parser.add_argument("--rounds", type=int, default=5, metavar="N", help="of --cost (5)")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        if args.many:
            measure_many(Path(name), args.many)
        elif args.cost:
            measure_cost(Path(name), args.cost, args.rounds)
        else:
            draw_picture(Path(name))


if __name__ == "__main__":
    main()
