"""model_car.py: the net of the paper, its start, its loss."""

import io

import numpy as np
import pytest
import tensorflow as tf
from conftest import ROOT
from PIL import Image
from reference import direct_convolution, kept_to_steps

import model_car
from car import weights
from car.fast_conv import toom_cook
from car.jpeg import blocks_of, table_of_quality
from car.pairs import compress
from car.pictures import draw_losses
from car.split import split_names
from model_car import CarNet, bfloat16_layers, direct_layers, fast_layers, net_of, squared_error, weights_of


@pytest.mark.parametrize("residual", [False, True])
def test_parameters_and_receptive_field(residual):
    net = CarNet(residual, seed=1)
    assert sum(np.prod(w.shape) for w in net.weights) == weights.describe(residual)["parameters"] == 106_561
    for weight in net.weights:  # all positive, so that nothing hides behind a ReLU
        weight.assign(tf.abs(weight) + 1e-3)
    luma = np.full((1, 41, 41, 1), 100.0, np.float32)
    spot = luma.copy()
    spot[0, 20, 20] += 50
    rows, columns = np.nonzero((net(luma) != net(spot)).numpy()[0, :, :, 0])
    assert (rows.min(), rows.max(), columns.min(), columns.max()) == (11, 29, 11, 29)
    assert net(luma, padding="VALID").shape == (1, 41 - 18, 41 - 18, 1)
    np.testing.assert_allclose(net(luma, padding="VALID"), net(luma)[:, 9:-9, 9:-9], rtol=1e-5)


def test_how_training_starts():
    luma = np.random.default_rng(0).integers(0, 256, (4, 32, 32, 1)).astype(np.float32)
    luma[0], luma[1], luma[2, ::2] = 0, 255, 3  # black, white, stripes
    for seed in range(4):
        assert np.abs(CarNet(residual=True, seed=seed)(luma) - luma).mean() < 3  # all but the identity
        assert np.abs(CarNet(residual=False, seed=seed)(luma) - luma).max() < 1
    one, other = CarNet(residual=False, seed=0), CarNet(residual=False, seed=1)
    for a, b in zip(one.weights[::2], other.weights[::2], strict=True):
        assert (a.numpy() != b.numpy()).mean() > 0.8


def test_the_faithful_net_is_written_as_the_plain_one_that_it_is(tmp_path):
    """Layer 4 is held larger while it trains: neither its file nor a net read from it shows that."""
    net = CarNet(residual=False, seed=5)
    luma = np.random.default_rng(0).integers(0, 256, (1, 40, 40, 1)).astype(np.float32)
    weights.save(tmp_path, weights_of(net, 0, 1.0, 2.0))
    plain = direct_convolution(tmp_path / "model_checkpoint.npz", luma[0, :, :, 0], residual=False)
    np.testing.assert_allclose(net(luma)[0, 9:-9, 9:-9, 0], plain[9:-9, 9:-9], atol=0.01)
    again = weights.load(tmp_path)
    np.testing.assert_allclose(net_of(again)(luma), net(luma), atol=1e-3)
    assert (again.val_loss, again.val_jpg_mse, again.worse_than_none) == (1.0, 2.0, False)


def test_loss_leaves_the_border_out():
    net = CarNet(residual=True)
    for weight in net.weights:
        weight.assign(tf.zeros_like(weight))  # the identity
    jpg = np.zeros((2, 20, 20, 1), np.float32)
    bmp = jpg.copy()
    bmp[0, 9:11, 9:11] = 3  # the inner 2x2 pixels
    bmp[1, 8] = 100  # a border row
    np.testing.assert_allclose(squared_error(net, jpg, bmp, 9), [9, 0])
    np.testing.assert_allclose(squared_error(net, jpg, bmp, 0), [9 * 4 / 400, 100**2 / 20])


@pytest.mark.parametrize("border", [8, 9, 12])
def test_the_border_is_left_out_of_the_same_loss(border):
    """From 9 on the border's pixels are not even computed; the loss and its gradient stay what they were."""
    net = CarNet(residual=True, seed=3)
    jpg, bmp = (tf.random.stateless_uniform([2, 40, 33, 1], (1, n), 0, 255) for n in (1, 2))
    with tf.GradientTape(persistent=True) as tape:
        inside = (net(jpg) - bmp)[:, border:-border, border:-border]
        wanted = tf.reduce_mean(tf.square(inside), axis=[1, 2, 3])
        got = squared_error(net, jpg, bmp, border)
    np.testing.assert_allclose(got, wanted, rtol=1e-5)
    for weight in net.weights:
        gradient = tape.gradient(wanted, weight)
        assert tf.norm(tape.gradient(got, weight) - gradient) < 1e-4 * tf.norm(gradient)


def test_the_table_of_a_quality_is_that_libjpeg_writes():
    for quality in range(1, 101):
        file = io.BytesIO()
        Image.new("L", (8, 8)).save(file, "JPEG", quality=quality)
        table = np.reshape(Image.open(file).quantization[0], (8, 8))
        np.testing.assert_array_equal(table_of_quality(quality), table)


def test_the_loss_by_header_is_that_of_what_correction_keeps():
    """Against kept_to_steps of the tests' own, on a patch with whole and clipped blocks and gains of all sizes."""
    net = net_of(weights.load(ROOT / "pretrained"))
    net.gains = np.random.default_rng(0).uniform(0, 5, (8, 8)).astype(np.float32)
    bmp = np.asarray(Image.open(ROOT / "samples/hubble_deep_field.bmp").convert("L"))[100:196, 40:136]
    bmp = bmp.copy()
    bmp[28:52, 28:52], bmp[56:76, 20:44] = 0, 255
    jpg = compress(bmp, 30)
    blocks = blocks_of(jpg[16:-16, 16:-16])
    lowest, highest = blocks.min(axis=1), blocks.max(axis=1)
    assert (highest == 0).any() and (lowest == 255).any() and ((lowest == 0) & (highest > 0)).any()
    jpg, bmp = (plane.astype(np.float32)[np.newaxis, ..., np.newaxis] for plane in (jpg, bmp))
    table = table_of_quality(30)
    got = squared_error(net, tf.constant(jpg), tf.constant(bmp), 16, table=table)
    change, samples, truth = (
        np.asarray(plane, np.float64)[0, 16:-16, 16:-16, 0] for plane in (net(jpg) - jpg, jpg, bmp)
    )
    kept = kept_to_steps(change, samples, table, net.gains)
    assert np.abs(kept - change).max() > 1
    np.testing.assert_allclose(got, [np.square(samples + kept - truth).mean()], rtol=1e-4)


def test_toom_cook_is_the_correlation():
    rng = np.random.default_rng(0)
    for outputs, taps, pairs in (
        (8, 7, (2 / 5, 2 / 3, 4 / 5, 5 / 4, 5 / 3, 3)),
        (2, 3, (1,)),
        (4, 3, (1, 2)),
    ):
        a, g, b = toom_cook(outputs, taps, pairs)
        inputs, kernel = rng.standard_normal(outputs + taps - 1), rng.standard_normal(taps)
        np.testing.assert_allclose(a @ ((g @ kernel) * (b @ inputs)), np.correlate(inputs, kernel), atol=1e-9)


@pytest.mark.parametrize("padding", ["SAME", "VALID"])
@pytest.mark.parametrize("size", [(1, 32, 32), (3, 21, 30), (2, 23, 47)])
def test_the_fast_form_is_the_direct_one(padding, size):
    """Outputs to 0.02 grey level and gradients to 1e-3 of their size, for whole and broken blocks of 8 and 10."""
    net = net_of(weights.load(ROOT / "pretrained"))
    luma = tf.random.stateless_uniform([*size, 1], (1, 2), 0, 255)
    outputs, gradients = [], []
    for layers in (direct_layers, fast_layers):

        @tf.function
        def loss_and_gradients(luma, layers=layers):
            with tf.GradientTape() as tape:
                output = net(luma, padding=padding, layers=layers)
                loss = tf.reduce_mean(tf.square(output - 100))
            return output, tape.gradient(loss, net.trainable_variables)

        output, gradient = loss_and_gradients(luma)
        outputs.append(output)
        gradients.append(gradient)
    assert np.abs(outputs[0] - 255 / 2).max() > 50
    np.testing.assert_allclose(outputs[1], outputs[0], atol=0.02)
    for ours, direct in zip(gradients[1], gradients[0], strict=True):
        assert tf.norm(ours - direct) < 1e-3 * tf.norm(direct)


@pytest.mark.parametrize("padding", ["VALID", "SAME"])
def test_bfloat16_is_within_a_tenth_of_a_grey_level(padding):
    """Of a photograph, whatever the processor."""
    net = net_of(weights.load(ROOT / "pretrained"))
    picture = np.asarray(Image.open(ROOT / "samples/camera.jpg").convert("L"), np.float32)
    luma = picture[np.newaxis, 40:130, 60:150, np.newaxis]
    ours, exact = (net(luma, padding=padding, layers=layers) for layers in (bfloat16_layers, direct_layers))
    assert ours.dtype == tf.float32 and ours.shape == exact.shape
    error = np.asarray(ours - exact)
    assert 1e-4 < np.sqrt(np.square(error).mean()) < 0.1 and np.abs(error).max() < 1.2


@pytest.mark.parametrize(
    "conv, precision, gpu, units, wanted",
    [
        (None, "float32", False, True, fast_layers),
        (None, "float32", True, True, direct_layers),
        ("direct", "float32", False, True, direct_layers),
        (None, "bfloat16", False, True, bfloat16_layers),
        (None, "bfloat16", True, False, bfloat16_layers),
        (None, "bfloat16", False, False, fast_layers),
        ("direct", "bfloat16", False, False, bfloat16_layers),
    ],
)
def test_the_layers_that_are_chosen(monkeypatch, conv, precision, gpu, units, wanted):
    monkeypatch.setattr(tf.config, "list_physical_devices", lambda kind: ["one"] * gpu)
    monkeypatch.setattr(model_car, "has_bfloat16_units", lambda: units)
    assert model_car.layers_for(conv, precision) is wanted
    faithful = model_car.layers_for(conv, precision, residual=False)
    assert faithful is model_car.layers_for(conv)  # it would lose 0.7 grey level


def test_linux_tells_of_units_for_bfloat16(tmp_path):
    assert not model_car.has_bfloat16_units(tmp_path / "nothing")
    (tmp_path / "cpuinfo").write_text("flags\t: fpu avx512f avx512_bf16\n")
    assert not model_car.has_bfloat16_units(tmp_path / "cpuinfo")
    (tmp_path / "cpuinfo").write_text("flags\t: fpu avx512_bf16 amx_bf16 amx_tile\n")
    assert model_car.has_bfloat16_units(tmp_path / "cpuinfo")


def test_split_keeps_groups_whole_and_no_set_empty():
    names = [f"series_{s:03d}_slice_{n:03d}" for s in range(7) for n in range(3 * s + 1)]
    sets = split_names(names, seed=3, rule=r"^(.*)_slice_\d+(.*)$")
    assert sorted(sets["train"] + sets["val"] + sets["test"]) == sorted(names)
    series = [{name[:10] for name in sets[s]} for s in ("train", "val", "test")]
    assert all(series) and sum(map(len, series)) == 7
    assert split_names(names[::-1], seed=3, rule=r"^(.*)_slice_\d+(.*)$") == sets
    assert split_names(["a", "b"], 0, ".*")["test"] == []
    assert sum(len(v) == 1 for v in split_names(["a", "b", "c"], 0, ".*").values()) == 3


def test_the_picture_of_losses_shows_the_curves_where_they_are(tmp_path):
    """A run of one row, and one whose validation loss ends right on the JPG's line."""
    draw_losses(tmp_path / "one.png", [(5, 90.0, 80.0, 85.0, 95.0, 1e-3)])
    draw_losses(
        tmp_path / "two.png", [(5, 120.0, 80.0, 100.0, 50.0, 1e-3), (10, 60.0, 80.0, 50.0, 50.0, 1e-3)]
    )
    assert Image.open(tmp_path / "one.png").size == (900, 520)
    picture = np.asarray(Image.open(tmp_path / "two.png")).astype(int)

    def height(column, colour):
        return np.abs(picture[70:460, column] - colour).sum(axis=-1).argmin()

    red, pale = [0xD6, 0x27, 0x28], [0xE8, 0xA0, 0xA0]
    assert abs(height(877, red) - height(600, pale)) < 5
    assert height(600, red) < height(700, red) - 50 < height(600, pale) - 200


def test_all_maps_of_a_residual_net_start_alive():
    """Kernels that sum to 0: whatever the brightness, a picture switches no map on or off as a whole."""
    net = CarNet(residual=True, seed=4)
    picture = np.asarray(Image.open(ROOT / "samples/camera.bmp").convert("L"), np.float32)
    for brightness in (0.3, 1):
        maps = tf.constant(brightness * picture[np.newaxis, 100:228, 100:228, np.newaxis] / 255)
        for kernel, bias in net.parameters()[:-1]:
            maps = tf.nn.relu(tf.nn.conv2d(maps, kernel, 1, "VALID") + bias)
            assert np.asarray(maps > 0).mean(axis=(0, 1, 2)).min() > 0.01
