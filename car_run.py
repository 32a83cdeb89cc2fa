"""A training run as it lies in its log folder: settings, full state, losses, best weights."""

import argparse
import csv
import functools
import json
import math
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import car_shell  # first: it starts TensorFlow quietly
import keras
import numpy as np
import tensorflow as tf
from car_shell import UserError, naming, reason_of, whole_file

from car_ds_loader import RecordSet
from car_split import SPLIT_FILE
from model_car import WEIGHTS_FILE, CarNet, load_net, save_weights

COLUMNS = ("step", "train_loss", "train_jpg_mse", "val_loss", "val_jpg_mse", "learning_rate")
SETTINGS_FILE, CSV_FILE, PICTURE_FILE = "settings.json", "losses.csv", "losses.png"
STATE_FOLDER = "state"
# The options that a run must keep to give the losses that it began with; --steps may grow.
SETTINGS = (
    *("residual", "loss_border", "by_header", "augment", "mirror", "batch_size", "learning_rate"),
    *("schedule", "optimizer", "seed", "init", "val_every", "val_patches"),
)


def claim_folder(
    log: Path, args: argparse.Namespace, train_set: RecordSet, val_set: RecordSet, write: bool
) -> None:
    """Write the settings of a new run into log, or compare them with those of the run that is there.

    Raises UserError where they differ, and where the folder holds weights but no run, or a
    file of another origin that a run would overwrite.
    """
    settings = {name: getattr(args, name) for name in SETTINGS}
    settings["init"] = str(args.init) if args.init else None
    for name, records in (("train", train_set), ("val", val_set)):
        settings |= {f"{name}_records": records.total, f"{name}_mse": records.mse}
    path = log / SETTINGS_FILE
    if path.exists():
        try:
            before = dict(json.loads(path.read_text()))
        except (ValueError, TypeError, RecursionError) as error:
            raise UserError(
                f"{path} is damaged ({reason_of(error)}); train into a new log folder, with --init {log} to "
                f"start from its best weights"
            ) from error
        for name, value in settings.items():
            if before.get(name) != value and (name in before or value):  # an older run knew fewer options
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
        for name in (CSV_FILE, PICTURE_FILE, SPLIT_FILE, STATE_FOLDER):
            if (log / name).exists():
                raise UserError(
                    f"{log / name} would be overwritten, and is of no run known here ({SETTINGS_FILE} is "
                    f"missing); train into another folder"
                )
        with whole_file(path, "w") as file:
            json.dump(settings, file, indent=1)


Row = tuple[float, ...]  # of the CSV, as COLUMNS say; the first is a whole number


def read_losses(path: Path) -> list[Row]:
    """Read the CSV's rows, none where there is no CSV. Raises UserError for a damaged one, with the line."""
    rows: list[Row] = []
    if not path.exists():
        return rows
    try:
        with open(path, newline="") as file:
            reader = csv.reader(file)
            if next(reader, None) != list(COLUMNS):
                raise ValueError("its names of columns are not those written here")
            for step, *losses in reader:
                rows.append((int(step), *map(float, losses)))
                if len(rows[-1]) != len(COLUMNS) or not all(map(math.isfinite, rows[-1])):
                    raise ValueError(f"{len(COLUMNS)} numbers are wanted")
    except (ValueError, csv.Error) as error:
        raise UserError(
            f"{path} is damaged near line {len(rows) + 1} ({reason_of(error)}); mend it, or remove it to go "
            f"on without the losses so far"
        ) from error
    return rows


def states_in(folder: Path) -> list[Path]:
    """The states of a folder by their step, whole or not, without suffix, as TensorFlow wants them."""
    steps = (re.fullmatch(r"ckpt-(\d+)\.index", path.name) for path in folder.glob("ckpt-*.index"))
    return [folder / f"ckpt-{step}" for step in sorted(int(match[1]) for match in steps if match)]


def fault_of(state: Path) -> str:
    """Read a state through, by which TensorFlow compares its checksums. Returns what is wrong, or ""."""
    try:
        reader = tf.train.load_checkpoint(str(state))
        for name in reader.get_variable_to_shape_map():
            reader.get_tensor(name)
    except Exception as error:  # whatever TensorFlow's parsing stumbles over
        return reason_of(error)
    return ""


class Run:
    """Net, optimizer, the state that survives a kill, and the rows of the CSV.

    make_optimizer is called in the strategy's scope; chief says whether this process writes files.
    """

    def __init__(
        self,
        log: Path,
        strategy: tf.distribute.Strategy,
        make_optimizer: Callable[[], keras.optimizers.Optimizer],
        residual: bool,
        seed: int,
        chief: bool,
    ) -> None:
        self.log, self.chief = log, chief
        self.rows: list[Row] = []
        with strategy.scope():
            self.net = CarNet(residual, seed)
            self.optimizer = make_optimizer()
            self.optimizer.build(self.net.trainable_variables)
        self.step = tf.Variable(0, dtype=tf.int64)
        self.best = tf.Variable(np.inf, dtype=tf.float64)
        self.sums = tf.Variable(np.zeros(3))  # since the last row: losses, the JPG's MSEs, steps
        self.state = tf.train.Checkpoint(
            net=self.net, optimizer=self.optimizer, step=self.step, best=self.best, sums=self.sums
        )

    def start_from(self, init: Path) -> None:
        """Take the best weights of another log folder. Raises UserError for the other kind of net."""
        source = load_net(init)
        if source.residual != self.net.residual:
            kind = "residual" if source.residual else "faithful"
            raise UserError(f"{init} holds a {kind} net; --residual must say the same")
        for weight, value in zip(self.net.weights, source.weights, strict=True):
            weight.assign(value)
        self.net.gains = source.gains

    def restore(self) -> None:
        """Go on from the newest state that is whole, if there is one; forget the CSV's rows beyond it.

        Raises UserError where no state is whole, or one is missing that there must have been.
        """
        folder = self.log / STATE_FOLDER
        rows, states, faults = read_losses(self.log / CSV_FILE), states_in(folder), []
        while states and (fault := fault_of(states[-1])):
            faults.append(f"{states.pop()} is damaged ({fault})")
        if states:
            self._restore(states[-1])
        elif len(faults) > 1 or len(rows) > 1:  # more than a kill while the first one is saved can leave
            raise UserError(
                f"{'; '.join(faults) or f'{folder} holds no state'}, so there is none to go on from; train "
                f"into a new log folder, with --init {self.log} to start from its best weights"
            )
        for fault in faults:
            onward = f"going on from {states[-1].name}, the one before" if states else "starting again"
            car_shell.say(f"{fault}; {onward}")
        self.rows = [row for row in rows if row[0] <= int(self.step)]
        if self.chief:
            self._list(states)

    def _list(self, states: list[Path]) -> None:
        """Write TensorFlow's list of states anew: it may be damaged, or have it delete files elsewhere."""
        folder = self.log / STATE_FOLDER
        if states:
            tf.compat.v1.train.update_checkpoint_state(
                str(folder),
                str(states[-1]),
                [str(state) for state in states],
                all_model_checkpoint_timestamps=range(1, len(states) + 1),  # of age alone
                last_preserved_timestamp=0,
            )
        else:
            (folder / "checkpoint").unlink(missing_ok=True)

    def _restore(self, state: Path) -> None:
        """Take a whole state. Raises UserError where it is one of another net or optimizer."""
        try:
            self.state.restore(str(state)).assert_consumed()
        except (tf.errors.OpError, AssertionError, ValueError) as error:
            raise UserError(
                f"{state} is of another program ({reason_of(error)}); train into a new log folder, with "
                f"--init {self.log} to start from its best weights"
            ) from error

    @functools.cached_property
    def states(self) -> tf.train.CheckpointManager:
        """The two newest states on disk; first used after restore."""
        return tf.train.CheckpointManager(self.state, str(self.log / STATE_FOLDER), max_to_keep=2)

    def save(self) -> None:
        """Save the full state."""
        if self.chief:
            with naming(self.log / STATE_FOLDER):
                self.log.stat()  # a folder that went away is not to be made anew
                self.states.save(checkpoint_number=int(self.step))
                self._clear_leftovers()

    def _clear_leftovers(self) -> None:
        """Remove the states, whole or half, that a killed run left unlisted beside those that are listed."""
        listed = {Path(path).name for path in self.states.checkpoints}
        for path in (self.log / STATE_FOLDER).iterdir():
            match = re.fullmatch(r"(ckpt-\d+)(_temp|\..*)|checkpoint\.tmp.*", path.name)
            if match and match[1] not in listed:
                if path.is_dir():
                    shutil.rmtree(path)
                else:
                    path.unlink()

    def count(self, step: int, loss: float, jpg_mse: float) -> None:
        """Note that a step is done, with its training loss and the JPG's own MSE."""
        self.step.assign(step)
        self.sums.assign_add([loss, jpg_mse, 1])

    def add_row(self, val_loss: float, val_jpg_mse: float) -> Row:
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
