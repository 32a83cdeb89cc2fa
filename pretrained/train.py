"""Train the weights that are here, from nothing.

    python pretrained/train.py BSDS500 WORKDIR [SET ...]

BSDS500 holds the folders train, test (both trained on) and val. SET: blind, q10, q20, q30, q40, q60, q80,
q85, q90 or q95; all of them if none is named, and blind comes before the others but q10. WORKDIR/log/blind
receives the net for the qualities 10 to 40 together, WORKDIR/log/qN those for one each (first_qN those of
90 and 95, which have no last round by header). Stopped or killed, the same command goes on where it was.
Copied over pretrained/qN (model_checkpoint.*, losses.csv) a net stays there where this prints a higher PSNR
than before; blind, in pretrained itself, with --ignore-header:

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

from car import cli, stop

BY_PIXELS = "--loss-border 9 --augment --batch-size 6"  # the loss of what the net puts out
BY_HEADER = "--loss-border 16 --by-header --mirror --batch-size 4"  # of what correction keeps of that


class Set(NamedTuple):
    """The weights for files of one quality."""

    quality: int
    shrink: int  # BSDS500 are JPEGs themselves: at half of their size they are clean enough for fine files
    by_pixels: int  # steps
    by_header: int  # steps after these; 0: no such round
    rate: str  # of the steps by pixels
    init: str = ""  # where these start; empty: from nothing


SETS = (
    Set(10, 1, 36000, 10000, "2e-3"),
    Set(20, 1, 16000, 10000, "1e-3", "--init log/blind"),
    Set(30, 1, 16000, 6000, "1e-3", "--init log/blind"),
    Set(40, 1, 16000, 10000, "1e-3", "--init log/blind"),
    Set(60, 2, 12000, 3000, "1e-3", "--init log/blind"),
    Set(80, 2, 12000, 3000, "1e-3", "--init log/blind"),
    Set(85, 2, 12000, 3000, "1e-3", "--init log/blind"),
    Set(90, 2, 12000, 0, "1e-3", "--init log/blind"),
    Set(95, 2, 12000, 0, "1e-3", "--init log/blind"),
)
NAMES = ["blind", *(f"q{one.quality}" for one in SETS)]


def commands(images: Path, work: Path, wanted: Sequence[str]) -> Iterator[list[str]]:
    """The commands, in order. Each is to be run before the next is asked for."""

    def script(name: str, *arguments: object) -> list[str]:
        return [sys.executable, str(ROOT / name), *map(str, arguments)]

    def cut(records: str, quality: int | str, shrink: int, patch: int, stride: int) -> Iterator[list[str]]:
        if (work / f"records/val_{records}").is_dir():
            return
        how = f"--all --quality {quality} --shrink {shrink} --patch-size {patch} --stride {stride}".split()
        also = "--also", images / "test"
        yield script("load_train_data.py", work, images / "train", f"records/train_{records}", *also, *how)
        yield script("load_val_data.py", work, images / "val", f"records/val_{records}", *how)

    def train(log: str, records: str, steps: int, rate: str, options: str) -> list[str]:
        folders = f"log/{log}", f"records/train_{records}", f"records/val_{records}"
        common = f"--residual --steps {steps} --optimizer muon --schedule cosine --learning-rate {rate}"
        options = f"{common} --val-every 1000 --val-patches 2000 {options}"
        return script("train_car.py", work, *folders, *options.split())

    # At a stride of 64 - 2 * 9 each pixel of an image counts once, with --loss-border 9. By header, patches
    # and what counts of them are whole blocks.
    if "blind" in wanted:
        yield from cut("blind", "10 20 30 40", 1, 64, 46)
        yield train("blind", "blind", 36000, "2e-3", BY_PIXELS)
    for quality, shrink, first, last, rate, init in SETS:
        name = f"q{quality}"
        if name not in wanted:
            continue
        yield from cut(name, quality, shrink, 64, 46)
        yield train(f"first_{name}", name, first, rate, f"{init} {BY_PIXELS}")
        log, folders = work / f"log/first_{name}", (images / "train", images / "test")
        yield script("pretrained/fit_gains.py", log, quality, *folders, "--shrink", shrink)
        if last:
            yield from cut(f"blocks_{name}", quality, shrink, 96, 56)
            yield train(name, f"blocks_{name}", last, "1e-3", f"--init log/first_{name} {BY_HEADER}")


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
