"""Train the network on the records that the loaders wrote.

    python train_car.py WORKDIR log tfrecords/train tfrecords/val
    python train_car.py WORKDIR log tfrecords/train tfrecords/val --residual --augment

With no options this is the faithful net and the original's training: 800 steps of 1000
patches, Adam at a constant 0.001. --residual trains the net that learns the artifact alone;
it is the one to use. Stopped or killed, the same command goes on where it was. WORKDIR/log
receives the best weights by validation (model_checkpoint*), the state to go on from (state/),
losses.csv, losses.png, and what TensorBoard shows: tensorboard --logdir WORKDIR/log

On several machines start the same command on each with TF_CONFIG set; log must then lie on a
disk that all of them see. --batch-size is the batch of all machines together.
"""

import argparse
import contextlib
import math
import os
from collections.abc import Callable
from pathlib import Path

import car_shell
import keras
import numpy as np
import tensorflow as tf
from car_shell import Progress, UserError, naming

from car_ds_loader import (
    ALL_WAYS,
    MIRRORED,
    NO_WAYS,
    RecordSet,
    check_records,
    training_batches,
    validation_batches,
)
from car_jpeg import SIDE, steps_of_quality
from car_lock import locked
from car_plot import draw_losses
from car_run import PICTURE_FILE, Row, Run, claim_folder
from car_split import Split, check_disjoint, read_split, write_split
from car_types import Floats
from car_workers import in_company, make_strategy, read_cluster
from model_car import (
    LARGEST,
    RADIUS,
    CarNet,
    Layers,
    dead_part,
    direct_layers,
    layers_for,
    squared_error,
    untouched_error,
)

LOCK_FILE = ".car.lock"
SHOWN_PATCHES = 6  # in TensorBoard
PART_PIXELS = 2**15  # of a batch that go through the net together
EVAL_PIXELS = 2**16  # in one validation batch, at the most
MUON_SINCE = (3, 13)  # Keras; the Muon of older ones takes steps of another size
WARM_STEPS = 300  # of a cosine: at full rate from the first step, Muon switches maps off for good
STATE_SECONDS = 60  # between two savings of the state: what a kill can cost

Batch = tuple[tf.Tensor, tf.Tensor]  # jpg and bmp, float32 [N, side, side, 1]
Losses = tuple[tf.Tensor, tf.Tensor]  # of the net, and of the JPG itself
Told = tuple[tf.Tensor, tf.Tensor, tf.Tensor]  # by a step: the two losses, and whether weights are sane


def arguments() -> argparse.Namespace:
    """Parse the command line."""
    parser = car_shell.parser(__doc__)
    parser.add_argument("workdir", metavar="WORKDIR")
    parser.add_argument("log", help="folder for weights, state and losses, joined to WORKDIR")
    parser.add_argument("train", help="folder of training records, joined to WORKDIR")
    parser.add_argument("val", help="folder of validation records, joined to WORKDIR")
    parser.add_argument(
        "--residual", action="store_true", help="learn the artifact: last layer linear, input added"
    )
    parser.add_argument(
        "--loss-border",
        type=int,
        default=0,
        metavar="B",
        help=f"pixels at each side of a patch left out of the loss (0); at {RADIUS} all that count are real",
    )
    parser.add_argument(
        "--by-header",
        action="store_true",
        help="the loss is that of what correction keeps by the file's header; for records of one --quality, "
        f"with --stride, --patch-size and --loss-border multiples of {SIDE}",
    )
    parser.add_argument("--augment", action="store_true", help="flip and turn the training patches")
    parser.add_argument("--mirror", action="store_true", help="flip them left to right only")
    parser.add_argument("--steps", type=car_shell.positive, default=800, help="(800)")
    parser.add_argument(
        "--batch-size", type=car_shell.positive, default=1000, metavar="N", help="patches in a step (1000)"
    )
    parser.add_argument("--learning-rate", type=float, default=1e-3, metavar="R", help="(0.001)")
    parser.add_argument(
        "--schedule",
        choices=("constant", "cosine"),
        default="constant",
        help=f"cosine: up in {WARM_STEPS} steps (a tenth of --steps at most), down to a hundredth (constant)",
    )
    parser.add_argument("--optimizer", choices=("adam", "muon"), default="adam", help="(adam)")
    parser.add_argument("--conv", choices=("fast", "direct"), help="form of layer 2 (fast; direct on a GPU)")
    parser.add_argument(
        "--seed", type=car_shell.seed, default=0, help="of the first weights and the order of patches (0)"
    )
    parser.add_argument(
        "--init", metavar="LOG", help="start from the best weights of this log folder, with a fresh optimizer"
    )
    parser.add_argument(
        "--val-every", type=car_shell.positive, default=50, metavar="N", help="steps between validations (50)"
    )
    parser.add_argument(
        "--val-patches",
        type=car_shell.positive,
        default=2000,
        metavar="N",
        help="a fixed choice of this many validation patches (2000)",
    )
    args = car_shell.parse(parser, None, inputs=["train", "val"], outputs=["log"])
    if any(args.log.resolve() == records.resolve() for records in (args.train, args.val)):
        parser.error("log must be another folder than the records")
    if args.augment and args.mirror:
        parser.error("--augment includes --mirror; give one of them")
    if args.augment and args.by_header:
        parser.error("--by-header: turned patches would need a turned quantisation table; give --mirror")
    if args.loss_border < 0 or not args.learning_rate > 0:
        parser.error("--loss-border must be at least 0 and --learning-rate above 0")
    if args.optimizer == "muon" and tuple(map(int, keras.__version__.split(".")[:2])) < MUON_SINCE:
        parser.error(
            f"argument --optimizer: muon needs Keras 3.13 or later, which needs Python 3.11 or later; "
            f"this is Keras {keras.__version__}"
        )
    if args.init:
        args.init = args.workdir / args.init
        if not args.init.is_dir():
            parser.error(f"argument --init: there is no folder {args.init}")
    return args


def make_optimizer(args: argparse.Namespace) -> keras.optimizers.Optimizer:
    """Adam, or Muon on the kernel matrices with Adam on the biases and the last layer.

    Muon (Jordan 2024; Liu et al., arXiv 2502.16982) makes each update of a matrix orthogonal.
    """
    rate = args.learning_rate
    if args.schedule == "cosine":
        warm = min(args.steps // 10, WARM_STEPS)
        rate = keras.optimizers.schedules.CosineDecay(
            rate / max(warm, 1),
            args.steps - warm,
            0.01,
            warmup_target=rate if warm else None,
            warmup_steps=warm,
        )
    if args.optimizer == "adam":
        return keras.optimizers.Adam(rate)
    return keras.optimizers.Muon(rate, exclude_layers=["layer4"], weight_decay=None, adam_weight_decay=None)


def parts_of(patches: int, side: int, layers: Layers) -> tuple[int, int]:
    """Into how many parts of how many patches a batch is cut: the fewest of which each stays in a cache.

    The last part may not be full. The direct form gains nothing by it, and takes the batch as a whole.
    """
    if layers is direct_layers:
        return 1, patches
    parts = math.ceil(patches / max(1, PART_PIXELS // side**2))
    return parts, math.ceil(patches / parts)


def make_loss_and_gradients(
    net: CarNet, layers: Layers, batch_size: int, border: int, steps: Floats | None = None
) -> Callable[[tf.Tensor, tf.Tensor], list[tf.Tensor]]:
    """The function (jpg, bmp) -> [loss, the JPG's MSE, *gradients], sums over patches / batch_size.

    The direct form is compiled by XLA as a whole; the fast one compiles its sums by itself (car_conv.py)
    and leaves the convolutions to oneDNN, which makes twice the speed of a whole by XLA.
    """

    @tf.function(jit_compile=layers is direct_layers)
    def of_part(jpg: tf.Tensor, bmp: tf.Tensor, counts: tf.Tensor) -> list[tf.Tensor]:
        """counts: float32 [N], 1 for each patch of the batch, 0 for one that fills up the last part."""
        with tf.GradientTape() as tape:
            loss = tf.reduce_sum(counts * squared_error(net, jpg, bmp, border, layers, steps)) / batch_size
        jpg_mse = tf.reduce_sum(counts * untouched_error(jpg, bmp, border)) / batch_size
        return [loss, jpg_mse, *tape.gradient(loss, net.trainable_variables)]

    def loss_and_gradients(jpg: tf.Tensor, bmp: tf.Tensor) -> list[tf.Tensor]:
        parts, size = parts_of(jpg.shape[0], jpg.shape[1], layers)
        filling = parts * size - jpg.shape[0]
        batch = [
            tf.reshape(
                tf.pad(values, [[0, filling]] + [[0, 0]] * (values.shape.rank - 1)),
                [parts, size, *values.shape[1:]],
            )
            for values in (jpg, bmp, tf.ones(jpg.shape[0]))
        ]

        def add(part: tf.Tensor, totals: list[tf.Tensor]) -> tuple[tf.Tensor, list[tf.Tensor]]:
            values = of_part(*(values[part] for values in batch))
            return part + 1, [tf.add(*pair) for pair in zip(totals, values, strict=True)]

        # One part after the other, in the memory of one, and as one piece of the graph however many.
        totals = of_part(*(values[0] for values in batch))
        return tf.while_loop(lambda part, _: part < parts, add, [1, totals], parallel_iterations=1)[1]

    return loss_and_gradients


def make_train_step(
    strategy: tf.distribute.Strategy,
    run: Run,
    layers: Layers,
    batch_size: int,
    border: int,
    steps: Floats | None,
) -> Callable[[Batch], Told]:
    """The function of one step: (jpg, bmp) distributed batches -> (loss, JPG's MSE, are the weights sane).

    The losses are means. Weights count as sane up to the size that load_net takes: a loss alone does not
    tell, as oneDNN's ReLU makes 0 of NaN.

    What XLA compiles is loss and gradients, for each replica. apply_gradients stays outside: the
    sum over machines that it makes cannot be compiled for CPUs.
    """
    loss_and_gradients = make_loss_and_gradients(run.net, layers, batch_size, border, steps)

    def replica_step(jpg: tf.Tensor, bmp: tf.Tensor) -> Losses:
        loss, jpg_mse, *gradients = loss_and_gradients(jpg, bmp)
        run.optimizer.apply_gradients(zip(gradients, run.net.trainable_variables, strict=True))
        return loss, jpg_mse

    @tf.function
    def train_step(batch: Batch) -> Told:
        losses = strategy.run(replica_step, args=batch)
        loss, jpg_mse = (strategy.reduce(tf.distribute.ReduceOp.SUM, part, axis=None) for part in losses)
        sane = [tf.reduce_all(tf.abs(weight) < LARGEST) for weight in run.net.trainable_variables]
        return loss, jpg_mse, tf.reduce_all(sane)

    return train_step


def inner_border(border: int, side: int, steps: Floats | None) -> int:
    """The pixels at each side of a patch that do not count where the best weights are chosen.

    RADIUS: pixels whose receptive field reaches over the edge see zeros there, which correction never
    does. Where the loss is by header, its own border, on whole blocks; and of patches too small to hold
    a real pixel all count that do in training.
    """
    return border if steps is not None or side <= 2 * RADIUS else RADIUS


def make_validate(
    net: CarNet,
    layers: Layers,
    batches: tf.data.Dataset,
    borders: tuple[int, int],
    steps: Floats | None = None,
) -> Callable[[], list[float]]:
    """The function of one validation, means over the fixed choice of records.

    () -> [loss, JPG's MSE] without the first of the borders, and the same without the second.
    """

    @tf.function(jit_compile=layers is direct_layers)
    def sums(jpg: tf.Tensor, bmp: tf.Tensor) -> list[tf.Tensor]:
        jpg, bmp = tf.cast(jpg, tf.float32), tf.cast(bmp, tf.float32)
        found = {
            border: [
                tf.reduce_sum(squared_error(net, jpg, bmp, border, layers, steps)),
                tf.reduce_sum(untouched_error(jpg, bmp, border)),
            ]
            for border in set(borders)
        }
        return found[borders[0]] + found[borders[1]]

    def validate() -> list[float]:
        totals, count = np.zeros(4), 0
        for jpg, bmp in batches:
            totals += [float(value) for value in sums(jpg, bmp)]
            count += len(jpg)
        return (totals / count).tolist()

    return validate


def write_summaries(row: Row, net: CarNet, shown: Batch) -> None:
    """Send a CSV row, the weights and a few corrected patches to TensorBoard."""
    values = row._asdict()
    step = values.pop("step")
    tf.summary.scalar("learning_rate", values.pop("learning_rate"), step)
    for name, value in values.items():
        if not math.isnan(value):
            tf.summary.scalar(f"losses/{name}", value, step)
    for weight in net.weights:
        tf.summary.histogram(f"weights/{weight.name}", weight.value, step)
    jpg, bmp = (tf.cast(patches[:SHOWN_PATCHES], tf.float32) for patches in shown)
    row_of_three = tf.concat([jpg, net(jpg), bmp], axis=2)
    picture = tf.cast(tf.clip_by_value(tf.round(row_of_three), 0, 255), tf.uint8)
    tf.summary.image("JPG, corrected, BMP", picture, step, max_outputs=SHOWN_PATCHES)


def checked(folder: Path) -> RecordSet:
    """Read a folder of records through, with a line for each file. Returns the RecordSet."""
    records = check_records(folder)
    size = f"{records.side}x{records.side}"
    print(f"{folder}: {records.total} patches of {size}, MSE of the JPG {records.mse:.3f}")
    return records


def common_steps(train_split: Split | None, val_split: Split | None, args: argparse.Namespace) -> Floats:
    """The quantisation table [8, 8] of all records, whose blocks the loss then sees. Raises UserError."""
    splits = [split or {} for split in (train_split, val_split)]
    quality = splits[0].get("quality") or []
    if len(quality) != 1 or splits[1].get("quality") != quality:
        raise UserError(
            f"--by-header needs train and val records made with one and the same --quality, so that one "
            f"quantisation table holds for all; by their split.json {args.train} has "
            f"{quality or 'none'}, {args.val} {splits[1].get('quality') or 'none'}"
        )
    lengths = [args.loss_border, *(split[name] for split in splits for name in ("patch_size", "stride"))]
    if args.loss_border < RADIUS or any(length % SIDE for length in lengths):
        raise UserError(
            f"--by-header sees whole blocks: --loss-border ({args.loss_border}; {2 * SIDE} at least), and "
            f"--patch-size and --stride of the loaders must be multiples of {SIDE}"
        )
    return steps_of_quality(quality[0])


def check_finite(loss: float, step: int, log: Path, sane: bool = True) -> None:
    """Raise UserError where a loss is NaN or infinite, or a weight is: further steps could not mend it."""
    if not (np.isfinite(loss) and sane):
        what = "a weight is huge or no number" if np.isfinite(loss) else f"the loss is {loss}"
        raise UserError(
            f"{what} at step {step}; stopped. What {log} holds of the steps before is kept; "
            f"train into a new log folder with a lower --learning-rate"
        )


def check_alive(net: CarNet, batches: tf.data.Dataset, step: int, log: Path) -> None:
    """Raise UserError where a part of the net is 0 for all these patches: no step could mend it."""
    dead = ""
    for jpg, _ in batches:
        dead = dead_part(net, tf.cast(jpg, tf.float32))
        if not dead:
            return
    raise UserError(
        f"the net is dead at step {step}: {dead}, so that nothing more can be learned; stopped. What {log} "
        f"holds of the steps before is kept; train into a new log folder with another --seed or a lower "
        f"--learning-rate"
    )


def described(row: Row, inner: bool) -> str:
    """A row as a line for people; inner: whether the pixels by which weights are chosen are others."""
    parts = [f"step {row.step:6}"]
    if row.step:
        parts.append(f"train {row.train_loss:.3f} (JPG {row.train_jpg_mse:.3f})")
    parts.append(f"val {row.val_loss:.3f} (JPG {row.val_jpg_mse:.3f})")
    if inner:
        parts.append(f"inner {row.inner_loss:.3f} (JPG {row.inner_jpg_mse:.3f})")
    return "   ".join([*parts, f"rate {row.learning_rate:.2e}"])


def train(
    args: argparse.Namespace,
    strategy: tf.distribute.Strategy,
    run: Run,
    train_set: RecordSet,
    val_set: RecordSet,
    steps: Floats | None,
) -> int:
    """The loop. Returns the exit status: 0, or 128 + the signal that ended it early."""
    ways = ALL_WAYS if args.augment else MIRRORED if args.mirror else NO_WAYS
    batches = training_batches(train_set, args.batch_size, args.seed, run.step, ways)
    options = tf.data.Options()
    options.experimental_distribute.auto_shard_policy = tf.data.experimental.AutoShardPolicy.DATA
    batches = iter(strategy.experimental_distribute_dataset(batches.with_options(options)))
    held_back = validation_batches(val_set, args.val_patches, max(1, EVAL_PIXELS // val_set.side**2))
    layers = layers_for(args.conv)
    train_step = make_train_step(strategy, run, layers, args.batch_size, args.loss_border, steps)
    borders = args.loss_border, inner_border(args.loss_border, val_set.side, steps)
    validate = make_validate(run.net, layers, held_back, borders, steps)
    tensorboard = args.log / "tensorboard"
    with naming(tensorboard):
        writer = (
            tf.summary.create_file_writer(str(tensorboard)) if run.chief else tf.summary.create_noop_writer()
        )
    shown = next(iter(held_back))
    stop = car_shell.stop
    stop.hold()

    with Progress(args.steps, "steps", done=run.step) as progress, writer.as_default():
        saved_at = progress.seconds
        # From step 0 on: what a run began with counts among its best weights.
        for step in range(run.step + 1 if run.begun else 0, args.steps + 1):
            if step:
                with naming(args.train):
                    batch = next(batches)
                loss, jpg_mse, sane = (value.numpy() for value in train_step(batch))
                check_finite(loss, step, args.log, sane)
                run.count(step, loss, jpg_mse)
                progress.step(note=f"loss {loss:.2f}")
            at_row = step % args.val_every == 0 or step == args.steps
            if at_row:
                losses = validate()
                check_finite(losses[0], step, args.log)
                check_alive(run.net, held_back, step, args.log)
                row = run.add_row(*losses)
                if run.chief:
                    with naming(tensorboard):
                        write_summaries(row, run.net, shown)
                        writer.flush()
                progress.say(described(row, inner=borders[0] != borders[1]))
            if at_row or stop.number or progress.seconds - saved_at > STATE_SECONDS:
                run.save()
                saved_at = progress.seconds
            if stop.number and step < args.steps:
                progress.say(f"stopped after step {step}; the same command goes on from there")
                return stop.status
    return 0


def main() -> int:
    """Check everything, then train. Returns the exit status."""
    args = arguments()
    cluster = read_cluster(os.environ["TF_CONFIG"]) if os.environ.get("TF_CONFIG") else None
    chief = cluster is None or cluster.chief
    strategy = make_strategy(cluster)  # before anything is computed, as TensorFlow asks
    if args.batch_size % strategy.num_replicas_in_sync:
        raise UserError(
            f"--batch-size {args.batch_size} cannot be shared evenly by "
            f"{strategy.num_replicas_in_sync} replicas"
        )
    train_set, val_set = checked(args.train), checked(args.val)
    if args.batch_size > train_set.total:
        raise UserError(
            f"--batch-size {args.batch_size} is more than the {train_set.total} patches of {args.train}; "
            f"give a smaller one, or write more records"
        )
    if 2 * args.loss_border >= min(train_set.side, val_set.side):
        raise UserError(f"--loss-border {args.loss_border} leaves nothing of the patches")
    train_split, val_split = read_split(args.train), read_split(args.val)
    if train_split and val_split:
        check_disjoint(train_split, val_split)
    else:
        print("no split.json beside the records: whether both sets share images cannot be checked")
    steps = common_steps(train_split, val_split, args) if args.by_header else None

    args.log.mkdir(parents=True, exist_ok=True)
    with locked(args.log, args.log / LOCK_FILE) if chief else contextlib.nullcontext():
        claim_folder(args.log, args, train_set, val_set, write=chief)
        if chief and train_split:
            write_split(args.log, train_split)
        run = Run(args.log, strategy, lambda: make_optimizer(args), args.residual, args.seed, chief)
        if args.init:
            run.start_from(args.init)
        run.restore()
        with in_company(cluster):
            return go_on(args, strategy, run, train_set, val_set, steps)


def go_on(
    args: argparse.Namespace,
    strategy: tf.distribute.Strategy,
    run: Run,
    train_set: RecordSet,
    val_set: RecordSet,
    steps: Floats | None,
) -> int:
    """Train from where the run is, and draw the losses. Returns the exit status."""
    status = 0
    if run.step >= args.steps:
        print(f"finished: {args.log} is at step {run.step}; a larger --steps goes on")
    else:
        if run.begun:
            print(f"going on after step {run.step}")
        status = train(args, strategy, run, train_set, val_set, steps)
    if run.chief and run.rows:
        draw_losses(args.log / PICTURE_FILE, run.rows)  # again where finished: a kill may have come before it
        print(verdict(run, args.log))
    return status


def verdict(run: Run, log: Path) -> str:
    """What came of a training, in a line: the best weights' loss beside the JPG's own."""
    jpg_mse = run.rows[-1].inner_jpg_mse
    line = f"best validation loss {run.best:.3f}, the JPG's {jpg_mse:.3f}; all in {log}"
    if run.best < jpg_mse:
        return line
    return (
        f"{line}\nworse than no correction: do not use this net yet. Train on with a larger --steps, or into "
        f"a new log folder with --residual or a lower --learning-rate, and see whether the pairs belong "
        f"together (read_tfrecord.py --sheet)"
    )


if __name__ == "__main__":
    car_shell.run(main)
