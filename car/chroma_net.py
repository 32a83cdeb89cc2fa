"""The net of chroma in TensorFlow: four layers, Cb and Cr with the luma beside them to their changes.

    layer  kernel  maps      activation  parameters
    1      5x5      6 -> 64  ReLU             9,664
    2      3x3     64 -> 64  ReLU            36,928
    3      3x3     64 -> 32  ReLU            18,464
    4      5x5     32 ->  2  linear           1,602
                                             66,658

Stride 1; a change depends on the 13x13 samples of chroma around it (radius 6). chroma.py has what it sees.
"""

import functools
from collections.abc import Callable, Sequence
from typing import Any

import keras
import tensorflow as tf

from car import weights
from car.arrays import Floats, Pixels
from car.chroma import CHANGE_SCALE, MIDDLE, SCALE

LAST_LAYER_DEVIATION = 1e-3  # of the last kernel at the start: the net then changes next to nothing

Parameters = Sequence[tuple[tf.Tensor, tf.Tensor]]  # (kernel, bias) of each layer


class ChromaNet(keras.Model):
    """The layers, to be trained. Kernels are held as matrices [side * side * maps in, maps out], for Muon."""

    def __init__(self, seed: int = 0) -> None:
        super().__init__(name="chroma")
        for number, (side, maps_in, maps_out) in enumerate(weights.CHROMA_LAYERS, start=1):
            last = number == len(weights.CHROMA_LAYERS)
            spread = keras.initializers.HeNormal(seed + number)
            if last:
                spread = keras.initializers.RandomNormal(stddev=LAST_LAYER_DEVIATION, seed=seed + number)
            matrix = (side * side * maps_in, maps_out)
            self.add_weight(name=f"layer{number}_kernel", shape=matrix, initializer=spread)
            self.add_weight(name=f"layer{number}_bias", shape=(maps_out,), initializer="zeros")
        self.built = True

    def call(self, planes: tf.Tensor, products: tf.DType = tf.float32) -> tf.Tensor:
        """As change_of."""
        return change_of(planes, self.parameters(), 1.0, products)

    def parameters(self) -> Parameters:
        """(kernel [side, side, maps in, maps out], bias [maps out]) of each layer, as tensors."""
        pairs = zip(weights.CHROMA_LAYERS, self.weights[::2], self.weights[1::2], strict=True)
        return [
            (tf.reshape(kernel, (layer[0], *layer)), tf.convert_to_tensor(bias))
            for layer, kernel, bias in pairs
        ]


def change_of(
    planes: tf.Tensor, parameters: Parameters, contrast: Any, products: tf.DType = tf.float32
) -> tf.Tensor:
    """The changes of Cb and Cr, float32 [N, H - 12, W - 12, 2], of planes [N, H, W, 6]; grey levels.

    contrast: with which the net sees the planes, about mid-grey. products: tf.bfloat16 where the processor
    has units for it.
    """
    maps = tf.cast((tf.cast(planes, tf.float32) - MIDDLE) * (contrast / SCALE), products)
    for number, layer in enumerate(parameters, start=1):
        kernel, bias = (tf.cast(values, products) for values in layer)
        maps = tf.nn.bias_add(tf.nn.conv2d(maps, kernel, 1, "VALID"), bias)
        if number < len(parameters):
            maps = tf.nn.relu(maps)
    return tf.cast(maps, tf.float32) * (CHANGE_SCALE / contrast)


@functools.cache
def _graph(products: tf.DType) -> Callable[..., tf.Tensor]:
    """One graph for all nets of chroma, and from the second shape of tiles on for all shapes."""
    return tf.function(functools.partial(change_of, products=products), reduce_retracing=True)


def make_forward(
    parameters: weights.Parameters, products: tf.DType = tf.float32
) -> Callable[[Pixels, float], Floats]:
    """The net as correction calls it (correct.Net)."""
    constants = [(tf.constant(kernel), tf.constant(bias)) for kernel, bias in parameters]

    def forward(tiles: Pixels, contrast: float) -> Floats:
        # A contrast that is a tensor: no trace for each value.
        changes: Floats = _graph(products)(
            tf.constant(tiles), constants, tf.constant(contrast, tf.float32)
        ).numpy()
        return changes

    return forward
