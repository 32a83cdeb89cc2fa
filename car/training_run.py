"""A training run as it lies in its log folder: settings, full state, losses, best weights, TensorBoard."""

import contextlib
import csv
import json
import math
import re
import shlex
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import keras
import numpy as np
import tensorflow as tf

from car import cli, find, jpeg, split, weights
from car.arrays import Floats
from car.errors import UserError, reason_of
from car.files import whole_file
from car.records import naming
from car.weights import Parameters

LAYOUT_VERSION = 2  # of what a log folder holds of a run
STATES_KEPT = 2
TENSORBOARD_PATCHES = 6  # in TensorBoard
SETTINGS_FILE, CSV_FILE, PICTURE_FILE = "settings.json", "losses.csv", "losses.png"
STATE_FOLDER = "state"
TENSORBOARD_FOLDER = "tensorboard"


class Row(NamedTuple):
    """A row of the CSV: what a validation found. Losses and MSEs in squared grey levels.

    The training's are means since the row before; at step 0 there are none: nan, in the CSV nothing. The
    `inner` ones are of the pixels whose whole receptive field is real, as all are in correction: by these
    the best weights are chosen.
    """

    step: int
    train_loss: float
    train_jpg_mse: float
    val_loss: float
    val_jpg_mse: float
    inner_loss: float
    inner_jpg_mse: float
    learning_rate: float

    def __str__(self) -> str:
        """The row as a line for people; with the inner losses where these are of other pixels."""
        parts = [f"step {self.step:6}"]
        if self.step:
            parts.append(f"train {self.train_loss:.3f} (JPG {self.train_jpg_mse:.3f})")
        parts.append(f"val {self.val_loss:.3f} (JPG {self.val_jpg_mse:.3f})")
        if (self.inner_loss, self.inner_jpg_mse) != (self.val_loss, self.val_jpg_mse):
            parts.append(f"inner {self.inner_loss:.3f} (JPG {self.inner_jpg_mse:.3f})")
        return "   ".join([*parts, f"rate {self.learning_rate:.2e}"])


class Net(Protocol):
    """What a run needs of the net that it trains (model_car.CarNet)."""

    residual: bool
    gains: Floats
    weights: list[keras.Variable]
    trainable_variables: list[keras.Variable]

    def __call__(self, luma: tf.Tensor) -> tf.Tensor: ...

    def take(self, parameters: Parameters) -> None: ...

    def constants(self) -> Parameters: ...


def claim_folder(log: Path, settings: dict[str, Any], write: bool) -> None:
    """Write the settings of a new run into log, or compare them with those of the run that is there.

    settings: what a run must keep to give the losses that it began with. Raises UserError where they differ,
    and where the folder holds weights but no run, or a file of another origin that a run would overwrite.
    """
    path = log / SETTINGS_FILE
    if path.exists():
        try:
            before = dict(json.loads(path.read_text()))
        except (ValueError, TypeError, RecursionError) as error:
            raise UserError(
                f"{path} is damaged ({reason_of(error)}); train into a new log folder, with --init {log} to "
                f"start from its best weights"
            ) from error
        if before.get("version") != LAYOUT_VERSION:
            raise UserError(
                f"{log} holds a run of an older version of this suite, with which this one cannot go on; "
                f"train into another log folder, with --init {log} to start from its best weights"
            )
        for name, value in settings.items():
            if before.get(name) != value:
                raise UserError(
                    f"{log} holds a run with {name} = {before.get(name)}, not {value}. Give the same options "
                    f"and records to go on, or another log folder; --init {log} starts from its weights"
                )
    elif (log / weights.WEIGHTS_FILE).exists():
        raise UserError(
            f"{log} holds finished weights and no state to go on from; train into another folder, "
            f"with --init {log} to start from them"
        )
    elif write:
        for name in (CSV_FILE, PICTURE_FILE, split.SPLIT_FILE, STATE_FOLDER):
            if (log / name).exists():
                raise UserError(
                    f"{log / name} would be overwritten, and is of no run known here ({SETTINGS_FILE} is "
                    f"missing); train into another folder"
                )
        with whole_file(path, "w") as file:
            json.dump({"version": LAYOUT_VERSION, **settings}, file, indent=1)


def read_losses(path: Path) -> list[Row]:
    """Read the CSV's rows, none where there is no CSV. Raises UserError for a damaged one, with the line."""
    rows: list[Row] = []
    if not path.exists():
        return rows
    try:
        with open(path, newline="") as file:
            reader = csv.reader(file)
            if next(reader, None) != list(Row._fields):
                raise ValueError("its names of columns are not those written here")
            for step, *losses in reader:
                rows.append(Row(int(step), *(float(loss or "nan") for loss in losses)))
                if not all(map(math.isfinite, rows[-1][3:] if rows[-1].step == 0 else rows[-1])):
                    raise ValueError("numbers are wanted")
    except (ValueError, TypeError, csv.Error) as error:
        raise UserError(
            f"{path} is damaged near line {len(rows) + 1} ({reason_of(error)}); mend it, or remove it to go "
            f"on without the losses so far"
        ) from error
    return rows


def write_losses(path: Path, rows: list[Row]) -> None:
    """Write the CSV."""
    with whole_file(path, "w") as file:
        lines = [["" if math.isnan(value) else f"{value:.8g}" for value in row] for row in rows]
        csv.writer(file, lineterminator="\n").writerows([Row._fields, *lines])


# TensorFlow's own checkpoints are not used: its manager takes the path of a log for a pattern, and clearing
# up in `log[1]` removes the states of `log1` (tensorflow/tensorflow issue 34290).


def state_file(folder: Path, step: int) -> Path:
    """Where the state of a step lies."""
    return folder / f"step_{step}.npz"


def states_in(folder: Path) -> list[int]:
    """The steps of which a folder holds states, whole or not, in order."""
    names = (re.fullmatch(r"step_(\d+)\.npz", path.name) for path in folder.glob("*.npz"))
    return sorted(int(match[1]) for match in names if match)


class Run:
    """Net, optimizer, the state that survives a kill, and the rows of the CSV.

    make_net and make_optimizer are called in the strategy's scope; chief: whether this process writes files;
    coarseness: of the JPGs trained on, to be kept with the weights; None where it is not known.
    """

    def __init__(
        self,
        log: Path,
        strategy: tf.distribute.Strategy,
        make_net: Callable[[], Net],
        make_optimizer: Callable[[], keras.optimizers.Optimizer],
        chief: bool,
        coarseness: jpeg.Span | None = None,
    ) -> None:
        self.log, self.chief, self.coarseness = log, chief, coarseness
        self.step, self.best = 0, math.inf  # steps done; the least inner loss so far
        self.sums = np.zeros(3)  # since the last row: losses, the JPG's MSEs, steps
        self.rows: list[Row] = []
        self.begun = False  # whether it goes on from a state
        with strategy.scope():
            self.net = make_net()
            self.optimizer = make_optimizer()
            self.optimizer.build(self.net.trainable_variables)

    @property
    def variables(self) -> list[keras.Variable]:
        """What a step of training changes: weights, and the optimizer's moments and count."""
        return [*self.net.weights, *self.optimizer.variables]

    def start_from(self, init: Path) -> None:
        """Take best weights and gains of another log folder. Raises UserError for the other kind of net."""
        source = weights.load(init)
        if source.residual != self.net.residual:
            kind = "residual" if source.residual else "faithful"
            raise UserError(f"{init} holds a {kind} net; --residual must say the same")
        self.net.take(source.parameters)
        self.net.gains = source.gains

    def restore(self) -> None:
        """Go on from the newest state that is whole, if there is one; forget the CSV's rows beyond it.

        The gains are those beside the log's best weights: they may have been fitted since. Raises UserError
        where no state is whole, or one is missing that there must have been, or the best weights are damaged.
        """
        folder = self.log / STATE_FOLDER
        rows, steps, faults = read_losses(self.log / CSV_FILE), states_in(folder), []
        while steps and (fault := self._take_state(state_file(folder, steps[-1]))):
            faults.append(f"{state_file(folder, steps.pop())} is damaged ({fault})")
        if steps:
            self.net.gains = weights.load(self.log).gains
        elif len(faults) > 1 or len(rows) > 1:  # more than a kill while the first one is saved can leave
            raise UserError(
                f"{'; '.join(faults) or f'{folder} holds no state'}, so there is none to go on from; train "
                f"into a new log folder, with --init {self.log} to start from its best weights"
            )
        for fault in faults:
            onward = f"going on from step {self.step}, the one before" if steps else "starting again"
            cli.say(f"{fault}; {onward}")
        self.begun = bool(steps)
        self.rows = [row for row in rows if self.begun and row.step <= self.step]
        if self.chief and self.begun:
            self._clear_states()

    def _take_state(self, path: Path) -> str:
        """Take a state over. Returns what is wrong with the file, or "" for nothing."""
        try:
            arrays = weights.read_arrays(path)
            step, best, sums = int(arrays["step"]), float(arrays["best"]), arrays["sums"]
            values = [arrays[f"variable_{number}"] for number in range(len(arrays) - 3)]
        except OSError:
            raise
        except Exception as error:  # whatever the parsers of zip and numpy stumble over
            return reason_of(error)
        if [value.shape for value in values] != [tuple(variable.shape) for variable in self.variables]:
            return "it holds other arrays than this net and optimizer"
        self.step, self.best, self.sums = step, best, sums
        for variable, value in zip(self.variables, values, strict=True):
            variable.assign(value)
        return ""

    def save(self) -> None:
        """Save the full state, and remove all but the two newest."""
        if not self.chief:
            return
        arrays: dict[str, Any] = {
            f"variable_{number}": np.asarray(value) for number, value in enumerate(self.variables)
        }
        folder = self.log / STATE_FOLDER
        folder.mkdir(exist_ok=True)  # the log itself is not made again: it went away
        arrays |= {"step": self.step, "best": self.best, "sums": self.sums}
        weights.write_arrays(state_file(folder, self.step), arrays)
        self._clear_states()

    def _clear_states(self) -> None:
        """Remove all states but the two newest: older and half written ones, and those beyond this step."""
        folder = self.log / STATE_FOLDER
        kept = [step for step in states_in(folder) if step <= self.step][-STATES_KEPT:]
        for path in folder.iterdir():
            match = re.fullmatch(r"\.?step_(\d+)\.npz(\.partial)?", path.name)
            if match and (int(match[1]) not in kept or match[2]):
                path.unlink()

    def count(self, step: int, loss: float, jpg_mse: float) -> None:
        """Note that a step is done, with its training loss and the JPG's own MSE."""
        self.step = step
        self.sums += [loss, jpg_mse, 1]

    def add_row(self, val_loss: float, val_jpg_mse: float, inner_loss: float, inner_jpg_mse: float) -> Row:
        """Close a CSV row at this step and return it; keep the weights if they are the best so far."""
        loss, jpg_mse, steps = self.sums
        means = (loss / steps, jpg_mse / steps) if steps else (math.nan, math.nan)
        rate = float(tf.convert_to_tensor(self.optimizer.learning_rate))
        row = Row(self.step, *means, val_loss, val_jpg_mse, inner_loss, inner_jpg_mse, rate)
        self.rows.append(row)
        self.sums = np.zeros(3)
        better = inner_loss < self.best
        if better:
            self.best = inner_loss
        if self.chief:
            if better:
                net = self.net
                about = self.step, inner_loss, inner_jpg_mse, self.coarseness
                weights.save(self.log, weights.Weights(net.residual, net.constants(), net.gains, *about))
            write_losses(self.log / CSV_FILE, self.rows)
        return row


def verdict(run: Run) -> str:
    """What came of a training, in a line: the best weights' loss beside the JPG's own."""
    jpg_mse = run.rows[-1].inner_jpg_mse
    line = f"best validation loss {run.best:.3f}, the JPG's {jpg_mse:.3f}; all in {run.log}"
    if run.best < jpg_mse:
        return line
    return (
        f"{line}. It is worse than no correction: do not use this net yet. Train on with a larger --steps, "
        f"or into a new log folder with --residual or a lower --learning-rate, and see whether the pairs "
        f"belong together (read_tfrecord.py --sheet)"
    )


def how_to_compare(run: Run, workdir: Path, records: Path) -> str:
    """A line on how this net and the shipped ones meet on the test set; empty where it holds no JPGs."""
    written = split.read(run.log)
    names = set(written["sets"]["test"]) if written else set()
    data, recursive = Path(written["folders"][0]) if written else workdir, any("/" in name for name in names)
    if not data.is_dir():
        return ""
    there = find.in_folder(data, find.JPEG_SUFFIXES, recursive).pictures
    if not any(picture.stem in names for picture in there):
        return ""

    def command(log: str, results: str, *further: str) -> str:
        options = ["--recursive"] * recursive + ["--split", "test", *further]
        place = [str(workdir), log, _below(data, workdir), results]
        return shlex.join(["python", "run_car_images.py", *place, *options])

    own = command(_below(run.log, workdir), "by_own")
    shipped = command("pretrained", "by_shipped", "--records", _below(records, workdir))
    return f"to compare it on the test set with the weights that came with this: {own} && {shipped}"


def _below(path: Path, workdir: Path) -> str:
    """A path as it is typed on a command line: from the working folder where it lies there."""
    path, workdir = path.resolve(), workdir.resolve()
    return str(path.relative_to(workdir) if path.is_relative_to(workdir) else path)


# ---- TensorBoard ---------------------------------------------------------------------------


@contextlib.contextmanager
def summaries(run: Run) -> Iterator[Callable[[Row, tuple[tf.Tensor, tf.Tensor]], None]]:
    """Yield the function (row, shown) that sends a row to TensorBoard; others than the chief send nothing.

    shown: (jpg, bmp), patches of which a few are drawn, [N, side, side, 1] in grey levels.
    """
    folder = run.log / TENSORBOARD_FOLDER
    with naming(folder):
        writer = tf.summary.create_file_writer(str(folder)) if run.chief else tf.summary.create_noop_writer()

    def send(row: Row, shown: tuple[tf.Tensor, tf.Tensor]) -> None:
        if run.chief:
            with naming(folder):
                _summarise(row, run.net, shown)
                writer.flush()

    with writer.as_default():
        yield send


def _summarise(row: Row, net: Net, shown: tuple[tf.Tensor, tf.Tensor]) -> None:
    """Losses, learning rate, histograms of the weights, and a few patches JPG | corrected | BMP."""
    values = row._asdict()
    step = values.pop("step")
    tf.summary.scalar("learning_rate", values.pop("learning_rate"), step)
    for name, value in values.items():
        if not math.isnan(value):
            tf.summary.scalar(f"losses/{name}", value, step)
    for weight in net.weights:
        tf.summary.histogram(f"weights/{weight.name}", weight.value, step)
    jpg, bmp = (tf.cast(patches[:TENSORBOARD_PATCHES], tf.float32) for patches in shown)
    row_of_three = tf.concat([jpg, net(jpg), bmp], axis=2)
    picture = tf.cast(tf.clip_by_value(tf.round(row_of_three), 0, 255), tf.uint8)
    tf.summary.image("JPG, corrected, BMP", picture, step, max_outputs=TENSORBOARD_PATCHES)
