"""Train the network on the records that the loaders wrote.

    python train_car.py WORKDIR log tfrecords/train tfrecords/val
    python train_car.py WORKDIR log tfrecords/train tfrecords/val --residual --augment

With no options this is the faithful net and the original's training: 800 steps of 1000
patches, Adam at a constant 0.001. --residual trains the net that learns the artifact alone;
it is the one to use. Stopped or killed, the same command goes on where it was. WORKDIR/log
receives the best weights by validation (model_checkpoint*), the state to go on from (state/),
losses.csv, losses.png, and what TensorBoard shows: tensorboard --logdir WORKDIR/log
--report writes WORKDIR/log/index.html, a page of the losses and of patches, at each validation.

On several machines start the same command on each; log and records must lie on a disk that all of them
see, and TF_CONFIG must name all of them and, as task, the one where it is set:

    TF_CONFIG='{"cluster": {"worker": ["host0:2222", "host1:2222"]}, "task": {"type": "worker", "index": 0}}'

Each reads its share of the records alone. --batch-size is the batch of all machines together, and gives the
losses of one. Where one is lost all end; start them again, as many as there are: they go on together.
"""

import argparse
import contextlib
import os
import sys
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from car import cli, files, optimizers, split, stop
from car.errors import UserError

if TYPE_CHECKING:  # all that loads TensorFlow is imported where it is used, once the arguments are good
    import keras
    import tensorflow as tf

    from car import jpeg, records, shares, training_run, training_step
    from car.arrays import Doubles, Floats

LOCK_FILE = ".car.lock"
VALIDATION_PIXELS_AT_A_TIME = 2**16  # in one batch of a validation, at the most
SECONDS_BETWEEN_STATES = 60  # what a kill can cost
# The options that a run must keep to give the losses that it began with; --steps may grow.
KEPT_OPTIONS = (
    *("residual", "loss_border", "by_header", "augment", "mirror", "batch_size", "learning_rate"),
    *("schedule", "optimizer", "seed", "init", "val_every", "val_patches"),
)


def arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    """Parse the command line."""
    parser = cli.parser(__doc__)
    parser.add_argument("workdir", metavar="WORKDIR", help="folder that the others are joined to")
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
        help="pixels at each side of a patch left out of the loss (0); at 9 all that count are real",
    )
    parser.add_argument(
        "--by-header",
        action="store_true",
        help="the loss is that of what correction keeps by the file's header; for records of one --quality, "
        "with --stride, --patch-size and --loss-border multiples of 8",
    )
    parser.add_argument("--augment", action="store_true", help="flip and turn the training patches")
    parser.add_argument("--mirror", action="store_true", help="flip them left to right only")
    parser.add_argument("--steps", type=cli.positive, default=800, metavar="N", help="of training (800)")
    parser.add_argument(
        "--batch-size", type=cli.positive, default=1000, metavar="N", help="patches in a step (1000)"
    )
    parser.add_argument("--learning-rate", type=float, default=1e-3, metavar="R", help="(0.001)")
    parser.add_argument(
        "--schedule",
        choices=("constant", "cosine"),
        default="constant",
        help="(constant); cosine: up in "
        f"{optimizers.COSINE_WARM_UP_STEPS} steps (--steps / 10 at most), down to 1/100",
    )
    parser.add_argument("--optimizer", choices=("adam", "muon"), default="adam", help="(adam)")
    parser.add_argument("--conv", choices=("fast", "direct"), help="form of layer 2 (fast; direct on a GPU)")
    parser.add_argument(
        "--precision",
        choices=cli.PRECISIONS,
        default=cli.PRECISIONS[0],
        help="bfloat16, with --residual, is faster on a GPU and on processors with AMX (float32)",
    )
    parser.add_argument(
        "--seed",
        type=cli.seed,
        default=0,
        metavar="N",
        help="of the first weights and the order of patches (0)",
    )
    parser.add_argument(
        "--init", metavar="LOG", help="start from the best weights of this log folder, with a fresh optimizer"
    )
    parser.add_argument(
        "--val-every", type=cli.positive, default=50, metavar="N", help="steps between validations (50)"
    )
    parser.add_argument(
        "--val-patches",
        type=cli.positive,
        default=2000,
        metavar="N",
        help="a fixed choice of this many validation patches (2000)",
    )
    parser.add_argument(
        "--report",
        action="store_true",
        help="also write log/index.html: losses, the worst and typical patches",
    )
    args = cli.parse(parser, argv, inputs=["train", "val"], outputs=["log"])
    if any(args.log.resolve() == records.resolve() for records in (args.train, args.val)):
        parser.error("log must be another folder than the records")
    if args.augment and args.mirror:
        parser.error("--augment includes --mirror; give one of them")
    if args.augment and args.by_header:
        parser.error("--by-header: turned patches would need a turned quantisation table; give --mirror")
    if args.conv == "fast" and args.precision == "bfloat16":
        parser.error("argument --precision: the fast form is one of float32; leave --conv out")
    if args.loss_border < 0 or not args.learning_rate > 0:
        parser.error("--loss-border must be at least 0 and --learning-rate above 0")
    if args.optimizer == "muon" and (why := optimizers.why_no_muon()):
        parser.error(f"argument --optimizer: {why}")
    if args.init:
        args.init = args.workdir / args.init
        if not args.init.is_dir():
            parser.error(f"argument --init: there is no folder {args.init}")
    return args


class Work(NamedTuple):
    """What the loop calls."""

    next_batch: Callable[[], "training_step.Batch"]
    train_step: Callable[["training_step.Batch"], "training_step.StepResult"]
    validate: Callable[[int], "Doubles"]  # of a step -> [N, 4]: loss, JPG's MSE, the same of the inner pixels
    show: Callable[["training_run.Row"], None]  # in TensorBoard
    report: Callable[["Doubles"], None]  # what validate gave, on the page


def train(args: argparse.Namespace, run: "training_run.Run", work: Work) -> int:
    """The loop. Returns the exit status: 0, or 128 + the signal that ended it early."""
    from car import training_step

    with cli.Progress(args.steps, "steps", done=run.step) as progress:
        saved_at = progress.seconds
        # From step 0 on: what a run began with counts among its best weights.
        for step in range(run.step + 1 if run.begun else 0, args.steps + 1):
            if step:
                loss, jpg_mse, sane = (value.numpy() for value in work.train_step(work.next_batch()))
                training_step.check_finite(loss, step, args.log, sane)
                run.count(step, loss, jpg_mse)
                progress.step(note=f"loss {loss:.2f}")
                cli.detail(f"step {step:6}   batch {loss:.3f} (JPG {jpg_mse:.3f})")
            at_row = step % args.val_every == 0 or step == args.steps
            if at_row:
                errors = work.validate(step)
                row = run.add_row(*errors.mean(axis=0).tolist())
                work.show(row)
                work.report(errors)
                cli.say(str(row))
            if at_row or stop.asked() or progress.seconds - saved_at > SECONDS_BETWEEN_STATES:
                run.save()
                saved_at = progress.seconds
            if stop.asked() and step < args.steps:
                cli.say(f"stopped after step {step}; the same command goes on from there")
                return stop.status()
    return 0


@cli.script
def main(argv: Sequence[str] | None = None) -> int:
    """Check everything, then train. Returns the exit status."""
    args = arguments(argv)
    cli.load_tensorflow()
    from car import pictures, shares, training_run, training_step, workers

    cluster = workers.read_cluster(os.environ.get("TF_CONFIG", ""))
    strategy = workers.make_strategy(cluster)  # before anything is computed, as TensorFlow asks
    if args.batch_size % (replicas := strategy.num_replicas_in_sync):
        raise UserError(f"--batch-size {args.batch_size} cannot be shared evenly by {replicas} replicas")
    company = workers.make_company(cluster, strategy)
    chief = company.number == 0
    with workers.in_company(cluster):
        train_set, val_set = (shares.read_through(folder, company) for folder in (args.train, args.val))
    check_sizes(args, train_set, val_set)
    train_split, val_split = split.read(args.train), split.read(args.val)
    if train_split and val_split:
        split.check_disjoint(train_split, val_split)
    else:
        cli.say("no split.json beside the records: whether both sets share images cannot be checked")
    sets = {args.train: train_split, args.val: val_split}
    table = training_step.common_table(sets, args.loss_border) if args.by_header else None

    args.log.mkdir(parents=True, exist_ok=True)
    with files.locked(args.log, args.log / LOCK_FILE) if chief else contextlib.nullcontext():
        training_run.claim_folder(args.log, settings_of(args, train_set, val_set), write=chief)
        if chief and train_split:
            split.write(args.log, train_split)
        coarseness = split.coarseness_of(train_split) if train_split else None
        run = begin(args, strategy, chief, coarseness)
        status, finished = 0, run.step >= args.steps
        if finished:
            cli.say(f"finished: {args.log} is at step {run.step}; a larger --steps goes on")
        elif run.begun:
            cli.say(f"going on after step {run.step}")
        if args.report or not finished:
            with workers.in_company(cluster), training_run.summaries(run) as send:
                work = prepare(args, strategy, company, run, train_set, val_set, table, send)
                if finished:
                    work.report(work.validate(run.step))
                else:
                    stop.hold("step")
                    status = train(args, run, work)
        if chief and run.rows:
            # Again where finished: a kill may have come before it.
            pictures.draw_losses(args.log / training_run.PICTURE_FILE, run.rows)
            cli.say(training_run.verdict(run))
            if line := training_run.how_to_compare(run, args.workdir, args.train):
                cli.say(line)
    return status


# ---- what is checked first -----------------------------------------------------------------


def check_sizes(
    args: argparse.Namespace, train_set: "records.RecordSet", val_set: "records.RecordSet"
) -> None:
    """Raise UserError for a batch larger than the set, or a border that leaves nothing."""
    if args.batch_size > train_set.total:
        raise UserError(
            f"--batch-size {args.batch_size} is more than the {train_set.total} patches of {args.train}; "
            f"give a smaller one, or write more records"
        )
    if 2 * args.loss_border >= min(train_set.side, val_set.side):
        raise UserError(f"--loss-border {args.loss_border} leaves nothing of the patches")


def settings_of(
    args: argparse.Namespace, train_set: "records.RecordSet", val_set: "records.RecordSet"
) -> dict[str, Any]:
    """What a run must keep: options, and what its records are."""
    settings = {name: getattr(args, name) for name in KEPT_OPTIONS}
    settings["init"] = str(args.init.resolve()) if args.init else None
    for name, found in (("train", train_set), ("val", val_set)):
        settings |= {f"{name}_records": found.total, f"{name}_mse": found.mse}
    return settings


# ---- what the loop calls -------------------------------------------------------------------


def begin(
    args: argparse.Namespace,
    strategy: "tf.distribute.Strategy",
    chief: bool,
    coarseness: "jpeg.Span | None",
) -> "training_run.Run":
    """The run, new, from --init, or from where it was. coarseness: of the JPGs of the training records."""
    import model_car
    from car import training_run

    def make_net() -> training_run.Net:
        return model_car.CarNet(args.residual, args.seed)

    def make_optimizer() -> "keras.optimizers.Optimizer":
        rate = args.learning_rate
        return optimizers.make(
            args.optimizer, optimizers.cosine(rate, args.steps) if args.schedule == "cosine" else rate
        )

    run = training_run.Run(args.log, strategy, make_net, make_optimizer, chief, coarseness)
    if args.init:
        run.start_from(args.init)
    run.restore()
    return run


def prepare(
    args: argparse.Namespace,
    strategy: "tf.distribute.Strategy",
    company: "shares.Company",
    run: "training_run.Run",
    train_set: "records.RecordSet",
    val_set: "records.RecordSet",
    table: "Floats | None",
    send: Callable[["training_run.Row", "training_step.Batch"], None],
) -> Work:
    """Set up the pipelines and compile what the loop calls."""
    import car_ds_loader
    import model_car
    from car import records, shares, training_step, weights

    net = run.net
    assert isinstance(net, model_car.CarNet)
    layers = model_car.layers_for(args.conv, args.precision, args.residual)
    if args.precision == "bfloat16" and layers is not model_car.bfloat16_layers:
        cli.say(model_car.why_float32(args.residual))
    whole = layers is model_car.direct_layers

    def errors(jpg: "tf.Tensor", bmp: "tf.Tensor", border: int) -> "tuple[tf.Tensor, tf.Tensor]":
        error = model_car.squared_error(net, jpg, bmp, border, layers, table)
        return error, model_car.untouched_error(jpg, bmp, border)

    turns = car_ds_loader.AS_IT_IS
    if args.augment or args.mirror:
        turns = car_ds_loader.ALL_TURNS if args.augment else car_ds_loader.MIRRORED

    def batches(share: "tf.distribute.InputContext | None") -> "tf.data.Dataset":
        return car_ds_loader.training_batches(train_set, args.batch_size, args.seed, run.step, turns, share)

    shared = iter(car_ds_loader.distributed(strategy, company.size, train_set, batches))

    def next_batch() -> "training_step.Batch":
        with records.naming(args.train):
            batch: training_step.Batch = next(shared)
        return batch

    variables = net.trainable_variables
    loss_and_gradients = training_step.make_loss_and_gradients(
        variables, errors, args.batch_size, args.loss_border, whole
    )
    train_step = training_step.make_train_step(
        strategy, variables, run.optimizer, loss_and_gradients, weights.LARGEST_WEIGHT
    )

    patches_at_a_time = max(1, VALIDATION_PIXELS_AT_A_TIME // val_set.side**2)
    val_batches = car_ds_loader.validation_batches(val_set, args.val_patches, patches_at_a_time)
    borders = args.loss_border, training_step.inner_border(args.loss_border, val_set.side, args.by_header)
    errors_of_each = training_step.make_validate(errors, val_batches, borders, whole)

    def validated(step: int) -> "Doubles":
        found = errors_of_each()
        training_step.check_finite(float(found[:, 0].mean()), step, args.log)
        training_step.check_alive((model_car.dead_part(net, jpg) for jpg, _ in val_batches), step, args.log)
        return found

    def validate(step: int) -> "Doubles":
        return shares.by_chief(company, lambda: validated(step))

    def show(row: "training_run.Row") -> None:
        if run.chief:  # nobody else reads a record of the validation
            send(row, next(iter(val_batches)))

    report = reporting(args, run, train_set, val_set, val_batches)
    return Work(next_batch, train_step, validate, show, report)


def reporting(
    args: argparse.Namespace,
    run: "training_run.Run",
    train_set: "records.RecordSet",
    val_set: "records.RecordSet",
    val_batches: "tf.data.Dataset",
) -> Callable[["Doubles"], None]:
    """The function that writes the page by what a validation found; without --report it does nothing."""
    if not (args.report and run.chief):
        return lambda errors: None
    import car_ds_loader
    from car import patch_page

    places = car_ds_loader.validation_places(val_set, args.val_patches)
    read = val_batches.as_numpy_iterator
    validated = patch_page.Validated(val_set, split.read(args.val), places, read)
    settings = settings_of(args, train_set, val_set)
    page = patch_page.TrainingPage(
        args.log, settings, args.steps, validated, lambda jpg: run.net(jpg).numpy()
    )
    return lambda errors: page.write(run.rows, errors)


if __name__ == "__main__":
    sys.exit(main())
