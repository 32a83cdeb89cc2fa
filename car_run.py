"""A training run as it lies in its log folder: settings, full state, losses, best weights."""

import csv
import json

import car_shell  # noqa: F401  (first: it starts TensorFlow quietly)
import numpy as np
import tensorflow as tf
from car_shell import UserError, whole_file

from model_car import WEIGHTS_FILE, CarNet, load_net, save_weights

COLUMNS = ("step", "train_loss", "train_jpg_mse", "val_loss", "val_jpg_mse", "learning_rate")
SETTINGS_FILE, CSV_FILE = "settings.json", "losses.csv"
# The options that a run must keep to give the losses that it began with; --steps may grow.
SETTINGS = (
    *("residual", "loss_border", "augment", "batch_size", "learning_rate", "schedule", "optimizer"),
    *("seed", "init", "val_every", "val_patches"),
)


def claim_folder(log, args, train_set, val_set, write):
    """Write the settings of a new run into log, or compare them with those of the run that is there.

    Raises UserError where they differ, and where the folder holds weights but no run.
    """
    settings = {name: getattr(args, name) for name in SETTINGS}
    settings["init"] = str(args.init) if args.init else None
    for name, records in (("train", train_set), ("val", val_set)):
        settings |= {f"{name}_records": records.total, f"{name}_mse": records.mse}
    path = log / SETTINGS_FILE
    if path.exists():
        try:
            before = json.loads(path.read_text())
        except ValueError as error:
            raise UserError(f"{path} is damaged; train into a new log folder") from error
        for name, value in settings.items():
            if before.get(name) != value:
                raise UserError(
                    f"{log} holds a run with {name} = {before.get(name)}, not {value}. Give the same options "
                    f"and records to go on, or another log folder; --init {log} starts from its weights"
                )
    elif (log / WEIGHTS_FILE).exists():
        raise UserError(
            f"{log} holds finished weights and no state to go on from; train into another folder, "
            f"with --init {log} to start from them"
        )
    elif write:
        with whole_file(path, "w") as file:
            json.dump(settings, file, indent=1)


class Run:
    """Net, optimizer, the state that survives a kill, and the rows of the CSV.

    make_optimizer is called in the strategy's scope; chief says whether this process writes files.
    """

    def __init__(self, log, strategy, make_optimizer, residual, seed, chief):
        self.log, self.chief, self.rows = log, chief, []
        with strategy.scope():
            self.net = CarNet(residual, seed)
            self.optimizer = make_optimizer()
            self.optimizer.build(self.net.trainable_variables)
        self.step = tf.Variable(0, dtype=tf.int64)
        self.best = tf.Variable(np.inf, dtype=tf.float64)
        self.sums = tf.Variable(np.zeros(3))  # since the last row: losses, the JPG's MSEs, steps
        checkpoint = tf.train.Checkpoint(
            net=self.net, optimizer=self.optimizer, step=self.step, best=self.best, sums=self.sums
        )
        self.states = tf.train.CheckpointManager(checkpoint, str(log / "state"), max_to_keep=2)

    def start_from(self, init):
        """Take the best weights of another log folder. Raises UserError for the other kind of net."""
        source = load_net(init)
        if source.residual != self.net.residual:
            kind = "residual" if source.residual else "faithful"
            raise UserError(f"{init} holds a {kind} net; --residual must say the same")
        for weight, value in zip(self.net.weights, source.weights, strict=True):
            weight.assign(value)

    def restore(self):
        """Go on from the newest state, if there is one; forget the CSV's rows beyond it."""
        newest = self.states.latest_checkpoint
        if newest is None:
            return
        try:
            self.states.checkpoint.restore(newest).assert_consumed()
        except (tf.errors.OpError, AssertionError, ValueError) as error:
            reason = str(error).splitlines()[0]
            raise UserError(
                f"{newest} is damaged or of another program ({reason}); train into a new log folder, "
                f"with --init {self.log} to start from its best weights"
            ) from error
        if (self.log / CSV_FILE).exists():
            with open(self.log / CSV_FILE, newline="") as file:
                rows = [[float(value) for value in row] for row in list(csv.reader(file))[1:]]
            self.rows = [(int(row[0]), *row[1:]) for row in rows if row[0] <= int(self.step)]

    def save(self):
        """Save the full state."""
        if self.chief:
            self.states.save(checkpoint_number=int(self.step))

    def count(self, step, loss, jpg_mse):
        """Note that a step is done, with its training loss and the JPG's own MSE."""
        self.step.assign(step)
        self.sums.assign_add([loss, jpg_mse, 1])

    def add_row(self, val_loss, val_jpg_mse):
        """Close a CSV row at this step and return it; keep the weights if they are the best so far."""
        loss, jpg_mse, steps = self.sums.numpy()
        rate = float(tf.convert_to_tensor(self.optimizer.learning_rate))
        row = (int(self.step), loss / steps, jpg_mse / steps, val_loss, val_jpg_mse, rate)
        self.rows.append(row)
        self.sums.assign(np.zeros(3))
        better = val_loss < float(self.best)
        if better:
            self.best.assign(val_loss)
        if self.chief:
            if better:
                save_weights(self.net, self.log, step=int(self.step), val_loss=val_loss)
            with whole_file(self.log / CSV_FILE, "w") as file:
                lines = [[f"{value:.8g}" for value in row] for row in self.rows]
                csv.writer(file, lineterminator="\n").writerows([COLUMNS, *lines])
        return row
