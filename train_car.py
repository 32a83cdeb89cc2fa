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

import os
import signal

import car_shell
import keras
import numpy as np
import tensorflow as tf
from car_shell import Progress, UserError

from car_ds_loader import check_records, training_batches, validation_batches
from car_plot import draw_losses
from car_run import COLUMNS, Run, claim_folder
from car_split import check_disjoint, read_split, write_split
from model_car import RADIUS, direct_layers, inner, layers_for, squared_error

PICTURE_FILE = "losses.png"
SHOWN_PATCHES = 6  # in TensorBoard
PART_PIXELS = 2**15  # of a batch that go through the net together
EVAL_PIXELS = 2**16  # in one validation batch, at the most
STATE_SECONDS = 60  # between two savings of the state: what a kill can cost


def arguments():
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
    parser.add_argument("--augment", action="store_true", help="flip and turn the training patches")
    parser.add_argument("--steps", type=car_shell.positive, default=800, help="(800)")
    parser.add_argument(
        "--batch-size", type=car_shell.positive, default=1000, metavar="N", help="patches in a step (1000)"
    )
    parser.add_argument("--learning-rate", type=float, default=1e-3, metavar="R", help="(0.001)")
    parser.add_argument(
        "--schedule",
        choices=("constant", "cosine"),
        default="constant",
        help="cosine: down to a hundredth at --steps (constant)",
    )
    parser.add_argument("--optimizer", choices=("adam", "muon"), default="adam", help="(adam)")
    parser.add_argument("--conv", choices=("fast", "direct"), help="form of layer 2 (fast; direct on a GPU)")
    parser.add_argument(
        "--seed", type=int, default=0, help="of the first weights and the order of patches (0)"
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
    if args.loss_border < 0 or not args.learning_rate > 0:
        parser.error("--loss-border must be at least 0 and --learning-rate above 0")
    if args.init:
        args.init = args.workdir / args.init
        if not args.init.is_dir():
            parser.error(f"argument --init: there is no folder {args.init}")
    return args


def make_strategy():
    """Several machines if TF_CONFIG says so, else all GPUs of this one, else its CPU."""
    if "TF_CONFIG" in os.environ:
        return tf.distribute.MultiWorkerMirroredStrategy()
    return tf.distribute.MirroredStrategy()


def is_chief(strategy):
    """Whether this process is the one that writes files."""
    cluster = strategy.cluster_resolver
    return not cluster or not cluster.task_type or cluster.task_id == 0


def make_optimizer(args):
    """Adam, or Muon on the kernel matrices with Adam on the biases and the last layer.

    Muon (Jordan 2024; Liu et al., arXiv 2502.16982) makes each update of a matrix orthogonal.
    """
    rate = args.learning_rate
    if args.schedule == "cosine":
        rate = keras.optimizers.schedules.CosineDecay(rate, args.steps, alpha=0.01)
    if args.optimizer == "adam":
        return keras.optimizers.Adam(rate)
    return keras.optimizers.Muon(rate, exclude_layers=["layer4"], weight_decay=None, adam_weight_decay=None)


def parts_of(patches, side, layers):
    """Into how many equal parts a batch is cut: the fewest of which each stays in a cache.

    The direct form gains nothing by it, and takes the batch as a whole.
    """
    if layers is direct_layers:
        return 1
    fits = (n for n in range(1, patches) if patches % n == 0 and patches // n * side**2 <= PART_PIXELS)
    return next(fits, patches)


def make_loss_and_gradients(net, layers, batch_size, border):
    """The function (jpg, bmp) -> [loss, the JPG's MSE, *gradients], sums over patches / batch_size."""

    @tf.function(jit_compile=True)
    def of_part(jpg, bmp):
        with tf.GradientTape() as tape:
            loss = tf.reduce_sum(squared_error(net, jpg, bmp, border, layers)) / batch_size
        jpg_mse = tf.reduce_mean(tf.square(inner(jpg - bmp, border))) * (jpg.shape[0] / batch_size)
        return [loss, jpg_mse, *tape.gradient(loss, net.trainable_variables)]

    def loss_and_gradients(jpg, bmp):
        parts = parts_of(*jpg.shape[:2], layers)
        pairs = zip(tf.split(jpg, parts), tf.split(bmp, parts), strict=True)
        return [tf.add_n(values) for values in zip(*(of_part(*pair) for pair in pairs), strict=True)]

    return loss_and_gradients


def make_train_step(strategy, run, layers, batch_size, border):
    """The function of one training step: (jpg, bmp) distributed batches -> (loss, JPG's MSE), means.

    Loss and gradients are compiled by XLA for each replica. apply_gradients stays outside: the
    sum over machines that it makes cannot be compiled for CPUs.
    """
    loss_and_gradients = make_loss_and_gradients(run.net, layers, batch_size, border)

    def replica_step(jpg, bmp):
        loss, jpg_mse, *gradients = loss_and_gradients(jpg, bmp)
        run.optimizer.apply_gradients(zip(gradients, run.net.trainable_variables, strict=True))
        return loss, jpg_mse

    @tf.function
    def train_step(batch):
        losses = strategy.run(replica_step, args=batch)
        return tuple(strategy.reduce(tf.distribute.ReduceOp.SUM, loss, axis=None) for loss in losses)

    return train_step


def make_validate(net, layers, batches, border):
    """The function of one validation: () -> (loss, JPG's MSE), means over the fixed choice of records."""

    @tf.function(jit_compile=True)
    def sums(jpg, bmp):
        jpg, bmp = tf.cast(jpg, tf.float32), tf.cast(bmp, tf.float32)
        untouched = tf.reduce_mean(tf.square(inner(jpg - bmp, border)), axis=[1, 2, 3])
        return tf.reduce_sum(squared_error(net, jpg, bmp, border, layers)), tf.reduce_sum(untouched)

    def validate():
        totals, count = np.zeros(2), 0
        for jpg, bmp in batches:
            totals += [float(value) for value in sums(jpg, bmp)]
            count += len(jpg)
        return totals / count

    return validate


def write_summaries(row, net, shown):
    """Send a CSV row, the weights and a few corrected patches to TensorBoard."""
    values = dict(zip(COLUMNS, row, strict=True))
    step = values.pop("step")
    tf.summary.scalar("learning_rate", values.pop("learning_rate"), step)
    for name, value in values.items():
        tf.summary.scalar(f"losses/{name}", value, step)
    for weight in net.weights:
        tf.summary.histogram(f"weights/{weight.name}", weight.value, step)
    jpg, bmp = (tf.cast(patches[:SHOWN_PATCHES], tf.float32) for patches in shown)
    row_of_three = tf.concat([jpg, net(jpg), bmp], axis=2)
    picture = tf.cast(tf.clip_by_value(tf.round(row_of_three), 0, 255), tf.uint8)
    tf.summary.image("JPG, corrected, BMP", picture, step, max_outputs=SHOWN_PATCHES)


def checked(folder):
    """Read a folder of records through, with a line for each file. Returns the RecordSet."""
    records = check_records(folder)
    size = f"{records.side}x{records.side}"
    print(f"{folder}: {records.total} patches of {size}, MSE of the JPG {records.mse:.3f}")
    return records


def check_finite(loss, step, log):
    """Raise UserError where a loss is NaN or infinite: further steps could not mend it."""
    if not np.isfinite(loss):
        raise UserError(
            f"the loss is {loss} at step {step}; stopped. What {log} holds of the steps before is kept; "
            f"train into a new log folder with a lower --learning-rate"
        )


class StopSignal:
    """Remembers SIGINT or SIGTERM, so that the loop ends after the step in hand."""

    def __init__(self):
        self.number = None
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, self._note)

    def _note(self, number, _frame):
        self.number = number


def train(args, strategy, run, train_set, val_set):
    """The loop. Returns the exit status: 0, or 128 + the signal that ended it early."""
    first_step = int(run.step)
    batches = training_batches(train_set, args.batch_size, args.seed, first_step, args.augment)
    options = tf.data.Options()
    options.experimental_distribute.auto_shard_policy = tf.data.experimental.AutoShardPolicy.DATA
    batches = iter(strategy.experimental_distribute_dataset(batches.with_options(options)))
    held_back = validation_batches(val_set, args.val_patches, max(1, EVAL_PIXELS // val_set.side**2))
    layers, _ = layers_for(args.conv)
    train_step = make_train_step(strategy, run, layers, args.batch_size, args.loss_border)
    validate = make_validate(run.net, layers, held_back, args.loss_border)
    writer = (
        tf.summary.create_file_writer(str(args.log / "tensorboard"))
        if run.chief
        else tf.summary.create_noop_writer()
    )
    shown = next(iter(held_back))
    stop = StopSignal()

    with Progress(args.steps, "steps", done=first_step) as progress, writer.as_default():
        saved_at = progress.seconds
        for step in range(first_step + 1, args.steps + 1):
            loss, jpg_mse = (float(value) for value in train_step(next(batches)))
            check_finite(loss, step, args.log)
            run.count(step, loss, jpg_mse)
            progress.step(note=f"loss {loss:.2f}")
            at_row = step % args.val_every == 0 or step == args.steps
            if at_row:
                val_loss, val_jpg_mse = validate()
                check_finite(val_loss, step, args.log)
                row = run.add_row(val_loss, val_jpg_mse)
                if run.chief:
                    write_summaries(row, run.net, shown)
                progress.say(
                    "step {:6d}   train {:.3f} (JPG {:.3f})   val {:.3f} (JPG {:.3f})   rate {:.2e}".format(
                        *row
                    )
                )
            if at_row or stop.number or progress.seconds - saved_at > STATE_SECONDS:
                run.save()
                saved_at = progress.seconds
            if stop.number:
                progress.say(f"stopped after step {step}; the same command goes on from there")
                return 128 + stop.number
    return 0


def main():
    """Check everything, then train. Returns the exit status."""
    args = arguments()
    strategy = make_strategy()
    chief, replicas = is_chief(strategy), strategy.num_replicas_in_sync
    if args.batch_size % replicas:
        raise UserError(f"--batch-size {args.batch_size} cannot be shared evenly by {replicas} replicas")
    train_set, val_set = checked(args.train), checked(args.val)
    if 2 * args.loss_border >= min(train_set.side, val_set.side):
        raise UserError(f"--loss-border {args.loss_border} leaves nothing of the patches")
    train_split, val_split = read_split(args.train), read_split(args.val)
    if train_split and val_split:
        check_disjoint(train_split, val_split)
    else:
        print("no split.json beside the records: whether both sets share images cannot be checked")

    args.log.mkdir(parents=True, exist_ok=True)
    claim_folder(args.log, args, train_set, val_set, write=chief)
    if chief and train_split:
        write_split(args.log, train_split)
    run = Run(args.log, strategy, lambda: make_optimizer(args), args.residual, args.seed, chief)
    if args.init:
        run.start_from(args.init)
    run.restore()
    if int(run.step) >= args.steps:
        print(f"finished: {args.log} is at step {int(run.step)}; a larger --steps goes on")
        return 0
    if int(run.step):
        print(f"going on after step {int(run.step)}")
    status = train(args, strategy, run, train_set, val_set)
    if chief and run.rows:
        draw_losses(args.log / PICTURE_FILE, run.rows)
        print(
            f"best validation loss {float(run.best):.3f}, the JPG's {run.rows[-1][4]:.3f}; all in {args.log}"
        )
    return status


if __name__ == "__main__":
    car_shell.run(main)
