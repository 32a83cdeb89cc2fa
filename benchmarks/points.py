"""Search the points of car/fast_conv.py: the pairs +-p for which Toom-Cook rounds least.

    python benchmarks/points.py 8
    python benchmarks/points.py 10

Tries every choice of pairs for that many outputs from the fractions with numerator and
denominator up to 5, between 1/4 and 4, on one random layer like the net's second (64 maps in,
kernel 7), float32 against float64, and prints the best and what the usual points give. Error:
root of the mean square, in deviations of the outputs (the largest one is of the same order but
depends on chance).
"""

import sys
from collections.abc import Sequence
from fractions import Fraction
from itertools import combinations
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import numpy as np

from car import cli, fast_conv
from car.arrays import Doubles

MAPS_IN, MAPS_OUT, BLOCKS = 64, 8, 256
USUAL = {8: "1/4 1/2 3/4 1 3/2 2", 10: "1/4 1/2 3/4 1 4/3 2 4"}
SHOWN = 10


def layer(outputs: int, seed: int) -> tuple[Doubles, Doubles, Doubles]:
    """Inputs as after a ReLU [n, maps in, blocks], a kernel [7, maps in, maps out], and the true outputs."""
    rng = np.random.default_rng(seed)
    inputs = np.maximum(rng.standard_normal((outputs + fast_conv.TAPS - 1, MAPS_IN, BLOCKS)), 0)
    kernel = rng.standard_normal((fast_conv.TAPS, MAPS_IN, MAPS_OUT))
    windows = np.stack([inputs[row : row + fast_conv.TAPS] for row in range(outputs)])
    return inputs, kernel, np.einsum("rjcn,jck->rkn", windows, kernel)


def error(pairs: Sequence[Fraction], inputs: Doubles, kernel: Doubles, truth: Doubles) -> float:
    """Root mean square error of the outputs in float32 by these pairs, in deviations of the outputs."""
    taps = fast_conv.TAPS
    try:
        matrices = fast_conv.toom_cook(len(inputs) - taps + 1, taps, tuple(map(float, pairs)))
    except np.linalg.LinAlgError:
        return np.inf
    a, g, b = (matrix.astype(np.float32) for matrix in matrices)
    values = np.tensordot(b, inputs.astype(np.float32), 1)
    kernels = np.tensordot(g, kernel.astype(np.float32), 1)
    products = np.matmul(kernels.swapaxes(1, 2), values)
    return float(np.sqrt(np.square(np.tensordot(a, products, 1) - truth).mean()) / truth.std())


@cli.script
def main(argv: Sequence[str] | None = None) -> int:
    """Print the table. Returns the exit status."""
    parser = cli.parser(__doc__)
    parser.set_defaults(workdir=".")  # there is no WORKDIR
    parser.add_argument("outputs", type=int, choices=fast_conv.PAIRS, help="computed together")
    outputs = cli.parse(parser, argv).outputs
    fractions = sorted({Fraction(p, q) for p in range(1, 6) for q in range(1, 6) if q <= 4 * p <= 16 * q})
    usual = tuple(map(Fraction, USUAL[outputs].split()))
    chosen = tuple(Fraction(pair).limit_denominator(5) for pair in fast_conv.PAIRS[outputs])
    choices = [*combinations(fractions, len(chosen)), usual]
    first, second = layer(outputs, 1), layer(outputs, 2)
    errors = {}
    with cli.Progress(len(choices), "choices") as progress:
        for pairs in choices:
            errors[pairs] = error(pairs, *first)
            progress.step()
    order = sorted(errors, key=lambda pairs: errors[pairs])
    cli.say(f"of {len(errors)} choices; error on the layer searched with, and on another")
    ranks = {pairs: rank for rank, pairs in enumerate(order, start=1)}
    shown = [("best", pairs) for pairs in order[:SHOWN]] + [("fast_conv", chosen), ("usual", usual)]
    for name, pairs in shown:
        both = f"{errors[pairs]:.1e} {error(pairs, *second):.1e}"
        cli.say(f"{name:9} {both}  rank {ranks[pairs]:5d}  {', '.join(map(str, pairs))}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
