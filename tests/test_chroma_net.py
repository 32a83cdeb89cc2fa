"""car/chroma_net.py: the net of chroma, against plain sums in float64."""

import numpy as np
import pytest
import tensorflow as tf
from reference import Array

from car import chroma_net, weights

LAYERS = ((5, 6, 64), (3, 64, 64), (3, 64, 32), (5, 32, 2))


def parameters(seed: int = 0) -> weights.Parameters:
    """As large as keeps the maps' size; the changes are a few grey levels."""
    rng = np.random.default_rng(seed)
    made = []
    for side, maps, out in LAYERS:
        deviation = np.sqrt(2 / (side * side * maps)) * (0.1 if out == 2 else 1)
        kernel, bias = rng.normal(0, deviation, (side, side, maps, out)), rng.normal(0, 0.05, out)
        made.append((kernel.astype(np.float32), bias.astype(np.float32)))
    return made


def by_hand(planes: Array, some: weights.Parameters) -> Array:
    maps = (planes.astype(float) - [128, 128, *[127.5] * 4]) / [32, 32, 64, 64, 64, 64]
    for number, (kernel, bias) in enumerate(some):
        side = len(kernel)
        windows = np.lib.stride_tricks.sliding_window_view(maps, (side, side), axis=(0, 1))
        maps = np.einsum("yxcij,ijco->yxo", windows, kernel.astype(float)) + bias
        if number < 3:
            maps = np.maximum(maps, 0)
    return 32 * maps


@pytest.fixture
def planes() -> Array:
    return np.random.default_rng(7).integers(60, 190, (2, 24, 19, 6), np.uint8)


def test_the_changes_are_those_of_four_convolutions(planes: Array) -> None:
    made = chroma_net.make_forward(parameters())(planes, 1.0)
    assert made.shape == (2, 12, 7, 2) and made.dtype == np.float32
    for one, image in zip(made, planes, strict=True):
        np.testing.assert_allclose(one, by_hand(image, parameters()), atol=1e-3)


def test_less_contrast_is_that_of_what_it_sees_stretched_back(planes: Array) -> None:
    made = chroma_net.make_forward(parameters())(planes, 0.5)[0]
    middle = np.array([128, 128, *[127.5] * 4])
    np.testing.assert_allclose(made, 2 * by_hand(middle + (planes[0] - middle) / 2, parameters()), atol=1e-3)


def test_bfloat16_is_near(planes: Array) -> None:
    exact, near = (
        chroma_net.make_forward(parameters(), products)(planes, 1.0) for products in (tf.float32, tf.bfloat16)
    )
    assert exact.std() > 0.5
    assert 0 < np.sqrt(np.square(near - exact).mean()) < 0.02 * exact.std()


def test_a_new_net_changes_next_to_nothing_and_hands_its_weights_on(planes: Array) -> None:
    net = chroma_net.ChromaNet(seed=3)
    assert 0 < np.abs(net(planes).numpy()).max() < 2
    assert sum(weight.shape.num_elements() for weight in net.trainable_variables) == 66_658
    constants = [(kernel.numpy(), bias.numpy()) for kernel, bias in net.parameters()]
    assert [kernel.shape for kernel, _ in constants] == [
        (side, side, maps, out) for side, maps, out in LAYERS
    ]
    np.testing.assert_allclose(chroma_net.make_forward(constants)(planes, 1.0), net(planes), atol=1e-4)
    assert (chroma_net.ChromaNet(seed=4)(planes).numpy() != net(planes).numpy()).any()
