"""Weights between those of two log folders: a part of the way that a last round of training went.

    python pretrained/part_way.py AFTER BEFORE RESULT PART

RESULT gets BEFORE + PART * (AFTER - BEFORE), PART being 0..1. AFTER began with BEFORE's weights (--init). A
round with drawn pictures costs photographs a little, and what it costs falls with the square of PART; what
drawn pictures win by it falls more slowly (Wortsman et al.: Robust fine-tuning of zero-shot models,
CVPR 2022, arXiv 2109.01903).
"""

import argparse
import dataclasses
import sys
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from car import cli, weights


def arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    """Parse the command line."""
    parser = cli.parser(__doc__)
    parser.set_defaults(workdir=".")  # there is no WORKDIR: the logs are what the shell says
    parser.add_argument("after", metavar="AFTER")
    parser.add_argument("before", metavar="BEFORE")
    parser.add_argument("result", metavar="RESULT")
    parser.add_argument("part", type=float, metavar="PART")
    args = cli.parse(parser, argv, inputs=["after", "before"], outputs=["result"])
    if not 0 <= args.part <= 1:
        parser.error("argument PART: 0..1")
    return args


def part_way(before: weights.Parameters, after: weights.Parameters, part: float) -> weights.Parameters:
    """The parameters that lie this part of the way from one set to another."""
    return [
        (kernel + (kernel_after - kernel) * part, bias + (bias_after - bias) * part)
        for (kernel, bias), (kernel_after, bias_after) in zip(before, after, strict=True)
    ]


@cli.script
def main(argv: Sequence[str] | None = None) -> int:
    """Load both, save what lies between them. Returns the exit status."""
    args = arguments(argv)
    before, after = weights.load(args.before), weights.load(args.after)
    parameters = part_way(before.parameters, after.parameters, args.part)
    args.result.mkdir(parents=True, exist_ok=True)
    weights.save(args.result, dataclasses.replace(after, parameters=parameters))
    return 0


if __name__ == "__main__":
    sys.exit(main())
