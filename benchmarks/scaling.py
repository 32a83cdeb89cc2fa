"""Time training by several processes, and model more machines than there are here: a table and JSON.

    python benchmarks/scaling.py --out scaling.json                  (Linux, 2 cores, some minutes)

Each process is held to a core of its own. The same steps are timed in one process alone, in two that know
nothing of each other, and in two that train together. Their seconds are those that a process has its core,
which other programs change little; those of the clock stand beside them. The exchange of gradients is timed
by itself, by the clock: many times, of which the fastest is taken. The bytes are counted by the system on the
loopback device.
"""

import argparse
import itertools
import json
import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from timing import ROOT  # first: it lets the suite be found

# isort: split
import numpy as np
import psutil

from car import cli, weights

SIDE = 32
PATCHES = 100  # of a process in a step
WARM_UP = 3
EXCHANGES = 20  # of gradients, in a round
PARAMETERS = sum(side**2 * maps_in * maps + maps for side, maps_in, maps in weights.LAYERS)
MACHINES, GIGABITS = (8, 64), (1, 10)
IN_A_PROCESS = """
import json, sys
sys.path.insert(0, sys.argv[1])
import scaling
scaling.work(*json.loads(sys.argv[2]))
"""


class Timed(NamedTuple):
    """Steps of PATCHES a process, as one process sees them."""

    seconds: list[float]  # of the processor a step, of each round
    clock: list[float]  # the same by the clock
    exchange: list[float]  # of gradients alone, each by the clock
    sent: list[float]  # bytes an exchange on the loopback device by all processes, of each round


def sent_on_loopback() -> int:
    """Bytes since the system started."""
    (line,) = (
        line for line in Path("/proc/net/dev").read_text().splitlines() if line.split(":")[0].strip() == "lo"
    )
    return int(line.split(":")[1].split()[8])


# ---- in each process -----------------------------------------------------------------------


def work(core: int, rounds: int, steps: int) -> None:
    """Time steps of training on one core, in the company that TF_CONFIG names; prints a Timed."""
    psutil.Process().cpu_affinity([core])  # before TensorFlow counts the cores
    import keras
    import tensorflow as tf

    import model_car
    from car import training_step, workers

    cluster = workers.read_cluster(os.environ.get("TF_CONFIG", ""))
    strategy = workers.make_strategy(cluster)
    company = workers.make_company(cluster, strategy)
    with strategy.scope():
        net, optimizer = model_car.CarNet(residual=True), keras.optimizers.Adam(1e-4)
        optimizer.build(net.trainable_variables)

    def errors(jpg: "tf.Tensor", bmp: "tf.Tensor", border: int) -> "tuple[tf.Tensor, tf.Tensor]":
        return model_car.squared_error(net, jpg, bmp, border), model_car.untouched_error(jpg, bmp, border)

    loss_and_gradients = training_step.make_loss_and_gradients(
        net.trainable_variables, errors, PATCHES * company.size, 0, whole=False
    )
    step = training_step.make_train_step(
        strategy, net.trainable_variables, optimizer, loss_and_gradients, weights.LARGEST_WEIGHT
    )

    @tf.function
    def exchange() -> "tf.Tensor":
        def sum_up() -> "list[tf.Tensor]":
            gradients = [tf.zeros(weight.shape) for weight in net.trainable_variables]
            return tf.distribute.get_replica_context().all_reduce(tf.distribute.ReduceOp.SUM, gradients)

        return strategy.experimental_local_results(strategy.run(sum_up))[0][-1]

    luma = np.random.default_rng(core).integers(0, 256, (2, PATCHES, SIDE, SIDE, 1)).astype(np.float32)
    batch = tf.constant(luma[0]), tf.constant(luma[1])
    for _ in range(WARM_UP):
        step(batch)
        exchange()
    timed = Timed([], [], [], [])
    for _ in range(rounds):
        company.exchange(b"ready")  # so that all begin a round together
        used, start = time.process_time(), time.perf_counter()
        for _ in range(steps):
            loss, _, _ = step(batch)
            loss.numpy()
        timed.clock.append((time.perf_counter() - start) / steps)
        timed.seconds.append((time.process_time() - used) / steps)
        company.exchange(b"ready")
        before = sent_on_loopback()
        for _ in range(EXCHANGES):
            start = time.perf_counter()
            exchange().numpy()
            timed.exchange.append(time.perf_counter() - start)
        timed.sent.append((sent_on_loopback() - before) / EXCHANGES)
    company.exchange(b"done")
    print(json.dumps(timed))


# ---- all of them ---------------------------------------------------------------------------


def free_ports(count: int) -> list[int]:
    """Ports of this machine on which nobody listens."""
    servers = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [server.getsockname()[1] for server in servers]
    for server in servers:
        server.close()
    return ports


def timed(processes: int, together: bool, rounds: int, steps: int) -> list[Timed]:
    """Start so many processes, each on a core; what each has timed."""
    addresses = [f"127.0.0.1:{port}" for port in free_ports(processes)]
    started = []
    for number, core in enumerate(sorted(psutil.Process().cpu_affinity())[:processes]):
        config = {"cluster": {"worker": addresses}, "task": {"type": "worker", "index": number}}
        environment = {**os.environ, "TF_CONFIG": json.dumps(config if together else {})}
        code = [IN_A_PROCESS, str(ROOT / "benchmarks"), json.dumps([core, rounds, steps])]
        started.append(
            subprocess.Popen(
                [sys.executable, "-c", *code],
                env=environment,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                text=True,
            )
        )
    printed = [process.communicate()[0] for process in started]
    if any(process.returncode for process in started):
        raise SystemExit("a process that was to be timed has failed")
    return [Timed(*json.loads(text.splitlines()[-1])) for text in printed]


def least(found: Sequence[Timed], which: str = "seconds") -> float:
    """Seconds of the slowest process: the least of the rounds, to which other work can only add."""
    return max(min(getattr(one, which)) for one in found)


class Reading(NamedTuple):
    """Seconds of the processor for a record of SIDE x SIDE."""

    order: float  # its place in the order of an epoch: each process works this out for all records
    by_place: float  # read by its place, and worked out as above
    in_turn: float  # as one process reads, file after file


def time_reading(count: int = 20_000) -> Reading:
    """Time the ways to records, of a set that the system holds in memory."""
    cli.load_tensorflow()
    import tensorflow as tf

    import car_ds_loader
    from car import records

    def used(batches: "tf.data.Dataset") -> float:
        options = tf.data.Options()
        options.autotune.enabled = False  # as in training
        start = time.process_time()
        for _ in batches.with_options(options):
            pass
        return (time.process_time() - start) / count

    with tempfile.TemporaryDirectory() as scratch:
        patches = np.random.default_rng(0).integers(0, 256, (count // 100, 100, SIDE, SIDE), np.uint8)
        writer = records.RecordWriter(Path(scratch), "train", SIDE)
        writer.write(patches, patches)
        writer.close()
        found, seed = records.check_records(Path(scratch)), tf.constant(0, tf.int64)
        places = car_ds_loader.shuffled_records(found, seed, car_ds_loader.count_records).batch(PATCHES)
        return Reading(
            used(places),
            used(places.map(lambda some: car_ds_loader.read_at(found, some), tf.data.AUTOTUNE)),
            used(car_ds_loader.shuffled_records(found, seed).batch(PATCHES)),
        )


class Measured(NamedTuple):
    """What a model of more machines rests on; seconds of the processor a step, with one core a process."""

    alone: float  # one process
    apart: float  # two that know nothing of each other
    together: float  # two that train together
    clock: list[float]  # the three by the clock, however many programs share the cores
    exchange: float  # seconds by the clock of an exchange of gradients between two
    sent: float  # bytes that each of two sends in it

    def hop(self) -> float:
        """Seconds from neighbour to neighbour in the ring, apart from the bytes: two processes make two."""
        return self.exchange / 2


def measure(rounds: int, steps: int) -> Measured:
    """Time one process, two apart and two together."""
    one, apart, together = (
        timed(count, joined, rounds, steps) for count, joined in ((1, False), (2, False), (2, True))
    )
    return Measured(
        alone=least(one),
        apart=least(apart),
        together=least(together),
        clock=[least(found, "clock") for found in (one, apart, together)],
        exchange=least(together, "exchange"),
        sent=min(together[0].sent) / 2,  # other programs can only add to it
    )


def bytes_of_ring(machines: int) -> float:
    """What each machine sends in a step: the gradient, in a ring of all (Patarasuk and Yuan, 2009)."""
    return 2 * (machines - 1) / machines * PARAMETERS * 4


def modelled(
    found: Measured, machines: int, gigabits: float, patches: int, cores: int
) -> tuple[float, float]:
    """(seconds of a step, of these in the exchange) with so many patches a machine of so many such cores."""
    exchange = 2 * (machines - 1) * found.hop() + bytes_of_ring(machines) * 8 / (gigabits * 1e9)
    return patches / cores * found.apart / PATCHES + exchange, exchange


def arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    """Parse the command line."""
    parser = cli.parser(__doc__)
    parser.set_defaults(workdir=".")  # there is no WORKDIR: the folders are what the shell says
    parser.add_argument(
        "--out", type=Path, default=Path("scaling.json"), metavar="FILE", help="(scaling.json)"
    )
    parser.add_argument(
        "--rounds", type=cli.positive, default=9, metavar="N", help="of which the fastest counts (9)"
    )
    parser.add_argument("--steps", type=cli.positive, default=2, metavar="N", help="in a round (2)")
    parser.add_argument(
        "--cores", type=cli.positive, default=16, metavar="N", help="of each machine of the model (16)"
    )
    return cli.parse(parser, argv)


@cli.script
def main(argv: Sequence[str] | None = None) -> int:
    """Measure, model, say it. Returns the exit status."""
    args = arguments(argv)
    found = measure(args.rounds, args.steps)
    cli.say(f"a step of {PATCHES} patches of {SIDE}x{SIDE} a process, one core each:")
    cli.say(
        f"  one process {found.alone:.3f} s, "
        f"two apart {found.apart:.3f} s, two together {found.together:.3f} s"
    )
    cli.say("  by the clock {:.3f}, {:.3f}, {:.3f} s".format(*found.clock))
    cli.say(f"  exchange of gradients: {1000 * found.exchange:.1f} ms between two")
    cli.say(f"  sent by each process: {found.sent:,.0f} bytes, by the formula {bytes_of_ring(2):,.0f}")
    reading = time_reading()
    cli.say(
        "  a record's place in the order {:.1f} us, read by it {:.1f} us, read in turn {:.1f} us".format(
            *(1e6 * seconds for seconds in reading)
        )
    )
    rows = []
    cli.say(f"modelled, machines of {args.cores} such cores:")
    cli.say(
        "| machines | Gbit/s | patches a machine | seconds a step | in the exchange | times as fast as one |"
    )
    cli.say("|---|---|---|---|---|---|")
    for machines, gigabits, whole in itertools.product(MACHINES, GIGABITS, (False, True)):
        patches = 1000 // machines if whole else 1000
        step, exchange = modelled(found, machines, gigabits, patches, args.cores)
        faster = machines * patches / step / (1000 / modelled(found, 1, gigabits, 1000, args.cores)[0])
        rows.append((machines, gigabits, patches, step, exchange, faster))
        cli.say(
            f"| {machines} | {gigabits} | {patches} | {step:.3f} | {exchange / step:.0%} | {faster:.1f} |"
        )
    names = ("machines", "gigabits", "patches", "step", "exchange", "faster")
    model = [dict(zip(names, row, strict=True)) for row in rows]
    args.out.write_text(
        json.dumps(
            {
                "measured": found._asdict(),
                "reading": reading._asdict(),
                "cores": args.cores,
                "modelled": model,
            },
            indent=1,
        )
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
