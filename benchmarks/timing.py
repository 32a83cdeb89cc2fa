"""What the benchmarks share: pictures to work on, and functions timed in turns."""

import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

import numpy as np
from PIL import Image

from car.arrays import Pixels

Figures = dict[str, float]  # what goes into the JSON


def texture(side: int, seed: int = 0) -> Pixels:
    """A photograph-like luma plane of side x side, uint8: smooth shapes, edges and grain."""
    rng = np.random.default_rng(seed)
    rough = Image.fromarray(rng.integers(0, 256, (max(side // 16, 2),) * 2, dtype=np.uint8))
    smooth = np.asarray(rough.resize((side, side), Image.Resampling.BICUBIC)).astype(np.int16)
    return np.clip(smooth + rng.integers(-12, 13, (side, side)), 0, 255).astype(np.uint8)


def seconds(run: Callable[[], object]) -> float:
    """Wall-clock seconds of one call."""
    start = time.perf_counter()
    run()
    return time.perf_counter() - start


def in_turns(runs: Mapping[str, Callable[[], object]], rounds: int) -> dict[str, list[float]]:
    """Time {name: function} in turns after one warm-up each. Returns {name: seconds of each round}."""
    for run in runs.values():
        run()
    times: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(rounds):
        for name, run in runs.items():
            times[name].append(seconds(run))
    return times
