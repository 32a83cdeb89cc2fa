"""Time the suite against other engines, side by side: prints a table, writes JSON, draws a picture.

    python -m pip install -r benchmarks/requirements.txt      (a large download)
    python benchmarks/speed.py --out benchmarks/speed

All engines run the same weights on the same processors, in turns, round after round; the ratio of
a row is the median over rounds of (suite / fastest other engine in that round), because the speed
of a shared machine drifts. Sizes are squares of --sizes pixels; --parts picks sections.
"""

import argparse
import functools
import json
import platform
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypedDict

from timing import ROOT, Figures, in_turns, texture  # first: it lets the suite be found

# isort: split
import engines
import keras
import numpy as np
import scripts
import tensorflow as tf

import model_car
from car import cli, images, pairs, training_step, weights
from car.arrays import Floats, Pixels
from car.weights import Weights
from model_car import CarNet, Layers

Engines = Callable[[Weights, Pixels], dict[str, Callable[[], object]]]


class NetRow(TypedDict):
    """The engines side by side on squares of one size."""

    side: int
    speeds: dict[str, float]  # by engine, megapixels a second
    ratio: float  # of the suite to the fastest other one


class TrainingRow(NetRow):
    """The engines side by side on one kind of batch."""

    batch: int
    border: int
    bfloat16: dict[str, float]  # speeds of the suite and of PyTorch's autocast
    bfloat16_ratio: float


PARTS = (
    *("difference", "net", "batch", "bfloat16", "chroma", "training", "cost"),
    *("loader", "folder", "sizes", "shards", "cores", "memory", "start"),  # whole processes: scripts.py
)


def compared(times: dict[str, list[float]], megapixels: float) -> tuple[dict[str, float], float]:
    """Megapixels a second of each, and the suite's speed to the fastest other's, round by round: medians."""
    fastest = [min(spent) for spent in zip(*(t for n, t in times.items() if n[:5] != "suite"), strict=True)]
    ratios = [other / ours for other, ours in zip(fastest, times["suite"], strict=True)]
    speeds = {name: megapixels / float(np.median(spent)) for name, spent in times.items()}
    return speeds, float(np.median(ratios))


# ---- the sections --------------------------------------------------------------------------


def time_net(
    sizes: Sequence[int], rounds: int, engines_for: Engines = engines.engines_for, what: str = "net"
) -> list[NetRow]:
    """Megapixels a second of every engine and size; ratio of the suite to the fastest other one."""
    rows: list[NetRow] = []
    trained = weights.load(weights.shipped())
    for side in sizes:
        runs = engines_for(trained, texture(side))
        times = in_turns(runs, rounds if side <= 2048 else max(3, rounds // 2))
        rows.append(net_row(f"{what}, {side}x{side}", times, side, 1))
    return rows


def net_row(what: str, times: dict[str, list[float]], side: int, count: int) -> NetRow:
    """The row of so many squares together, which is said."""
    speeds, ratio = compared(times, count * side * side / 1e6)
    shown = ", ".join(f"{name} {speed:.2f}" for name, speed in speeds.items())
    cli.say(f"{what}, megapixels a second: {shown}; ratio {ratio:.2f}")
    return {"side": side, "speeds": speeds, "ratio": ratio}


def time_batch(rounds: int, count: int = 100, side: int = 100) -> NetRow:
    """As time_net, of a batch of patches, as the original suite cut its pictures."""
    trained = weights.load(weights.shipped())
    whole = side + 2 * weights.RADIUS
    patches = np.stack([texture(whole, number) for number in range(count)])
    times = in_turns(engines.engines_for_batch(trained, patches), rounds)
    return net_row(f"{count} patches of {side}x{side}", times, side, count)


def measure_difference(folder: Path) -> Figures:
    """The fast form against the direct one over a folder of clean images at qualities 10 to 40."""
    correctors = [model_car.load_corrector(conv=conv) for conv in ("fast", "direct")]
    largest, equal, pixels = 0.0, 0, 0
    for source in pairs.find_clean(folder).sources:
        clean = images.read_luma(source.clean)
        for quality in (10, 20, 30, 40):
            picture = images.decode_jpeg(images.jpeg_bytes(clean, quality))
            samples = picture.planes[0].samples
            chosen = correctors[0].through_nets(picture)[0].choice
            ours, plain = (corrector.through_net(samples, chosen) for corrector in correctors)
            largest = max(largest, float(np.abs(ours - plain).max()))
            equal += int((np.rint(ours.clip(0, 255)) == np.rint(plain.clip(0, 255))).sum())
            pixels += clean.size
    share = f"{equal / pixels:.4%} of pixels equal when rounded"
    cli.say(f"fast against direct: {largest:.4f} grey level at most, {share}")
    return {"largest": largest, "equal": equal / pixels}


def time_chroma(rounds: int) -> Figures:
    """The speed of colour JPGs of 2 megapixels to that with Cb and Cr each alone through the net of luma."""
    beside, alone = (model_car.load_corrector(ignore_history=True) for _ in range(2))
    alone.nets = {factor: net._replace(chroma=None) for factor, net in alone.nets.items()}
    plane = texture(1632)[:1224]
    colours = np.stack([plane, plane[::-1], plane[:, ::-1]], axis=-1)
    found: Figures = {}
    for sampling in ("4:2:0", "4:4:4"):
        data = images.jpeg_bytes(colours, 40, sampling)
        ways = {"beside": beside, "alone": alone}
        times = in_turns({way: functools.partial(one.correct, data) for way, one in ways.items()}, rounds)
        found[sampling] = float(np.median(np.divide(times["alone"], times["beside"])))
        cli.say(f"chroma beside luma, {sampling}: {found[sampling]:.2f} times the speed of each plane alone")
    return found


def suite_step(layers: Layers, jpg: Floats, bmp: Floats, border: int) -> Callable[[], float]:
    """The suite's training step on a batch, float32 [N, side, side, 1] each."""
    net, optimizer = CarNet(residual=True), keras.optimizers.Adam(1e-4)
    variables = net.trainable_variables
    optimizer.build(variables)

    def errors(x: tf.Tensor, y: tf.Tensor, border: int) -> tuple[tf.Tensor, tf.Tensor]:
        error = model_car.squared_error(net, x, y, border, layers)
        return error, model_car.untouched_error(x, y, border)

    loss_and_gradients = training_step.make_loss_and_gradients(
        variables, errors, len(jpg), border, whole=layers is model_car.direct_layers
    )

    @tf.function
    def update(x: tf.Tensor, y: tf.Tensor) -> tf.Tensor:
        loss, _, *gradients = loss_and_gradients(x, y)
        optimizer.apply_gradients(zip(gradients, variables, strict=True))
        return loss

    return lambda: float(update(tf.constant(jpg), tf.constant(bmp)))


def time_training(rounds: int, batch: int, side: int, border: int) -> TrainingRow:
    """Megapixels a second of a training step, loss, gradient and Adam, without a border in the loss."""
    shape = (batch, side, side, 1)
    jpg, bmp = (np.random.default_rng(seed).integers(0, 256, shape).astype(np.float32) for seed in (0, 1))
    steps = {
        "suite": suite_step(model_car.fast_layers, jpg, bmp, border),
        "suite --conv direct": suite_step(model_car.direct_layers, jpg, bmp, border),
        "PyTorch": engines.torch_step(False, jpg, bmp, border),
        "PyTorch channels-last": engines.torch_step(True, jpg, bmp, border),
    }
    low = {
        "suite": suite_step(model_car.bfloat16_layers, jpg, bmp, border),
        "PyTorch autocast": engines.torch_step(True, jpg, bmp, border, autocast=True),
    }
    times, low_times = in_turns(steps, rounds), in_turns(low, rounds)
    speeds, ratio = compared(times, jpg.size / 1e6)
    low_speeds, low_ratio = compared(low_times, jpg.size / 1e6)
    what = f"{batch} of {side}x{side}, loss without {border} pixels"
    cli.say(f"training step, {what}: " + ", ".join(f"{n} {s:.3f}" for n, s in speeds.items()))
    cli.say(f"  ratio to the faster PyTorch {ratio:.2f}")
    shown = ", ".join(f"{name} {speed:.3f}" for name, speed in low_speeds.items())
    cli.say(f"  in bfloat16: {shown}; ratio {low_ratio:.2f}")
    return {
        "batch": batch,
        "side": side,
        "border": border,
        "speeds": speeds,
        "ratio": ratio,
        "bfloat16": low_speeds,
        "bfloat16_ratio": low_ratio,
    }


def draw(path: Path, rows: Sequence[NetRow]) -> None:
    """Throughput by image size, all engines."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 4.5), dpi=110, layout="tight")
    axes = figure.subplots()
    for name in rows[0]["speeds"]:
        ours = name == "suite"
        axes.plot(
            [row["side"] ** 2 / 1e6 for row in rows],
            [row["speeds"][name] for row in rows],
            marker="o",
            linewidth=3 if ours else 1.5,
            label="this suite" if ours else name.replace("suite", "this suite"),
        )
    axes.set(
        xscale="log",
        xlabel="megapixels of the image",
        ylabel="megapixels a second",
        ylim=(0, 1.3 * max(row["speeds"]["suite"] for row in rows)),
    )
    axes.grid(alpha=0.3)
    axes.legend(fontsize=8, ncol=2)
    figure.savefig(path)


def arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    """Parse the command line."""
    parser = cli.parser(__doc__)
    parser.set_defaults(workdir=".")  # there is no WORKDIR: the folders are what the shell says
    parser.add_argument(
        "--out",
        type=Path,
        default=Path("speed"),
        metavar="STEM",
        help="writes STEM.json and STEM.png (speed)",
    )
    parser.add_argument(
        "--sizes",
        nargs="+",
        type=cli.positive,
        default=[256, 512, 1024, 2048, 4096],
        metavar="S",
        help="(256 512 1024 2048 4096)",
    )
    parser.add_argument(
        "--images", default=ROOT / "samples", metavar="FOLDER", help="for `difference` (samples)"
    )
    parser.add_argument("--rounds", type=cli.positive, default=7, metavar="N", help="(7)")
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=PARTS, help="(all)")
    return cli.parse(parser, argv, inputs=["images"])


@cli.script
def main(argv: Sequence[str] | None = None) -> int:
    """Run the sections. Returns the exit status."""
    args = arguments(argv)
    file = args.out.with_suffix(".json")
    found: dict[str, Any] = json.loads(file.read_text()) if file.exists() else {}
    found["machine"] = {
        "threads": engines.THREADS,
        "processor": platform.processor() or platform.machine(),
        "tensorflow": tf.__version__,
    }
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        sections: dict[str, Callable[[], object]] = {
            "difference": lambda: measure_difference(args.images),
            "net": lambda: time_net(args.sizes, args.rounds),
            "batch": lambda: time_batch(args.rounds),
            "bfloat16": lambda: time_net(args.sizes, args.rounds, engines.in_bfloat16, "net in bfloat16"),
            "chroma": lambda: time_chroma(args.rounds),
            "training": lambda: [
                time_training(args.rounds, 1000, 32, 0),  # the original's; and how pretrained/ was trained
                time_training(args.rounds, 4, 96, weights.RADIUS),
            ],
            "cost": scripts.cost_of_a_pixel,
            "loader": lambda: scripts.time_loader(folder) | scripts.time_records(folder),
            "folder": lambda: scripts.time_folder(folder),
            "sizes": lambda: scripts.time_sizes(folder),
            "shards": lambda: scripts.time_shards(folder),
            "cores": lambda: scripts.model_cores(folder),
            "memory": lambda: scripts.measure_memory(folder),
            "start": lambda: scripts.time_start(folder),
        }
        for part in args.parts:
            found[part] = sections[part]()
            file.write_text(json.dumps(found, indent=1))
    if "net" in found:
        draw(args.out.with_suffix(".png"), found["net"])
    return 0


if __name__ == "__main__":
    sys.exit(main())
