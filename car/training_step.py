"""One step of training, and one validation, as functions that TensorFlow has compiled.

What the error of a net is comes from outside (model_car.squared_error): errors is a function
(jpg, bmp, border) -> (error of each patch, the JPG's own), float32 [N, side, side, 1] to float32 [N] each.
"""

import math
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

from car import jpeg, split, weights
from car.arrays import Doubles, Floats
from car.errors import UserError

PIXELS_AT_A_TIME = 2**15  # of a batch that go through the net together

Batch = tuple[tf.Tensor, tf.Tensor]  # jpg and bmp, float32 [N, side, side, 1]
Errors = Callable[[tf.Tensor, tf.Tensor, int], tuple[tf.Tensor, tf.Tensor]]
LossAndGradients = Callable[[tf.Tensor, tf.Tensor], list[tf.Tensor]]
StepResult = tuple[tf.Tensor, tf.Tensor, tf.Tensor]  # the net's loss, the JPG's own, whether weights are sane


def parts_of(patches: int, side: int) -> tuple[int, int]:
    """Into how many parts of how many patches a batch is cut: the fewest of which each stays in a cache.

    The last part may not be full.
    """
    parts = math.ceil(patches / max(1, PIXELS_AT_A_TIME // side**2))
    return parts, math.ceil(patches / parts)


def make_loss_and_gradients(
    variables: list[keras.Variable], errors: Errors, batch_size: int, border: int, whole: bool
) -> LossAndGradients:
    """The function (jpg, bmp) -> [loss, the JPG's MSE, *gradients], sums over patches / batch_size.

    whole: for the direct form of layer 2. XLA then compiles loss and gradients as a whole, and parts gain
    nothing. The fast form compiles its sums by itself (fast_conv) and leaves the convolutions to oneDNN,
    which makes twice the speed of a whole by XLA.
    """

    @tf.function(jit_compile=whole)
    def of_part(jpg: tf.Tensor, bmp: tf.Tensor, counts: tf.Tensor) -> list[tf.Tensor]:
        """counts: float32 [N], 1 for each patch of the batch, 0 for one that fills up the last part."""
        with tf.GradientTape() as tape:
            error, jpg_error = errors(jpg, bmp, border)
            loss = tf.reduce_sum(counts * error) / batch_size
        jpg_mse = tf.reduce_sum(counts * jpg_error) / batch_size
        return [loss, jpg_mse, *tape.gradient(loss, variables)]

    def loss_and_gradients(jpg: tf.Tensor, bmp: tf.Tensor) -> list[tf.Tensor]:
        parts, size = (1, jpg.shape[0]) if whole else parts_of(jpg.shape[0], jpg.shape[1])
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
    variables: list[keras.Variable],
    optimizer: keras.optimizers.Optimizer,
    loss_and_gradients: LossAndGradients,
    largest: float,
) -> Callable[[Batch], StepResult]:
    """The function of one step: (jpg, bmp) distributed batches -> (loss, JPG's MSE, are the weights sane).

    The losses are means. Weights are sane where they are smaller than `largest`: a loss alone does not tell,
    as oneDNN's ReLU makes 0 of NaN.

    What XLA compiles is loss and gradients, for each replica. apply_gradients stays outside: the
    sum over machines that it makes cannot be compiled for CPUs.
    """

    def replica_step(jpg: tf.Tensor, bmp: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        loss, jpg_mse, *gradients = loss_and_gradients(jpg, bmp)
        optimizer.apply_gradients(zip(gradients, variables, strict=True))
        return loss, jpg_mse

    @tf.function
    def train_step(batch: Batch) -> StepResult:
        losses = strategy.run(replica_step, args=batch)
        loss, jpg_mse = (strategy.reduce(tf.distribute.ReduceOp.SUM, part, axis=None) for part in losses)
        sane = [tf.reduce_all(tf.abs(weight) < largest) for weight in variables]
        return loss, jpg_mse, tf.reduce_all(sane)

    return train_step


def make_validate(
    errors: Errors, batches: tf.data.Dataset, borders: tuple[int, int], whole: bool
) -> Callable[[], Doubles]:
    """The function of one validation: the errors of each record of batches (int16, grey levels).

    () -> [N, 4]: loss and JPG's MSE without the first of the borders, and the same without the second.
    """

    @tf.function(jit_compile=whole)
    def of_each(jpg: tf.Tensor, bmp: tf.Tensor) -> tf.Tensor:
        jpg, bmp = tf.cast(jpg, tf.float32), tf.cast(bmp, tf.float32)
        found = {border: errors(jpg, bmp, border) for border in set(borders)}
        return tf.stack([*found[borders[0]], *found[borders[1]]], axis=1)

    def validate() -> Doubles:
        return np.concatenate([of_each(jpg, bmp).numpy() for jpg, bmp in batches]).astype(np.float64)

    return validate


# ---- which pixels count --------------------------------------------------------------------


def inner_border(border: int, side: int, by_header: bool) -> int:
    """The pixels at each side of a patch that do not count where the best weights are chosen.

    RADIUS: pixels whose receptive field reaches over the edge see zeros there, which correction never
    does. Where the loss is by header, its own border, on whole blocks; and of patches too small to hold
    a real pixel all count that do in training.
    """
    return border if by_header or side <= 2 * weights.RADIUS else weights.RADIUS


def common_table(sets: Mapping[Path, split.Split | None], border: int) -> Floats:
    """The quantisation table [8, 8] of all records, whose blocks the loss then sees. Raises UserError.

    sets: of the folders of records what their split.json says; border: that of the loss, in pixels.
    """
    splits = {folder: content or {} for folder, content in sets.items()}
    qualities = [content.get("quality") or [] for content in splits.values()]
    if any(len(quality) != 1 or quality != qualities[0] for quality in qualities):
        found = ", ".join(
            f"{folder} has {content.get('quality') or 'none'}" for folder, content in splits.items()
        )
        raise UserError(
            f"--by-header needs train and val records made with one and the same --quality, so that one "
            f"quantisation table holds for all; by their split.json {found}"
        )
    lengths = [content[name] for content in splits.values() for name in ("patch_size", "stride")]
    if border < weights.RADIUS or any(length % jpeg.BLOCK for length in (border, *lengths)):
        raise UserError(
            f"--by-header sees whole blocks: --loss-border ({border}; {2 * jpeg.BLOCK} at least), "
            f"and --patch-size and --stride of the loaders must be multiples of {jpeg.BLOCK}"
        )
    return jpeg.table_of_quality(qualities[0][0])


# ---- faults that no further step can mend --------------------------------------------------


def check_finite(loss: float, step: int, log: Path, sane: bool = True) -> None:
    """Raise UserError where a loss is NaN or infinite, or a weight is: further steps could not mend it."""
    if not (math.isfinite(loss) and sane):
        what = "a weight is huge or no number" if math.isfinite(loss) else f"the loss is {loss}"
        raise UserError(
            f"{what} at step {step}; stopped. What {log} holds of the steps before is kept; "
            f"train into a new log folder with a lower --learning-rate"
        )


def check_alive(dead_parts: Iterable[str], step: int, log: Path) -> None:
    """Raise UserError where a part of the net is 0 for all patches: no step could mend it.

    dead_parts: for each batch what is 0 there, empty for a net alive (model_car.dead_part).
    """
    dead = ""
    for dead in dead_parts:
        if not dead:
            return
    raise UserError(
        f"the net is dead at step {step}: {dead}, so that nothing more can be learned; stopped. What {log} "
        f"holds of the steps before is kept; train into a new log folder with another --seed or a lower "
        f"--learning-rate"
    )
