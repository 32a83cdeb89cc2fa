"""The fast form of the 7x7 layer: fewer multiplications by Toom-Cook, one-dimensional, along the width.

A row of m outputs of a 7-tap filter is a part of the product of two polynomials. A product of
degree n - 1 is known by its values at n = m + 6 points, so that n multiplications do the work of
7 m: 16 that of 70 where m is 10, or 14 that of 56 where m is 8.

    outputs = A [ (G kernel) * (B inputs) ]     B n x n, G n x 7, A m x n, * point by point

(Toom 1963, Cook 1966; as minimal filtering: Winograd 1980; for neural nets: Lavin and Gray,
arXiv 1509.09308). Here * is no product of numbers but a 7x1 convolution from 64 to 32 maps, one
for each point: together a grouped convolution, which oneDNN computes near the processor's speed.

A and B pay only if each is a single pass over memory. XLA compiles a sum of slices times constants
into such a pass, the points being an axis of the result, if no reshape follows that merges axes:
then its loops divide for each index, ten times slower. Hence the reshapes outside of what is compiled.

The points decide about the rounding error. They come in pairs +-p, with 0 and infinity; those below
are the best of all choices of simple fractions, and their inverses are among them: in float32 the
error is 0.9e-5 of the outputs' deviation where m is 8, 2.1e-5 where it is 10 (benchmarks/points.py),
and far too large where it is 12. Rows of B are scaled by powers of two (exact) to a size of about 1,
those of G inversely.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from car.arrays import Doubles, Floats

TAPS = 7
# Outputs computed together, a block: the pairs of points.
PAIRS: dict[int, tuple[float, ...]] = {
    8: (1 / 3, 3 / 5, 4 / 5, 5 / 4, 5 / 3, 3),
    10: (1 / 4, 1 / 2, 4 / 5, 1, 5 / 4, 2, 4),
}

compiled = tf.function(jit_compile=True)
Kernels = Mapping[int, tf.Tensor]  # by points
WithGradient = tuple[tf.Tensor, Callable[..., Any]]  # what tf.custom_gradient takes


def toom_cook(outputs: int, taps: int, pairs: Sequence[float]) -> tuple[Doubles, Doubles, Doubles]:
    """The matrices (A [outputs, n], G [n, taps], B [n, n]), float64, n = outputs + taps - 1 points.

    The points are 0, the pairs +-p, infinity, in this order. For x of n inputs and g of `taps`
    weights, A @ ((G @ g) * (B @ x)) is the correlation sum_j x[i + j] g[j] for each output i.
    """
    finite = [0.0, *(sign * point for point in pairs for sign in (1, -1))]

    # Of the monomials at the points; at infinity the leading coefficient counts.
    def values(count: int) -> Doubles:
        return np.array(
            [[point**power for power in range(count)] for point in finite] + [[0] * (count - 1) + [1]]
        )

    interpolate = np.linalg.inv(values(outputs + taps - 1))
    scale = 2.0 ** np.round(np.log2(np.abs(interpolate).sum(axis=0)))
    return values(outputs).T, values(taps) * scale[:, np.newaxis], interpolate.T / scale[:, np.newaxis]


class Form(NamedTuple):
    """The matrices of one number of outputs, float32."""

    a: Floats
    g: Floats
    b: Floats

    @property
    def outputs(self) -> int:
        """How many are computed together."""
        return len(self.a)

    @property
    def points(self) -> int:
        """Multiplications for that many outputs, and inputs that they depend on."""
        return len(self.b)


FORMS = {  # by points
    outputs + TAPS - 1: Form(*(matrix.astype(np.float32) for matrix in toom_cook(outputs, TAPS, pairs)))
    for outputs, pairs in PAIRS.items()
}


def blocks_of(columns: int, form: Form) -> int:
    """How many blocks cover a row of outputs."""
    return -(-columns // form.outputs)


def at_points(kernel: tf.Tensor) -> Kernels:
    """G: a kernel [7, 7, C, K] at the points of each form, [7, 1, C, points * K]."""
    _, _, depth, outputs = kernel.shape
    made = {points: tf.einsum("pj,yjck->ycpk", form.g, kernel) for points, form in FORMS.items()}
    return {n: tf.reshape(kernels, [TAPS, 1, depth, n * outputs]) for n, kernels in made.items()}


def toom_cook_relu(maps: tf.Tensor, kernels: Kernels, bias: tf.Tensor) -> tf.Tensor:
    """A VALID convolution with bias and ReLU; all shapes must be known when traced.

    maps: float32 [N, H, W, C]; kernels: of at_points; bias: [K]. Returns [N, H - 6, W - 6, K].
    """
    count, height, width, depth = maps.shape
    lines, columns, outputs = height - TAPS + 1, width - TAPS + 1, bias.shape[0]
    form = min(FORMS.values(), key=lambda form: blocks_of(columns, form) * form.points)  # the fewest products
    blocks = blocks_of(columns, form)
    maps = tf.pad(maps, [[0, 0], [0, 0], [0, blocks * form.outputs - columns], [0, 0]])
    values = tf.reshape(to_points(maps, form.points), [count, height, blocks, form.points * depth])
    products = tf.nn.conv2d(
        values, kernels[form.points], 1, "VALID"
    )  # as many groups as points, by the depths
    products = tf.reshape(products, [count, lines, blocks, form.points, outputs])
    result = from_points_relu(products, bias)
    return tf.reshape(result, [count, lines, blocks * form.outputs, outputs])[:, :, :columns]


def weighted(maps: tf.Tensor, matrix: Floats) -> tf.Tensor:
    """A matrix [n, m] on the last axis but one: float32 [..., m, C] to [..., n, C]."""
    columns = matrix.T[..., np.newaxis]
    return tf.add_n([maps[..., j, tf.newaxis, :] * column for j, column in enumerate(columns)])


# The gradients are written out: one that TensorFlow derives of a compiled function has all inputs as
# constants, and is compiled again at every step. What is compiled knows no weights: all nets share it.


def to_points(maps: tf.Tensor, points: int) -> tf.Tensor:
    """B: maps float32 [N, H, blocks * m + 6, C] to their values at n points, [N, H, blocks, n, C]."""

    @tf.custom_gradient
    def with_gradient(maps: tf.Tensor) -> WithGradient:
        return _to_points(maps, points), _to_points_transposed

    return with_gradient(maps)


@compiled
def _to_points(maps: tf.Tensor, points: int) -> tf.Tensor:
    form = FORMS[points]
    last, columns = maps.shape[2] - points, form.b.T[..., np.newaxis]
    inputs = [maps[:, :, j : last + j + 1 : form.outputs, tf.newaxis] for j in range(points)]
    return tf.add_n([plane * column for plane, column in zip(inputs, columns, strict=True)])


def _to_points_transposed(gradient: tf.Tensor) -> tf.Tensor:
    count, height, blocks, points, depth = gradient.shape
    outputs = FORMS[points].outputs
    maps = _add_shared(_of_inputs(gradient))  # two passes: XLA compiles both as one, but badly
    maps = tf.reshape(maps, [count, height, (blocks + 1) * outputs, depth])
    return maps[:, :, : blocks * outputs + TAPS - 1]


@compiled
def _of_inputs(gradient: tf.Tensor) -> tf.Tensor:
    """Gradients of a block's own m inputs and of the next block's, [N, H, blocks, 2 m, C]."""
    form = FORMS[gradient.shape[3]]
    return weighted(gradient, np.pad(form.b.T, [[0, 2 * form.outputs - form.points], [0, 0]]))


@compiled
def _add_shared(gradient: tf.Tensor) -> tf.Tensor:
    """Of these, as a block's last six inputs are the next one's first: [N, H, blocks + 1, m, C]."""
    own, shared = tf.split(gradient, 2, axis=3)
    behind, before = ([[0, 0], [0, 0], ends, [0, 0], [0, 0]] for ends in ([0, 1], [1, 0]))
    return tf.pad(own, behind) + tf.pad(shared, before)


@tf.custom_gradient
def from_points_relu(products: tf.Tensor, bias: tf.Tensor) -> WithGradient:
    """A, bias and ReLU: products float32 [N, H, blocks, n, K] to outputs [N, H, blocks, m, K]."""
    outputs = _from_points_relu(products, bias)
    return outputs, lambda gradient: _from_points_relu_transposed(gradient, outputs)


@compiled
def _from_points_relu(products: tf.Tensor, bias: tf.Tensor) -> tf.Tensor:
    return tf.nn.relu(weighted(products, FORMS[products.shape[3]].a) + bias)


@compiled
def _from_points_relu_transposed(gradient: tf.Tensor, outputs: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    gradient = tf.where(outputs > 0, gradient, 0.0)
    form = FORMS[outputs.shape[3] + TAPS - 1]
    return weighted(gradient, form.a.T), tf.reduce_sum(gradient, axis=[0, 1, 2, 3])


def columns_of(kernel: tf.Tensor) -> tf.Tensor:
    """A kernel [side, side, C, 1] as a 1x1 one with a map for each of its pixels, [1, 1, C, side * side]."""
    side, _, maps, _ = kernel.shape
    return tf.reshape(tf.transpose(kernel[..., 0], [2, 0, 1]), [1, 1, maps, side * side])


def sum_columns(columns: tf.Tensor, side: int) -> tf.Tensor:
    """The rest of a VALID convolution to one map: shifted sums of [N, H, W, side * side] to [N, h, w, 1]."""

    @tf.custom_gradient
    def with_gradient(columns: tf.Tensor) -> WithGradient:
        return _sum_columns(columns, side), lambda gradient: _sum_columns_transposed(gradient, side)

    return with_gradient(columns)[..., tf.newaxis]


@compiled
def _sum_columns(columns: tf.Tensor, side: int) -> tf.Tensor:
    height, width = columns.shape[1] - side + 1, columns.shape[2] - side + 1
    shifts = np.ndindex(side, side)
    return tf.add_n([columns[:, y : y + height, x : x + width, k] for k, (y, x) in enumerate(shifts)])


@compiled
def _sum_columns_transposed(gradient: tf.Tensor, side: int) -> tf.Tensor:
    ends = [[[0, 0], [y, side - 1 - y], [x, side - 1 - x]] for y, x in np.ndindex(side, side)]
    return tf.stack([tf.pad(gradient, sizes) for sizes in ends], axis=3)
