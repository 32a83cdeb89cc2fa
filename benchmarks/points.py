"""Search the points of car_conv.py: the six pairs +-p for which Toom-Cook rounds least.

    python benchmarks/points.py

Tries every choice of six from the fractions with numerator and denominator up to 5, between
1/3 and 3, on one random layer like the net's second (64 maps in, kernel 7), float32 against
float64, and prints the best and what the usual points give. Error: root of the mean square, in
deviations of the outputs (the largest one is of the same order but depends on chance).
"""

import argparse
import sys
from fractions import Fraction
from itertools import combinations
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import numpy as np
from car_shell import Progress, run

from car_conv import OUTPUTS, PAIRS, TAPS, toom_cook

MAPS_IN, MAPS_OUT, BLOCKS = 64, 8, 256
USUAL = tuple(map(Fraction, ("1/4", "1/2", "3/4", "1", "3/2", "2")))
SHOWN = 10


def layer(seed):
    """Inputs as after a ReLU [14, maps in, blocks], a kernel [7, maps in, maps out], and the true outputs."""
    rng = np.random.default_rng(seed)
    inputs = np.maximum(rng.standard_normal((OUTPUTS + TAPS - 1, MAPS_IN, BLOCKS)), 0)
    kernel = rng.standard_normal((TAPS, MAPS_IN, MAPS_OUT))
    windows = np.stack([inputs[row : row + TAPS] for row in range(OUTPUTS)])
    return inputs, kernel, np.einsum("rjcn,jck->rkn", windows, kernel)


def error(pairs, inputs, kernel, truth):
    """Root mean square error of the outputs in float32 by these pairs, in deviations of the outputs."""
    try:
        a, g, b = (m.astype(np.float32) for m in toom_cook(OUTPUTS, TAPS, tuple(map(float, pairs))))
    except np.linalg.LinAlgError:
        return np.inf
    values = np.tensordot(b, inputs.astype(np.float32), 1)
    kernels = np.tensordot(g, kernel.astype(np.float32), 1)
    products = np.matmul(kernels.swapaxes(1, 2), values)
    return np.sqrt(np.square(np.tensordot(a, products, 1) - truth).mean()) / truth.std()


def main():
    """Print the table."""
    argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    ).parse_args()
    fractions = sorted({Fraction(p, q) for p in range(1, 6) for q in range(1, 6) if q <= 3 * p <= 9 * q})
    choices = [*combinations(fractions, 6), USUAL]
    first, second = layer(1), layer(2)
    errors = {}
    with Progress(len(choices), "choices") as progress:
        for pairs in choices:
            errors[pairs] = error(pairs, *first)
            progress.step()
    best = sorted(errors, key=errors.get)[:SHOWN]
    chosen = tuple(Fraction(pair).limit_denominator(5) for pair in PAIRS)
    print(f"of {len(errors)} choices; error on the layer searched with, and on another")
    ranks = {pairs: rank for rank, pairs in enumerate(sorted(errors, key=errors.get), start=1)}
    shown = [("best", pairs) for pairs in best] + [("car_conv", chosen), ("usual", USUAL)]
    for name, pairs in shown:
        both = f"{errors[pairs]:.1e} {error(pairs, *second):.1e}"
        print(f"{name:9} {both}  rank {ranks[pairs]:5d}  {', '.join(map(str, pairs))}")
    return 0


if __name__ == "__main__":
    run(main)
