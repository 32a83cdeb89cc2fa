"""What a million photographs and a billion web pictures take: measured, counted up, and simulated.

    python benchmarks/scale.py                                  (ten minutes; writes benchmarks/scale.json)
    python benchmarks/scale.py --parts needs photographs web    (two, by scale.json; draws docs/scale.svg)

docs/scale.md says what follows from it. All is of one core with a process of its own, as a part of the work
(`--shard`) has it.
"""

import argparse
import json
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from timing import ROOT, Figures  # first: it lets the suite be found

# isort: split
import numpy as np
import pieces
from simulation import Fleet, Outcome, Store, Way, Work, runs, shards, simulate

from car import cli

MEASURED, DRAWN = ROOT / "benchmarks/scale.json", ROOT / "docs/scale.svg"
# Round figures that nobody measured here.
DOLLARS_A_CORE_HOUR = 0.05
DISK = 2e9  # bytes a second that a file server gives all nodes together
S3_REQUESTS = 3500.0  # a second that S3 writes for a prefix; it reads 5500
LATENCY = 0.05  # seconds to the first byte of a store


# ---- counted up ----------------------------------------------------------------------------


def needs(found: Mapping[str, Any]) -> dict[str, Figures]:
    """Core hours, dollars and terabytes of a million photographs and a billion web pictures."""
    needed: dict[str, Figures] = {}
    for name, count in (("photograph", 10**6), ("web", 10**9)):
        row = found["pictures"][name]
        hours = count * row["seconds"] / 3600
        needed[name] = {"core hours": hours, "dollars": hours * DOLLARS_A_CORE_HOUR}
        needed[name]["TB read"] = count * row["read"] / 1e12
        for form, each in found["formats"].items():
            needed[name][f"TB as {form}"] = count * row["pixels"] * each["bytes a pixel"] / 1e12
        cli.say(f"{count:,} of {name}: " + ", ".join(f"{k} {v:,.1f}" for k, v in needed[name].items()))
    return needed


# ---- simulated -----------------------------------------------------------------------------


def work_of(found: Mapping[str, Any], name: str, form: str, count: int, spread: float) -> Work:
    """Pictures whose sizes are spread log-normally about the measured one's, which is their mean.

    spread: standard deviation of the logarithm. A hundredth of a picture's time is the same for all.
    """
    row, written = found["pictures"][name], found["formats"][form]["bytes a pixel"]
    sizes = np.random.default_rng(1).lognormal(-(spread**2) / 2, spread, count).clip(0.02, 16)
    seconds = row["seconds"] * (0.01 + 0.99 * sizes)
    return Work(seconds, row["read"] * sizes, row["pixels"] * written * sizes)


def cores(count: int) -> np.ndarray[Any, np.dtype[np.float64]]:
    """Speeds of cores, a tenth apart, as they share memory with others; one in 50 has half the speed."""
    rng = np.random.default_rng(0)
    speeds = rng.normal(1, 0.1, count).clip(0.6, 1.4)
    return np.where(rng.random(count) < 0.02, speeds / 2, speeds)


def row_of(name: str, outcome: Outcome) -> Figures:
    """What came of a way, which is said."""
    most, hours = float(np.quantile(outcome.ends, 0.99)) / 3600, outcome.seconds / 3600
    taken = float(outcome.ends.sum()) / 3600
    cli.say(
        f"{name}: {hours:.2f} hours, 99 % of the cores done after {most:.2f}; {taken:,.0f} core hours, "
        f"{outcome.share:.0%} of them into results; {outcome.lost} processes lost"
    )
    row = {"hours": hours, "99 % after": most, "core hours": taken, "share": outcome.share}
    return row | {"lost": float(outcome.lost)}


def simulate_photographs(found: Mapping[str, Any], drawn: Path) -> dict[str, Figures]:
    """A million photographs on 1,024 cores, shared out in several ways; draws when the cores are done."""
    count, number, start = 10**6, 1024, found["pictures"]["photograph"]["start"]
    jpg, bmp = (work_of(found, "photograph", form, count, 0.5) for form in ("jpg", "bmp"))
    calm = Fleet(np.ones(number), 32, start)
    real = Fleet(cores(number), 32, start, hours_to_loss=100, replaced=300)
    disk = Store(bandwidth=DISK, latency=LATENCY)
    parts, eight = Way(shards(count, number), True), Way(shards(count, 8 * number), True)
    blocks = Way(runs(count, 4), False)
    rows, ends = {}, {}
    for name, work, way, fleet, store in (
        ("1,024 parts, equal cores, no loss, any disk", jpg, parts, calm, Store()),
        ("1,024 parts", jpg, parts, real, disk),
        ("8,192 parts", jpg, eight, real, disk),
        ("blocks of 4", jpg, blocks, real, disk),
        ("blocks of 4, as BMP", bmp, blocks, real, disk),
    ):
        outcome = simulate(work, way, fleet, store)
        rows[name], ends[name] = row_of(name, outcome), outcome.ends
    draw(drawn, {name: each for name, each in ends.items() if "BMP" not in name})
    return rows


def simulate_web(found: Mapping[str, Any]) -> dict[str, Figures]:
    """A billion web pictures on 10,240 cores: a thousandth of them on a hundredth of the cores and the store.

    So each core has of the store what it would have; what happens once, as starts and ends, is ten times as
    large a part of the time as it would be.
    """
    count, number, start = 10**6, 102, found["pictures"]["web"]["start"]
    work = work_of(found, "web", "jpg", count, 1.0)
    fleet = Fleet(cores(number), 32, start, hours_to_loss=100, replaced=300)
    rows = {}
    for prefixes in (1, 4, 16):
        store = Store(requests=S3_REQUESTS * prefixes / 100, bandwidth=1e9, latency=LATENCY)
        for name, blocks in (("one part a core", shards(count, number)), ("blocks of 64", runs(count, 64))):
            way = Way(blocks, name.startswith("one"))
            title = f"{name}, {prefixes} prefixes"
            rows[title] = row_of(title, simulate(work, way, fleet, store))
    return rows


def draw(path: Path, ends: Mapping[str, np.ndarray[Any, np.dtype[np.float64]]]) -> None:
    """How many cores are still at work, by the hours, of each way."""
    from matplotlib import rcParams
    from matplotlib.figure import Figure

    rcParams.update({"svg.hashsalt": "the same file each time", "svg.fonttype": "none"})
    figure = Figure(figsize=(8, 3.6), layout="tight")
    axes = figure.subplots()
    for name, seconds in ends.items():
        left = np.linspace(1, 0, 101)
        hours = np.quantile(seconds / 3600, 1 - left)
        axes.plot([0, *hours], [len(seconds), *(left * len(seconds))], label=name)
    axes.set(xlabel="hours", ylabel="cores at work", ylim=(0, None))
    axes.set_xlim(left=0)
    axes.grid(alpha=0.3)
    axes.legend(fontsize=8, loc="upper right")
    figure.savefig(path, metadata={"Date": None})


# ---- the command ---------------------------------------------------------------------------

PARTS = ("books", "calls", "pictures", "formats", "check", "needs", "photographs", "web")


def sections(folder: Path, found: Mapping[str, Any]) -> dict[str, Callable[[], object]]:
    """What --parts picks from. found: what earlier ones measured."""
    return {
        "books": lambda: pieces.time_books(folder),
        "calls": lambda: pieces.count_calls(folder),
        "pictures": lambda: pieces.time_pictures(folder),
        "formats": pieces.time_formats,
        "check": lambda: pieces.check_shards(folder),
        "needs": lambda: needs(found),
        "photographs": lambda: simulate_photographs(found, DRAWN),
        "web": lambda: simulate_web(found),
    }


def arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    """Parse the command line."""
    parser = cli.parser(__doc__)
    parser.set_defaults(workdir=".")  # there is no WORKDIR
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=PARTS, help="(all)")
    return cli.parse(parser, argv)


@cli.script
def main(argv: Sequence[str] | None = None) -> int:
    """Run the sections. Returns the exit status."""
    args = arguments(argv)
    found: dict[str, Any] = json.loads(MEASURED.read_text()) if MEASURED.exists() else {}
    for part in args.parts:
        with tempfile.TemporaryDirectory() as scratch:
            found[part] = sections(Path(scratch), found)[part]()
        MEASURED.write_text(json.dumps(found, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
