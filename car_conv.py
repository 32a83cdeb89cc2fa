"""The fast form of the 7x7 layer: fewer multiplications by Toom-Cook, one-dimensional, along the width.

A row of 8 outputs of a 7-tap filter is a part of the product of two polynomials. A product of
degree 13 is known by its values at 14 points, so 14 multiplications do the work of 8 * 7 = 56:

    outputs = A [ (G kernel) * (B inputs) ]     B 14x14, G 14x7, A 8x14, * point by point

(Toom 1963, Cook 1966; as minimal filtering: Winograd 1980; for neural nets: Lavin and Gray,
arXiv 1509.09308). Here * is no product of numbers but a 7x1 convolution from 64 to 32 maps, one
for each point, and A and B are small sums of strided slices, which only pay when XLA fuses them.

The points decide about the rounding error. They come in pairs +-p, which share half of the
sums, with 0 and infinity; these six pairs are the best of 5,005 choices of simple fractions, and
their inverses are among them: in float32 the error is 0.9e-5 of the outputs' deviation, against
1.7e-5 for the usual 1/4, 1/2, 3/4, 1, 3/2, 2 (benchmarks/points.py). Rows of B are scaled by
powers of two (exact) to a size of about 1, those of G inversely.
"""

import car_shell  # noqa: F401  (first: it starts TensorFlow quietly)
import numpy as np
import tensorflow as tf

TAPS = 7
OUTPUTS = 8  # computed together: a block
PAIRS = (1 / 3, 3 / 5, 4 / 5, 5 / 4, 5 / 3, 3)


def toom_cook(outputs, taps, pairs):
    """The matrices (A [outputs, n], G [n, taps], B [n, n]), float64, n = outputs + taps - 1 points.

    The points are 0, the pairs +-p, infinity, in this order. For x of n inputs and g of `taps`
    weights, A @ ((G @ g) * (B @ x)) is the correlation sum_j x[i + j] g[j] for each output i.
    """
    finite = [0.0, *(sign * point for point in pairs for sign in (1, -1))]

    def values(count):  # of the monomials at the points; at infinity the leading coefficient counts
        return np.array(
            [[point**power for power in range(count)] for point in finite] + [[0] * (count - 1) + [1]]
        )

    interpolate = np.linalg.inv(values(outputs + taps - 1))
    scale = 2.0 ** np.round(np.log2(np.abs(interpolate).sum(axis=0)))
    return values(outputs).T, values(taps) * scale[:, np.newaxis], interpolate.T / scale[:, np.newaxis]


A, G, B = (matrix.astype(np.float32) for matrix in toom_cook(OUTPUTS, TAPS, PAIRS))
POINTS = len(B)


def _weighted(maps, weights):
    """Sum of maps times weights, without those whose weight is 0 but for rounding."""
    terms = [plane * weight for plane, weight in zip(maps, weights, strict=True) if abs(weight) > 1e-7]
    return tf.add_n(terms)


@tf.custom_gradient
def to_points(maps):
    """B: maps float32 [N, H, W, C], the input of a VALID convolution, to their values at the points.

    Returns 14 tensors [N, H, blocks, C]; the last block is filled up with zeros. The gradient is
    written out, because XLA is slow at the one that it would derive: a padded copy for each slice.
    """
    width = maps.shape[2]
    return _to_points(maps), lambda *gradients: _to_points_transposed(gradients, width)


def _to_points(maps):
    blocks = -(-(maps.shape[2] - TAPS + 1) // OUTPUTS)
    width = blocks * OUTPUTS + TAPS - 1
    maps = tf.pad(maps, [[0, 0], [0, 0], [0, width - maps.shape[2]], [0, 0]])
    inputs = [maps[:, :, j : width - POINTS + j + 1 : OUTPUTS] for j in range(POINTS)]
    values = [_weighted(inputs, B[0])]
    for plus in range(1, POINTS - 1, 2):  # p and -p differ in the sign of the odd inputs alone
        even = _weighted(inputs, (B[plus] + B[plus + 1]) / 2)
        odd = _weighted(inputs, (B[plus] - B[plus + 1]) / 2)
        values += [even + odd, even - odd]
    return (*values, _weighted(inputs, B[-1]))


def _to_points_transposed(gradients, width):
    first, last, sums, differences = _pairs(gradients)
    planes = []
    for column in range(POINTS):  # the gradient of each block's column-th input
        # The rows of +p and -p differ in sign at every second column. Which ones, column 0 tells
        # only where it is not empty: with 0 among the points it is, and the others are shifted by one.
        paired = differences if column % 2 == (B[1, 0] == 0) else sums
        weights = B[:, column]
        planes.append(_weighted([first, *paired, last], [weights[0], *weights[1:-1:2], weights[-1]]))
    # The last six inputs of a block are the first six of the next one.
    own = tf.pad(tf.stack(planes[:OUTPUTS], axis=3), [[0, 0], [0, 0], [0, 1], [0, 0], [0, 0]])
    shared = tf.stack(planes[OUTPUTS:], axis=3)
    shared = tf.pad(shared, [[0, 0], [0, 0], [1, 0], [0, 2 * OUTPUTS - POINTS], [0, 0]])
    count, height, blocks, _, maps = own.shape
    return tf.reshape(own + shared, [count, height, blocks * OUTPUTS, maps])[:, :, :width]


def _pairs(tensors):
    """Of 14 tensors the first, the last, and sums and differences of the pairs between."""
    pairs = list(zip(tensors[1:-1:2], tensors[2:-1:2], strict=True))
    return tensors[0], tensors[-1], [p + m for p, m in pairs], [p - m for p, m in pairs]


def kernels_at_points(kernel):
    """G: a kernel [7, 7, C, K] to 14 kernels [7, 1, C, K]."""
    return [
        values[:, tf.newaxis] for values in tf.unstack(tf.einsum("pj,yjck->pyck", tf.constant(G), kernel))
    ]


def multiply(values, kernels):
    """The products at the points: 7x1 convolutions along the height, VALID.

    values: 14 tensors [N, H, blocks, C]; kernels: 14 of [7, 1, C, K]. Returns 14 of [N, H - 6, blocks, K].
    """
    return [tf.nn.conv2d(value, kernel, 1, "VALID") for value, kernel in zip(values, kernels, strict=True)]


def from_points(products):
    """A: 14 tensors [N, H, blocks, K] to the outputs, float32 [N, H, blocks * 8, K]."""
    first, last, sums, differences = _pairs(products)
    rows = []
    for row, weights in enumerate(A):
        paired = differences if row % 2 else sums
        rows.append(_weighted([first, *paired, last], [weights[0], *weights[1:-1:2], weights[-1]]))
    outputs = tf.stack(rows, axis=3)
    count, height, blocks, _, maps = outputs.shape
    return tf.reshape(outputs, [count, height, blocks * OUTPUTS, maps])


def columns_of(kernel):
    """A kernel [side, side, C, 1] as a 1x1 one with a map for each of its pixels, [1, 1, C, side * side]."""
    side, _, maps, _ = kernel.shape
    return tf.reshape(tf.transpose(kernel[..., 0], [2, 0, 1]), [1, 1, maps, side * side])


def sum_columns(columns, side):
    """The rest of a VALID convolution to one map: shifted sums of [N, H, W, side * side] to [N, h, w, 1]."""
    height, width = columns.shape[1] - side + 1, columns.shape[2] - side + 1
    shifts = [(y, x) for y in range(side) for x in range(side)]
    return tf.add_n([columns[:, y : y + height, x : x + width, side * y + x, tf.newaxis] for y, x in shifts])
