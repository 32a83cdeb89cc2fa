"""The scripts as people run them: seconds, rates and memory of whole processes. Parts of speed.py."""

import functools
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import tensorflow as tf
from PIL import Image
from timing import ROOT, Figures, in_turns, seconds, texture

import car_ds_loader
import model_car
from car import choice, cli, records

SCRIPTS = ("load_train_data.py", "load_val_data.py", "read_tfrecord.py", "train_car.py", "run_car_images.py")


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
    return int(re.search(r"VmHWM:\\s+(\\d+)", open("/proc/self/status").read())[1]) * 1024
base = peak()
sys.argv = {argv!r}
try:
    runpy.run_path(sys.argv[0], run_name="__main__")
except SystemExit:
    pass
print("PEAK", base, peak())
"""


def peak_of(folder: Path, data: str) -> tuple[float, float]:
    """Bytes at the most of run_car_images.py over folder / data: (TensorFlow loaded, the whole run)."""
    argv = [str(ROOT / "run_car_images.py"), str(folder), str(ROOT / "pretrained"), data, f"of {data}"]
    code = PEAK.format(root=str(ROOT), argv=argv)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    base, peak = done.stdout.split("PEAK")[1].split()
    return float(base), float(peak)


def measure_memory(folder: Path) -> dict[str, Figures]:
    """Peak memory of pictures of 50 megapixels, grey and of each sampling, and of three in a row."""
    rows: dict[str, Figures] = {}
    side, kinds = 7072, [("4:2:0", 1), ("4:2:0", 3), ("4:2:2", 1), ("4:4:4", 1)]
    sampled = [(f"{name}, {count} of", name, count) for name, count in kinds]
    for what, sampling, count in [("grey, 1 of", "", 1), *sampled]:
        data = folder / f"memory {count} {sampling.replace(':', '')}"
        data.mkdir()
        for number in range(count):
            plane = texture(side, number)
            pixels = np.stack([plane, plane[::-1], plane.T], axis=-1) if sampling else plane
            options = {"subsampling": sampling} if sampling else {}
            Image.fromarray(pixels).save(data / f"{number}.jpg", quality=30, **options)
        base, peak = peak_of(folder, data.name)
        of_picture, over = (peak - base) / side**2, (peak - 500e6) / side**2
        rows[f"{what} {side}x{side}"] = {
            "gigabytes": peak / 1e9,
            "over_tensorflow": of_picture,
            "over_500_mb": over,
        }
        shown = (
            f"{of_picture:.1f} bytes a pixel over TensorFlow's {base / 1e9:.2f} GB, {over:.1f} over 500 MB"
        )
        cli.say(f"peak memory, {what} {side}x{side}: {peak / 1e9:.2f} GB, {shown}")
    return rows


def cost_of_a_pixel() -> Figures:
    """Microseconds a pixel of planes of 1 to 100 megapixels, through the net alone."""
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
    costs = {f"{side**2 / 1e6:.0f}": float(np.median(times[side])) / side**2 * 1e6 for side in planes}
    shown = ", ".join(f"{name} megapixels {cost:.3f}" for name, cost in costs.items())
    cli.say(f"microseconds a pixel: {shown}")
    return costs


def save_sizes(folder: Path, count: int, equal: bool) -> float:
    """JPGs of nine qualities: of random sizes 100..700, or as many equal ones. Returns megapixels of all."""
    folder.mkdir()
    rng, pixels, picture = np.random.default_rng(0), 0, texture(700)
    mean = int(np.sqrt(rng.integers(100, 701, (count, 2)).prod(axis=1).mean()))
    for number in range(count):
        height, width = (mean, mean) if equal else rng.integers(100, 701, 2)
        plane = picture[:height, :width]
        colour = np.stack([plane, plane[::-1], plane[:, ::-1]], axis=-1)
        Image.fromarray(colour).save(folder / f"{number:03}.jpg", quality=10 * (number % 9) + 10)
        pixels += plane.size
    return pixels / 1e6


def time_sizes(folder: Path, count: int = 300) -> Figures:
    """run_car_images.py on JPGs of random sizes and nine qualities against equal ones, and its memory.

    All of each run counts, its start too.
    """
    rates = {}
    for kind in ("equal", "random"):
        megapixels = save_sizes(folder / f"{kind} sizes", count, equal=kind == "equal")
        spent = script("run_car_images.py", folder, ROOT / "pretrained", f"{kind} sizes", f"of {kind}")
        rates[kind] = megapixels / spent
    save_sizes(folder / "few sizes", 25, equal=False)
    _, early = peak_of(folder, "few sizes")
    _, late = peak_of(folder, "random sizes")
    share = rates["random"] / rates["equal"]
    speeds = f"{rates['random']:.2f} megapixels a second, equal ones {rates['equal']:.2f}: {share:.0%}"
    cli.say(f"{count} JPGs of random sizes: {speeds}")
    cli.say(
        f"  memory after 25 {early / 1e6:.0f} MB, after {count} {late / 1e6:.0f}: {late / early - 1:+.1%}"
    )
    return {"share": share, "after_25": early, f"after_{count}": late, **rates}


STAGES = """
import json, os, sys, time
sys.path.insert(0, {root!r})
os.sched_setaffinity(0, {cores})  # before TensorFlow counts them
import model_car
from pathlib import Path
from car import output
corrector, path = model_car.load_corrector(), Path({path!r})
spent = dict(read=0.0, nets=0.0, write=0.0)
for number in range(4):
    moments = [time.perf_counter()]
    picture = corrector.decode(path)
    moments.append(time.perf_counter())
    made = corrector.through_nets(picture)
    moments.append(time.perf_counter())
    corrected = corrector.finish(picture, made)
    with open(path.with_suffix(".bmp"), "wb") as file:
        output.write(file, corrected.pixels, corrected.about, "bmp")
    moments.append(time.perf_counter())
    if number:  # the first one compiles
        for name, began, ended in zip(spent, moments, moments[1:]):
            spent[name] += (ended - began) / 3 / (corrected.pixels.size / 3e6)
print("STAGES" + json.dumps(spent))
"""


def model_cores(folder: Path) -> dict[str, Figures]:
    """Seconds a megapixel of each stage on one core and on two, and by them the rates of more cores.

    One process reads in one thread, writes in another, and shares out the nets to all cores: its rate ends at
    the slower of the two. Shards do all of it side by side. Left out: what cores share, as memory and caches.
    """
    path = folder / "stages.jpg"
    planes = [texture(3000, number) for number in range(3)]
    Image.fromarray(np.stack(planes, axis=-1)).save(path, quality=30)
    found: dict[str, Figures] = {}
    for count in (1, 2):
        cores = set(sorted(os.sched_getaffinity(0))[:count])
        code = STAGES.format(root=str(ROOT), cores=cores, path=str(path))
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
        found[f"stages on {count}"] = json.loads(done.stdout.split("STAGES")[1])
    one, two = found["stages on 1"], found["stages on 2"]
    gain = one["nets"] / two["nets"]
    alone = max(0.0, 2 / gain - 1)  # the nets' part that does not gain by a second core (Amdahl)
    found["process"], found["shards"] = {}, {}
    for cores_of_it in (2, 4, 8, 32):
        nets = one["nets"] * (alone + (1 - alone) / cores_of_it)
        found["process"][str(cores_of_it)] = 1 / max(
            one["read"], one["write"], nets, sum(one.values()) / cores_of_it
        )
        found["shards"][str(cores_of_it)] = cores_of_it / sum(one.values())
    shown = ", ".join(f"{name} {spent:.3f}" for name, spent in one.items())
    cli.say(f"seconds a megapixel on one core: {shown}; the nets on two {gain:.2f} times as fast")
    for kind, rates in (("one process", found["process"]), ("a shard a core", found["shards"])):
        cli.say(f"  {kind}, by the model: " + ", ".join(f"{n} cores {rate:.1f}" for n, rate in rates.items()))
    return found


def time_shards(folder: Path) -> dict[str, float]:
    """Megapixels a second of 1, 2 and 4 shards side by side, with all processors and with one each.

    A shard starts in some seconds, which count.
    """
    data, megapixels = folder / "for shards", 0.0
    data.mkdir()
    for number in range(48):
        plane = texture(1632, number)[:1224]
        Image.fromarray(np.stack([plane] * 3, axis=-1)).save(data / f"{number:02}.jpg", quality=30)
        megapixels += plane.size / 1e6
    rates = {}
    cores = sorted(os.sched_getaffinity(0))
    for shards in (1, 2, 4):
        for pinned in (False, True) if shards > 1 else (False,):
            began, results = time.perf_counter(), f"{shards} {pinned}"
            runs = []
            for number in range(1, shards + 1):
                core = {cores[number % len(cores)]} if pinned else set(cores)
                command = [ROOT / "run_car_images.py", folder, ROOT / "pretrained", data.name, results]
                command += ["--shard", f"{number}/{shards}"]
                run = subprocess.Popen([sys.executable, *map(str, command)], stdout=subprocess.DEVNULL)
                os.sched_setaffinity(run.pid, core)
                runs.append(run)
            ends = []
            for run in runs:
                if run.wait():
                    raise RuntimeError(f"a shard ended with {run.returncode}")
                ends.append(time.perf_counter() - began)
            name = f"{shards} shards" + (", a core each" if pinned else "")
            rates[name] = megapixels / max(ends)
            cli.say(
                f"{name}: {rates[name]:.2f} megapixels a second; "
                f"the first ended after {min(ends):.0f} of {max(ends):.0f} s"
            )
    return rates


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
    """Seconds from start to the first result, over those of `import tensorflow`.

    Of a 512x512 image, and of a folder of nine small ones that asks for all weights of the bank.
    """
    (folder / "one").mkdir()
    Image.fromarray(texture(512)).save(folder / "one/a.jpg", quality=30)
    save_sizes(folder / "nine", 9, equal=False)
    bare = [sys.executable, "-c", "import tensorflow"]
    runs: dict[str, Callable[[], object]] = {
        "import": lambda: subprocess.run(bare, check=True, capture_output=True),
        "image": lambda: first_result(folder, "one"),
        "nine": lambda: first_result(folder, "nine"),
    }
    times = {name: np.array(spent) for name, spent in in_turns(runs, 5).items()}
    over = {name: float(np.median(times[name] - times["import"])) for name in ("image", "nine")}
    shown = f"a 512x512 image {over['image']:.2f}, nine small ones of nine qualities {over['nine']:.2f}"
    cli.say(f"seconds to the first result over import tensorflow: {shown}")
    importing = float(np.median(times["import"]))
    return {
        "seconds_over_import": over["image"],
        "nine": over["nine"],
        "import": importing,
        "help": time_help(),
    }


def first_result(folder: Path, data: str) -> None:
    """Run run_car_images.py until its first result is there."""
    results = folder / f"first of {data}"
    shutil.rmtree(results, ignore_errors=True)
    command = [ROOT / "run_car_images.py", folder, ROOT / "pretrained", data, results.name]
    run = subprocess.Popen([sys.executable, *map(str, command)], stdout=subprocess.DEVNULL)
    while not any(results.glob("*.bmp")) and run.poll() is None:
        time.sleep(0.005)
    run.kill()
    run.wait()
