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
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypedDict

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

import engines
import keras
import numpy as np
import tensorflow as tf
from PIL import Image

import car_ds_loader
import model_car
from car import choice, cli, images, pairs, records, training_step, weights
from car.arrays import Floats, Pixels
from model_car import CarNet, Layers

Figures = dict[str, float]  # what goes into the JSON


class NetRow(TypedDict):
    """The engines side by side on squares of one size."""

    side: int
    speeds: dict[str, float]  # by engine, megapixels a second
    ratio: float  # of the suite to the fastest other one


class TrainingRow(NetRow):
    """The engines side by side on one kind of batch."""

    batch: int
    border: int


SCRIPTS = ("load_train_data.py", "load_val_data.py", "read_tfrecord.py", "train_car.py", "run_car_images.py")
PARTS = ("difference", "net", "training", "loader", "folder", "memory", "start")


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


def compared(times: dict[str, list[float]], megapixels: float) -> tuple[dict[str, float], float]:
    """Megapixels a second of each, and the suite's speed to the fastest other's, round by round: medians."""
    fastest = [min(spent) for spent in zip(*(t for n, t in times.items() if n[:5] != "suite"), strict=True)]
    ratios = [other / ours for other, ours in zip(fastest, times["suite"], strict=True)]
    speeds = {name: megapixels / float(np.median(spent)) for name, spent in times.items()}
    return speeds, float(np.median(ratios))


# ---- the sections --------------------------------------------------------------------------


def time_net(sizes: Sequence[int], rounds: int) -> list[NetRow]:
    """Megapixels a second of every engine and size; ratio of the suite to the fastest other one."""
    rows: list[NetRow] = []
    trained = weights.load(weights.shipped())
    for side in sizes:
        runs = engines.engines_for(trained, texture(side))
        times = in_turns(runs, rounds if side <= 2048 else max(3, rounds // 2))
        speeds, ratio = compared(times, side * side / 1e6)
        rows.append({"side": side, "speeds": speeds, "ratio": ratio})
        shown = ", ".join(f"{name} {speed:.2f}" for name, speed in speeds.items())
        cli.say(f"net, {side}x{side}, megapixels a second: {shown}; ratio {ratio:.2f}")
    return rows


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
    times = in_turns(steps, rounds)
    speeds, ratio = compared(times, jpg.size / 1e6)
    what = f"{batch} of {side}x{side}, loss without {border} pixels"
    cli.say(f"training step, {what}: " + ", ".join(f"{n} {s:.3f}" for n, s in speeds.items()))
    cli.say(f"  ratio to the faster PyTorch {ratio:.2f}")
    return {"batch": batch, "side": side, "border": border, "speeds": speeds, "ratio": ratio}


def script(name: str, *args: object) -> float:
    """Run a script of the suite; return its wall-clock seconds."""
    return seconds(
        lambda: subprocess.run(
            [sys.executable, ROOT / name, *map(str, args)], check=True, capture_output=True
        )
    )


def time_loader(folder: Path) -> Figures:
    """Patches a second of load_train_data.py, start-up apart, and of a plain one-record-at-a-time writer."""
    (folder / "few").mkdir()
    (folder / "many").mkdir()
    for number in range(200):
        picture = Image.fromarray(texture(512, number))
        for place in ("many", "few") if number < 2 else ("many",):
            picture.save(folder / place / f"{number}.bmp")
            picture.save(folder / place / f"{number}.jpg", quality=20)
    start_up = script("load_train_data.py", folder, "few", "t_few", "--all")
    ours = 198 * 256 / (script("load_train_data.py", folder, "many", "t_many", "--all") - start_up)

    def plain() -> None:
        with tf.io.TFRecordWriter(str(folder / "plain.tfrecords")) as writer:
            for number in range(20):
                jpg, bmp = (
                    np.asarray(Image.open(folder / f"many/{number}.{kind}")) for kind in ("jpg", "bmp")
                )
                for top in range(0, 512, 32):
                    for left in range(0, 512, 32):
                        tile = slice(top, top + 32), slice(left, left + 32)
                        values = (plane[tile].astype("<i2").tobytes() for plane in (jpg, bmp))
                        feature = {
                            name: tf.train.Feature(bytes_list=tf.train.BytesList(value=[value]))
                            for name, value in zip((records.JPG, records.BMP), values, strict=True)
                        }
                        writer.write(
                            tf.train.Example(features=tf.train.Features(feature=feature)).SerializeToString()
                        )

    naive = 20 * 256 / seconds(plain)
    ratio = f"ratio {ours / naive:.1f}"
    cli.say(f"load_train_data.py: {ours:.0f} patches a second; a plain writer {naive:.0f}; {ratio}")
    return {"patches_a_second": ours, "plain": naive}


def time_records(folder: Path) -> Figures:
    """Patches a second of the tf.data pipeline alone, batch 1000 of 32x32."""
    found = records.check_records(folder / "t_many")
    batches = iter(car_ds_loader.training_batches(found, 1000, 0, 0, car_ds_loader.ALL_TURNS))
    next(batches)
    rate = 100 * 1000 / seconds(lambda: [next(batches) for _ in range(100)])
    cli.say(f"tf.data loader alone: {rate:.0f} patches a second")
    return {"pipeline_patches_a_second": rate}


def time_folder(folder: Path) -> Figures:
    """run_car_images.py on 100 photographs of 2 megapixels, start-up apart, against the nets alone.

    Counted are the photographs' pixels; for each two the nets see three, as chroma has half the sides.
    """
    data = folder / "photographs"
    data.mkdir()
    for number in range(100):
        plane = texture(1632, number)[:1224]
        Image.fromarray(np.stack([plane, plane[::-1], plane[:, ::-1]], axis=-1)).save(
            data / f"{number:03d}.jpg", quality=30
        )
    (folder / "two").mkdir()
    for number in range(2):
        (folder / f"two/{number}.jpg").write_bytes((data / f"{number:03d}.jpg").read_bytes())
    start_up = script("run_car_images.py", folder, ROOT / "pretrained", "two", "r_two")
    corrector = model_car.load_corrector()
    picture = corrector.decode(data / "000.jpg")
    megapixels = picture.planes[0].samples.size / 1e6
    alone = [seconds(lambda: corrector.through_nets(picture)) for _ in range(6)][1:]
    spent = script("run_car_images.py", folder, ROOT / "pretrained", "photographs", "r_all") - start_up
    alone += [seconds(lambda: corrector.through_nets(picture)) for _ in range(5)]
    rate, net_rate = 98 * megapixels / spent, megapixels / float(np.median(alone))
    share = f"the nets alone {net_rate:.2f}: {rate / net_rate:.0%}"
    cli.say(f"run_car_images.py: {rate:.2f} megapixels a second, {share}")
    return {"megapixels_a_second": rate, "nets_alone": net_rate}


PEAK = """
import re, runpy, sys
sys.path.insert(0, {root!r})
from car import cli
cli.start()
cli.load_tensorflow()
import tensorflow as tf
tf.constant(0)
def peak():  # not getrusage: what it says begins with the parent's peak
    return int(re.search(r"VmHWM:\\s+(\\d+)", open("/proc/self/status").read())[1])
base = peak()
sys.argv = {argv!r}
try:
    runpy.run_path(sys.argv[0], run_name="__main__")
except SystemExit:
    pass
print("PEAK", peak() - base)
"""


def measure_memory(folder: Path) -> list[Figures]:
    """Peak memory over the interpreter with TensorFlow, and cost per pixel, for 1 to 100 megapixels."""
    rows: list[Figures] = []
    for side in (1000, 3200, 10000):
        data = folder / f"memory{side}"
        data.mkdir()
        Image.fromarray(texture(side)).save(data / "a.jpg", quality=30)
        argv = [str(ROOT / "run_car_images.py"), str(folder), str(ROOT / "pretrained"), data.name, f"r{side}"]
        done = subprocess.run(
            [sys.executable, "-c", PEAK.format(root=str(ROOT), argv=argv)], capture_output=True, text=True
        )
        peak = int(done.stdout.split("PEAK")[1]) / 2**20
        rows.append({"megapixels": side * side / 1e6, "gigabytes": peak})
        cli.say(f"peak memory, {side * side / 1e6:.0f} megapixels grey: {peak:.2f} GiB over TensorFlow")
    corrector, blind = model_car.load_corrector(conv="fast"), choice.Choice(None)
    planes = {side: texture(side) for side in (1000, 3200, 10000)}
    times: dict[int, list[float]] = {side: [] for side in planes}
    corrector.through_net(planes[1000], blind)
    for _ in range(3):
        for side, plane in planes.items():
            calls = max(1, 3200 // side) ** 2
            run = functools.partial(corrector.through_net, plane, blind)
            spent = [seconds(run) for _ in range(calls)]
            times[side].append(sum(spent) / calls)
    for row, side in zip(rows, planes, strict=True):
        row["microseconds_a_pixel"] = float(np.median(times[side])) / side**2 * 1e6
        cost = f"{row['microseconds_a_pixel']:.3f} microseconds a pixel"
        cli.say(f"cost, {row['megapixels']:.0f} megapixels: {cost}")
    return rows


def time_help() -> Figures:
    """Seconds of --help of each script, and of a Python that does nothing: medians of 5."""
    runs: dict[str, Callable[[], object]] = {
        "Python": lambda: subprocess.run([sys.executable, "-c", ""], check=True),
        **{name: functools.partial(script, name, "--help") for name in SCRIPTS},
    }
    found = {name: float(np.median(times)) for name, times in in_turns(runs, 5).items()}
    shown = ", ".join(f"{name} {found[name]:.3f}" for name in SCRIPTS)
    cli.say(f"--help, seconds: {shown}; Python alone {found['Python']:.3f}")
    return found


def time_start(folder: Path) -> dict[str, float | Figures]:
    """Seconds from start to the end of a run over one 512x512 image, over those of `import tensorflow`."""
    data = folder / "one"
    data.mkdir()
    Image.fromarray(texture(512)).save(data / "a.jpg", quality=30)
    bare = [sys.executable, "-c", "import tensorflow"]
    runs: dict[str, Callable[[], object]] = {
        "import": lambda: subprocess.run(bare, check=True, capture_output=True),
        "image": lambda: script("run_car_images.py", folder, ROOT / "pretrained", "one", "r_one"),
    }
    times = in_turns(runs, 5)
    extra = float(np.median(np.array(times["image"]) - np.array(times["import"])))
    cli.say(f"start to first corrected image: {extra:.2f} s more than import tensorflow")
    importing = float(np.median(times["import"]))
    return {"seconds_over_import": extra, "import": importing, "help": time_help()}


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
        default=[512, 1024, 2048, 4096],
        metavar="S",
        help="(512 1024 2048 4096)",
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
            "training": lambda: [
                time_training(args.rounds, 1000, 32, 0),  # the original's; and how pretrained/ was trained
                time_training(args.rounds, 4, 96, weights.RADIUS),
            ],
            "loader": lambda: time_loader(folder) | time_records(folder),
            "folder": lambda: time_folder(folder),
            "memory": lambda: measure_memory(folder),
            "start": lambda: time_start(folder),
        }
        for part in args.parts:
            found[part] = sections[part]()
            file.write_text(json.dumps(found, indent=1))
    if "net" in found:
        draw(args.out.with_suffix(".png"), found["net"])
    return 0


if __name__ == "__main__":
    sys.exit(main())
