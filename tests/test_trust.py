"""What a training must never do to its user: start dead, harm another run, choose by what correction never sees."""

import json
import os
import shutil
import socket

import keras
import numpy as np
import pytest
import tensorflow as tf
from conftest import ROOT, TRAINING, run
from PIL import Image
from reference import write_patches
from test_train import losses, stored

from car import training_run, training_step, weights
from car.errors import UserError
from car.pictures import draw_losses
from car.records import check_records
from car.split import split_names
from car.workers import read_cluster
from car_ds_loader import ALL_TURNS, training_batches
from model_car import CarNet, direct_layers, fast_layers, squared_error, untouched_error, weights_of

RECORDS = ("tfrecords/train", "tfrecords/val")


# ---- the start -----------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(3))
def test_the_net_with_no_options_trains_from_every_seed(records, tmp_path, seed):
    """As people start it: nothing but fewer steps. The start of old was at 250 to 5835 by then."""
    run("train_car.py", records.folder, tmp_path / "log", *RECORDS, "--steps", 2, "--seed", seed)
    rows = losses(tmp_path / "log")
    assert rows[0, 3] == pytest.approx(rows[0, 4], rel=2e-3)  # where the JPG is
    assert rows[-1, 3] < rows[-1, 4] and rows[-1, 1] < 1.02 * rows[-1, 2]
    about = json.loads((tmp_path / "log/settings.json").read_text())
    assert about["residual"] is False and about["batch_size"] == 1000


# ---- dead nets, and nets worse than none ----------------------------------------------------


def log_with(folder, residual, layer=4, bias=0.0, jpg_mse=100.0):
    """A log folder whose net has one layer's biases moved."""
    folder.mkdir()
    net = CarNet(residual)
    net.weights[2 * layer - 1].assign(tf.fill(net.weights[2 * layer - 1].shape, bias))
    weights.save(folder, weights_of(net, 50, 5000.0, jpg_mse))
    return folder


@pytest.mark.parametrize("layer, residual", [(4, False), (2, False), (3, True)])
def test_a_dead_net_is_told_at_the_first_validation(records, tmp_path, layer, residual):
    log_with(tmp_path / "dead", residual, layer, -1e4)
    options = ("--steps", 4, "--batch-size", 8, "--val-patches", 64, "--init", tmp_path / "dead")
    options = (*options, "--residual") if residual else options
    printed = run("train_car.py", records.folder, tmp_path / "log", *RECORDS, *options, status=1)
    part = f"all maps of layer {layer} are 0" if layer < 4 else "clipped every pixel"
    assert "dead at step 0" in printed.err and part in printed.err and "--seed" in printed.err
    assert len(printed.err.splitlines()) == 1


def test_a_net_that_dies_on_the_way_is_told_and_what_was_good_is_kept(records, tmp_path):
    options = ("--steps", 9, "--batch-size", 8, "--val-every", 3, "--val-patches", 64, "--learning-rate", 0.1)
    printed = run("train_car.py", records.folder, tmp_path / "log", *RECORDS, *options, status=1)
    assert "the net is dead at step " in printed.err and len(printed.err.splitlines()) == 1
    kept = stored(tmp_path / "log")
    assert kept["step"] == 0 and kept["val_loss"] == pytest.approx(kept["val_jpg_mse"], rel=1e-3)


def test_a_net_worse_than_none_is_told_and_stays_within_the_limits(tmp_path):
    log_with(tmp_path / "log", False, bias=-1e4, jpg_mse=90.0)  # paints all black
    (tmp_path / "data").mkdir()
    for name in ("astronaut.jpg", "astronaut.bmp"):
        shutil.copy(ROOT / "samples" / name, tmp_path / "data")
    printed = run("run_car_images.py", tmp_path, "log", "data", "results", "--luma-only").out
    assert "worse than no correction (validation loss 5000.000, the JPG's own 90.000)" in printed
    assert f"how coarse the JPGs were that {tmp_path / 'log'} was trained on is not known" in printed
    before, after = (float(part) for part in printed.split("PSNR ")[1].split(" dB")[0].split(" -> "))
    assert before - 2 < after < before
    printed = run("run_car_images.py", tmp_path, ROOT / "pretrained", "data", "good").out
    assert "worse than" not in printed and "not known" not in printed


def test_the_last_line_and_the_picture_show_a_net_worse_than_none(tmp_path):
    class Ended:
        log, best, rows = tmp_path, 120.0, [training_run.Row(9, 1.0, 1.0, 1.0, 1.0, 120.0, 100.0, 1e-3)]

    told = training_run.verdict(Ended)
    assert "worse than no correction" in told and "--steps" in told
    Ended.best = 99.0
    assert "worse" not in training_run.verdict(Ended)
    rows = [
        training_run.Row(0, np.nan, np.nan, 100.0, 100.0, 1, 1, 1e-3),
        training_run.Row(10, 5000.0, 100.0, 5000.0, 100.0, 1, 1, 1e-3),
    ]
    draw_losses(tmp_path / "worse.png", rows)
    picture = np.asarray(Image.open(tmp_path / "worse.png")).astype(int)

    def height(column, colour):
        distance = np.abs(picture[100:465, column] - colour).sum(axis=-1)
        assert distance.min() < 90
        return distance.argmin()

    red, pale = [0xD6, 0x27, 0x28], [0xE8, 0xA0, 0xA0]
    assert height(875, pale) > 340 and height(700, red) < height(400, red) - 80


# ---- other runs ----------------------------------------------------------------------------


def test_names_that_are_patterns_elsewhere(tmp_path):
    """The four long scripts among `[ ] * ? \\`; log1 is what a pattern log[1] means."""
    work = tmp_path / r"w[1]*? \x"
    work.mkdir()
    run("samples/make_ct_slices.py", work / "d[a]?", "--series", 4, "--slices", 1)
    run("load_train_data.py", work, "d[a]?", "t*[1]")
    run("load_val_data.py", work, "d[a]?", r"v\?")
    assert "all whole" in run("read_tfrecord.py", work, "t*[1]", "--sheet", "s[*].png").out
    options = ("--steps", 6, "--batch-size", 8, "--val-every", 2, "--val-patches", 64, "--conv", "direct")
    for log in ("log1", "log[1]", r"log*?\[1]"):
        run("train_car.py", work, log, "t*[1]", r"v\?", *options)
        assert sorted(os.listdir(work / log / "state")) == ["step_4.npz", "step_6.npz"]
    assert sorted(os.listdir(work / "log1/state")) == ["step_4.npz", "step_6.npz"]
    assert "corrected 4 of 4" in run("run_car_images.py", work, "log[1]", "d[a]?", "r[1]*").out
    assert len(list((work / "r[1]*").glob("*_car.bmp"))) == 4


# ---- batches -------------------------------------------------------------------------------


def test_any_batch_size_is_cut_into_parts_as_its_neighbours_are():
    for patches in (*range(1, 70), 997, 1000, 100_000):
        parts, size = training_step.parts_of(patches, 32)
        assert parts == -(-patches // 32) and size <= 32 and 0 <= parts * size - patches < max(parts, 1)
    assert training_step.parts_of(3, 300) == (3, 1)


def errors_of(net, layers):
    """As train_car.prepare makes them."""
    return lambda jpg, bmp, border: (
        squared_error(net, jpg, bmp, border, layers),
        untouched_error(jpg, bmp, border),
    )


def test_a_batch_that_fills_no_whole_parts_has_the_loss_and_gradient_of_the_whole():
    rng = np.random.default_rng(0)
    jpg, bmp = (tf.constant(rng.integers(0, 256, (37, 32, 32, 1)), tf.float32) for _ in range(2))
    net = CarNet(residual=True, seed=1)
    net.weights[-1].assign([0.1])  # by which the black that fills up the last part has an error
    found = []
    for layers in (direct_layers, fast_layers):
        step = training_step.make_loss_and_gradients(
            net.trainable_variables, errors_of(net, layers), 37, 0, layers is direct_layers
        )
        found.append(tf.function(step)(jpg, bmp))
    assert training_step.parts_of(37, 32) == (2, 19)
    for ours, whole in zip(found[1], found[0], strict=True):
        assert tf.norm(ours - whole) <= 5e-3 * tf.norm(whole)


def test_a_batch_larger_than_the_set_is_refused(records, tmp_path):
    printed = run(
        "train_car.py", records.folder, tmp_path / "log", *RECORDS, "--batch-size", 100_000, status=1
    )
    assert "--batch-size 100000 is more than the 3072 patches" in printed.err
    assert not (tmp_path / "log").exists()


def test_augmentation_turns_both_patches_alike_and_each_epoch_has_its_own_order(tmp_path):
    bmp = np.random.default_rng(0).integers(0, 256, (24, 16, 16))
    bmp[:, 0, 0] = np.arange(24)  # by which a patch is known
    write_patches(tmp_path / "train_1.tfrecords", 255 - bmp, bmp)
    records = check_records(tmp_path)
    for jpg, turned in training_batches(records, 8, 0, 0, ALL_TURNS).take(12):
        np.testing.assert_array_equal(jpg, 255 - turned)
    turns = [turned.numpy() for _, turned in training_batches(records, 8, 0, 0, ALL_TURNS).take(12)]
    plain = [clean.numpy() for _, clean in training_batches(records, 8, 0, 0).take(12)]
    assert sum((a != b).any() for a, b in zip(turns, plain, strict=True)) > 6
    epochs = [
        np.concatenate(plain[first : first + 3])[:, 0, 0, 0].astype(int).tolist() for first in (0, 3, 6, 9)
    ]
    assert all(sorted(epoch) == list(range(24)) for epoch in epochs)
    assert len({tuple(epoch) for epoch in epochs}) == 4


def test_no_set_is_empty_where_one_group_holds_nearly_all():
    names = [f"big_slice_{n:03}" for n in range(20)] + ["one", "other"]
    for seed in range(12):
        sets = split_names(names, seed, r"^(.*)_slice_\d+(.*)$")
        assert all(sets.values()) and sum(map(len, sets.values())) == 22


# ---- clusters ------------------------------------------------------------------------------


def config(job: str, index: int, **jobs: list[str]) -> str:
    return json.dumps({"cluster": jobs, "task": {"type": job, "index": index}})


def test_who_is_the_chief():
    both = {"chief": ["a:1"], "worker": ["b:1", "c:1"]}
    chiefs = [
        read_cluster(config(job, n, **both)).chief for job, n in (("chief", 0), ("worker", 0), ("worker", 1))
    ]
    assert chiefs == [True, False, False]
    workers = {"worker": ["b:1", "c:1"], "evaluator": ["d:1"]}
    assert [read_cluster(config("worker", n, **workers)).chief for n in (0, 1)] == [True, False]
    assert read_cluster("{}") is None


@pytest.mark.parametrize(
    "text, told",
    [
        ("{no json", "cannot be read"),
        ("[1]", "cannot be read"),
        (config("evaluator", 0, worker=["a:1"], evaluator=["b:1"]), "evaluator"),
        (config("ps", 0, worker=["a:1"], ps=["b:1"]), "only workers and one chief"),
        (config("worker", 7, worker=["a:1"]), "worker 7"),
    ],
)
def test_a_tf_config_that_is_of_no_use_is_one_line(text, told):
    with pytest.raises(UserError, match=told) as caught:
        read_cluster(text)
    assert "\n" not in str(caught.value) and "TF_CONFIG" in str(caught.value)


def test_a_port_in_use_and_a_seed_out_of_range(records, tmp_path, refused):
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"127.0.0.1:{server.getsockname()[1]}"
        environment = {**os.environ, "TF_CONFIG": config("worker", 0, worker=[address, "127.0.0.1:9"])}
        printed = run("train_car.py", records.folder, tmp_path / "log", *TRAINING, status=1, env=environment)
    assert f"cannot listen at {address}: it is in use" in printed.err and len(printed.err.splitlines()) == 1
    said = refused("train_car.py", records.folder, tmp_path / "log", *RECORDS, "--seed", "9" * 20)
    assert "argument --seed: invalid whole number of 0 to 2147483647" in said


# ---- what is chosen --------------------------------------------------------------------------


def test_the_best_weights_are_chosen_by_pixels_whose_receptive_field_is_real(records, tmp_path):
    """A net that mends the rim alone is better by all pixels, and not better by those that count."""
    jpg, bmp = (np.full((2, 32, 32, 1), level, np.float32) for level in (100, 110))
    bmp[:, 9:-9, 9:-9] = 100
    net = CarNet(residual=True)
    for weight in net.weights:
        weight.assign(tf.zeros_like(weight))
    batches = tf.data.Dataset.from_tensors((jpg, bmp))
    for border, wanted in ((0, [100 * (1 - (14 / 32) ** 2)] * 2 + [0, 0]), (9, [0, 0, 0, 0])):
        borders = border, training_step.inner_border(border, 32, False)
        found = training_step.make_validate(errors_of(net, direct_layers), batches, borders, True)()
        np.testing.assert_allclose(found, [wanted] * 2, atol=1e-6)
    assert training_step.inner_border(0, 18, False) == 0 and training_step.inner_border(16, 48, True) == 16
    strategy = tf.distribute.get_strategy()
    started = training_run.Run(
        tmp_path, strategy, lambda: CarNet(True, 0), lambda: keras.optimizers.Adam(1e-3), True
    )
    for step, val_loss, inner_loss in ((1, 50.0, 40.0), (2, 30.0, 45.0), (3, 60.0, 39.0), (4, 20.0, 39.5)):
        started.count(step, 1.0, 1.0)
        started.add_row(val_loss, 100.0, inner_loss, 100.0)
        assert stored(tmp_path)["step"] == {1: 1, 2: 1, 3: 3, 4: 3}[step]


def test_a_start_from_other_weights_never_ends_with_less(records, tmp_path):
    """However the folder is spelled, and at a rate that spoils them."""
    shutil.copytree(ROOT / "pretrained/q20", tmp_path / "q20")
    options = ("--residual", "--steps", 2, "--batch-size", 8, "--val-patches", 256, "--learning-rate", 0.01)
    data = [records.folder / folder for folder in RECORDS]
    run("train_car.py", tmp_path, "log", *data, *options, "--init", "q20")
    rows, kept = losses(tmp_path / "log"), stored(tmp_path / "log")
    assert rows[0, 5] < rows[0, 6] and rows[-1, 5] > rows[0, 5] and kept["step"] == 0
    for name, value in stored(tmp_path / "q20").items():
        if name.startswith(("layer", "gains")):
            np.testing.assert_array_equal(kept[name], value)
    spelled = os.path.relpath(tmp_path / "q20/../q20")
    printed = run(
        "train_car.py", os.path.relpath(tmp_path), "log", *data, *options, "--init", os.path.abspath(spelled)
    )
    assert "finished: " in printed.out


# ---- pairs, and an empty set -------------------------------------------------------------------


def test_pairs_that_are_none_are_named_and_left_out(tmp_path):
    data = tmp_path / "data"
    data.mkdir()
    rng = np.random.default_rng(0)
    names = ("astronaut", "chelsea", "coffee", "camera")
    pictures = {name: Image.open(ROOT / f"samples/{name}.bmp").crop((0, 0, 256, 248)) for name in names}
    for name, quality in zip(names, (10, 20, 75, 90), strict=True):
        pictures[name].save(data / f"{name}.jpg", quality=quality)
        pictures[name].save(data / f"{name}.bmp")
    turned = pictures["astronaut"].transpose(Image.Transpose.ROTATE_90)
    exif = Image.Exif()
    exif[0x0112] = 6
    turned.save(data / "turned.jpg", quality=40, exif=exif)  # a true pair: viewers turn the JPG back
    turned.transpose(Image.Transpose.ROTATE_270).save(data / "turned.bmp")
    Image.fromarray(rng.integers(0, 256, (248, 256), np.uint8)).save(data / "noise.jpg", quality=30)
    pictures["camera"].save(data / "noise.bmp")
    moved = Image.fromarray(np.roll(np.asarray(pictures["chelsea"]), 1, axis=1))
    pictures["chelsea"].save(data / "moved.jpg", quality=10)
    moved.save(data / "moved.bmp")
    printed = run("load_train_data.py", tmp_path, "data", "train", "--all", status=1).out
    assert "5 of 7 images used" in printed and "left out as bad: 2" in printed
    for name in ("noise", "moved"):
        assert f"left out: {name}.jpg: was not made from its clean image" in printed
    assert (
        "7 of 7 images used"
        in run("load_train_data.py", tmp_path, "data", "train", "--all", "--any-pair").out
    )


def test_a_split_on_an_empty_set_says_so(tmp_path):
    (tmp_path / "log").mkdir()
    content = {"set": "train", "sets": {"train": ["a"], "val": ["b"], "test": []}, "group_by": "x"}
    content |= {"folders": ["/d"], "files": {"train_1.tfrecords": 1}, "digests": {}}
    (tmp_path / "log/split.json").write_text(json.dumps(content))
    printed = run(
        "run_car_images.py", tmp_path, "log", ROOT / "samples", "results", "--split", "test", status=1
    )
    assert "the test set is empty" in printed.err and "holds no" not in printed.err
