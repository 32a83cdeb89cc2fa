"""How many blocks of work a second the process that leads a Ray cluster hands out, if no worker has to work.

    python benchmarks/ray_blocks.py

A block is as large as one of 64 names of pictures; a cluster of this machine alone does the work.
"""

import argparse
import sys
import time
from collections.abc import Sequence

from timing import ROOT as ROOT  # first: it lets the suite be found

# isort: split
from car import cli
from cluster import on_ray

FEW, MANY = 20, 4000  # the time of the few is that of the start
BYTES = 20_000


class Idle:
    """A worker that has nothing to do."""

    def __call__(self, row: on_ray.Row) -> on_ray.Row:
        """Return the row."""
        return row


def seconds_of(blocks: int) -> float:
    """How long so many blocks take, with the start of the workers."""
    began = time.perf_counter()
    rows = [{"block": b"x" * BYTES}] * blocks
    assert sum(1 for _ in on_ray.through(rows, Idle, [])) == blocks
    return time.perf_counter() - began


def arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    """Parse the command line: there is nothing to be told."""
    parser = cli.parser(__doc__)
    parser.set_defaults(workdir=".")
    return cli.parse(parser, argv)


@cli.script
def main(argv: Sequence[str] | None = None) -> int:
    """Measure and print it."""
    arguments(argv)
    with on_ray.joined(None):
        few, many = seconds_of(FEW), seconds_of(MANY)
    cli.say(f"{(MANY - FEW) / (many - few):.0f} blocks a second, after a start of {few:.1f} s")
    return 0


if __name__ == "__main__":
    sys.exit(main())
