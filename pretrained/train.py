"""Train the weights that are here, from nothing.

    python pretrained/train.py BSDS500 WORKDIR [SET ...]

BSDS500 holds the folders train, test (both trained on) and val. SET: blind, faithful, q10, q20, q30, q40,
q60, q80, q85, q90 or q95; all of them if none is named, and blind comes before the others but q10.
WORKDIR/log/blind receives the net for the qualities 10 to 40 together, WORKDIR/log/faithful the same without
--residual, WORKDIR/log/qN those for one each, of luma and of chroma. Stopped or killed, the same command goes
on where it was. Copied over pretrained/qN (model_checkpoint.*, chroma.npz, losses.csv) a net stays there
where this prints a higher PSNR than before; blind, in pretrained itself, and faithful with --ignore-header:

    python benchmarks/quality.py BSDS500/val --quality N
"""

import argparse
import shlex
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from car import cli, stop, weights

BY_PIXELS = "--loss-border 9 --augment --batch-size 6"  # the loss of what the net puts out
BY_HEADER = "--loss-border 16 --by-header --mirror --batch-size 4"  # of what correction keeps of that


class Set(NamedTuple):
    """The weights for files of one quality."""

    quality: int
    shrink: int  # BSDS500 are JPEGs themselves: at half of their size they are clean enough for fine files
    by_pixels: int  # steps
    by_header: int  # steps after these; 0: no such round
    with_drawn: int  # steps after these by header, a tenth of the patches from drawn pictures
    rate: str  # of the steps by pixels
    init: str = ""  # where these start; empty: from nothing


SETS = (
    Set(10, 1, 36000, 10000, 4000, "2e-3"),
    Set(20, 1, 16000, 10000, 4000, "1e-3", "--init log/blind"),
    Set(30, 1, 16000, 6000, 4000, "1e-3", "--init log/blind"),
    Set(40, 1, 16000, 10000, 4000, "1e-3", "--init log/blind"),
    Set(60, 2, 12000, 3000, 3000, "1e-3", "--init log/blind"),
    Set(80, 2, 12000, 3000, 3000, "1e-3", "--init log/blind"),
    Set(85, 2, 12000, 3000, 3000, "1e-3", "--init log/blind"),
    Set(90, 2, 12000, 0, 3000, "1e-3", "--init log/blind"),
    Set(95, 2, 12000, 0, 3000, "1e-3", "--init log/blind"),
)
# Drawn pictures by shrink, to train and to validate on: as many as give a tenth of the patches, four each.
DRAWN, DRAWN_SIDE = {1: (390, 97), 2: (67, 20)}, 152
PART_WAY = 0.4  # of the round with drawn pictures
NAMES = ["blind", "faithful", *(f"q{one.quality}" for one in SETS)]


def commands(images: Path, work: Path, wanted: Sequence[str]) -> Iterator[list[str]]:
    """The commands, in order. Each is to be run before the next is asked for."""

    def script(name: str, *arguments: object) -> list[str]:
        return [sys.executable, str(ROOT / name), *map(str, arguments)]

    def cut(
        records: str, quality: int | str, shrink: int, patch: int, stride: int, drawn: bool = False
    ) -> Iterator[list[str]]:
        if (work / f"records/val_{records}").is_dir():
            return
        how = f"--all --quality {quality} --shrink {shrink} --patch-size {patch} --stride {stride}".split()
        further: list[list[Path]] = [[images / "test"], []]
        if drawn:
            for seed, (folders, count) in enumerate(zip(further, DRAWN[shrink], strict=True)):
                folders.append(work / f"drawn_{shrink}_{seed}")
                if not folders[-1].is_dir():
                    size = f"--count {count} --size {DRAWN_SIDE} --enlarge {shrink} --seed {seed}".split()
                    yield script("samples/make_drawn_pictures.py", folders[-1], *size)
        for which, folders in zip(("train", "val"), further, strict=True):
            also = ["--also", *folders] if folders else []
            yield script(
                f"load_{which}_data.py", work, images / which, f"records/{which}_{records}", *also, *how
            )

    def train(
        log: str, records: str, steps: int, rate: str, options: str, net: str = "--residual"
    ) -> list[str]:
        folders = f"log/{log}", f"records/train_{records}", f"records/val_{records}"
        common = f"{net} --steps {steps} --optimizer muon --schedule cosine --learning-rate {rate}"
        common += " --precision bfloat16"
        options = f"{common} --val-every 1000 --val-patches 2000 {options}"
        return script("train_car.py", work, *folders, *options.split())

    # At a stride of 64 - 2 * 9 each pixel of an image counts once, with --loss-border 9. By header, patches
    # and what counts of them are whole blocks.
    if "blind" in wanted:
        yield from cut("blind", "10 20 30 40", 1, 64, 46)
        yield train("blind", "blind", 36000, "2e-3", BY_PIXELS)
    if "faithful" in wanted:  # as blind, with the last ReLU and without the input added
        yield from cut("blind", "10 20 30 40", 1, 64, 46)
        yield train("faithful", "blind", 36000, "2e-3", BY_PIXELS, net="")
    for quality, shrink, first, second, last, rate, init in SETS:
        name = f"q{quality}"
        if name not in wanted:
            continue
        folders = images / "train", images / "test"
        yield from cut(name, quality, shrink, 64, 46)
        yield train(log := f"first_{name}", name, first, rate, f"{init} {BY_PIXELS}")
        yield script("pretrained/fit_gains.py", work / "log" / log, quality, *folders, "--shrink", shrink)
        if second:
            yield from cut(f"blocks_{name}", quality, shrink, 96, 56)
            before, log = log, f"second_{name}"
            yield train(log, f"blocks_{name}", second, "1e-3", f"--init log/{before} {BY_HEADER}")
        if (work / "log" / name / weights.CHROMA_FILE).exists():
            continue
        yield from cut(f"drawn_{name}", quality, shrink, 96, 56, drawn=True)
        yield train(f"drawn_{name}", f"drawn_{name}", last, "5e-4", f"--init log/{log} {BY_HEADER}")
        logs = work / "log" / f"drawn_{name}", work / "log" / log, work / "log" / name
        yield script("pretrained/part_way.py", *logs, PART_WAY)
        yield script("pretrained/fit_gains.py", logs[2], quality, *folders, "--shrink", shrink)
        images_for = *folders, work / f"drawn_{shrink}_0", "--val", images / "val", "--shrink", shrink
        yield script("pretrained/train_chroma.py", logs[2], quality, *images_for)


def arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    """Parse the command line."""
    parser = cli.parser(__doc__)
    parser.add_argument("images", type=Path, metavar="BSDS500")
    parser.add_argument("workdir", type=Path, metavar="WORKDIR", help="folder to write; it need not exist")
    parser.add_argument("sets", nargs="*", metavar="SET", help="(all)")
    parser.add_argument("--dry-run", action="store_true", help="print the commands in place of running them")
    args = parser.parse_args(argv)
    if not args.images.is_dir():
        parser.error(f"there is no folder {args.images}")
    for name in args.sets:
        if name not in NAMES:
            parser.error(f"argument SET: {name} is none of {', '.join(NAMES)}")
    return args


@cli.script
def main(argv: Sequence[str] | None = None) -> int:
    """Run the commands. Returns the exit status of the first one that fails, or 0."""
    args = arguments(argv)
    said = ["--quiet"] * args.quiet + ["--verbose"] * args.verbose  # how much they say too
    if not args.dry_run:
        args.workdir.mkdir(parents=True, exist_ok=True)
    stop.hold("command")  # that runs: a terminal's Ctrl-C reaches it too, and it ends in its own time
    for command in commands(args.images.resolve(), args.workdir, args.sets or NAMES):
        if args.dry_run:
            print(shlex.join([*command, *said]))
            continue
        status = subprocess.run([*command, *said]).returncode
        if status or stop.asked():
            return status or stop.status()
    return 0


if __name__ == "__main__":
    sys.exit(main())
