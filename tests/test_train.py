"""train_car.py, run from the shell: the same code path as a real run, on few small steps."""

import csv
import json
import signal
import socket
import subprocess
import time
from pathlib import Path

import numpy as np
import pytest
from conftest import ROOT, TRAINING, run, start
from PIL import Image
from reference import Array, corrected_jpeg, write_patches

from car import optimizers


def losses(log: Path) -> Array:
    """The CSV's rows as floats."""
    with open(log / "losses.csv", newline="") as file:
        return np.array([[float(value or "nan") for value in row] for row in list(csv.reader(file))[1:]])


def stored(log):
    with np.load(log / "model_checkpoint.npz") as arrays:
        return {name: arrays[name] for name in arrays.files}


def test_a_training_leaves_all_that_was_promised(trained):
    rows = losses(trained.log)
    assert rows[:, 0].tolist() == [0, 4, 8, 12] and np.isnan(rows[0, 1:3]).all()
    assert (np.diff(rows[:, 3]) < 0).all() and rows[-1, 3] < rows[-1, 4]  # it learns, and beats the JPG
    assert f"best validation loss {rows[:, 5].min():.3f}, the JPG's {rows[0, 6]:.3f}" in trained.out
    assert "worse than" not in trained.out
    kept = stored(trained.log)
    assert sum(kept[name].size for name in kept if name.startswith("layer")) == 106_561
    assert kept["step"] == rows[rows[:, 5].argmin(), 0]
    assert kept["coarseness"].tolist() == pytest.approx([2.5, 2.5], rel=0.01)  # the slices are of quality 20
    assert kept["val_loss"] == pytest.approx(rows[:, 5].min()) and kept["val_jpg_mse"] == pytest.approx(
        rows[0, 6]
    )
    assert json.loads((trained.log / "model_checkpoint.json").read_text())["residual"] is True
    assert (trained.log / "split.json").read_bytes() == (
        trained.folder / "tfrecords/train/split.json"
    ).read_bytes()
    assert Image.open(trained.log / "losses.png").size == (900, 520)
    assert "\x1b" not in trained.out and "12/12 steps" in trained.out  # plain lines off a terminal


def test_kill_9_and_the_same_command_ends_as_an_unbroken_run(trained):
    log = trained.folder / "killed"
    told = []
    for step in (4, 8):
        process = start("train_car.py", trained.folder, "killed", *TRAINING)
        while not (log / f"state/step_{step}.npz").exists():
            assert process.poll() is None, process.communicate()
            time.sleep(0.02)
        process.send_signal(signal.SIGKILL)
        told.append(process.communicate()[0])
    told.append(run("train_car.py", trained.folder, "killed", *TRAINING).out)
    assert "going on after" not in told[0]
    assert "going on after step 4" in told[1] and "going on after step 8" in told[2]
    ours, unbroken = losses(log), losses(trained.log)
    assert ours.shape == unbroken.shape  # no row twice, none missing
    np.testing.assert_allclose(ours, unbroken, rtol=1e-3)
    for name, value in stored(trained.log).items():
        np.testing.assert_allclose(stored(log)[name], value, atol=2e-3, err_msg=name)


def test_a_finished_run_says_so_and_more_steps_go_on(trained):
    before = (trained.log / "losses.csv").read_text()
    assert "finished: " in run("train_car.py", trained.folder, "log", *TRAINING).out
    # The last line says how it is compared.
    start, where = "python run_car_images.py", trained.folder
    assert trained.out.splitlines()[-1] == (
        f"to compare it on the test set with the weights that came with this: {start} {where} log data by_own "
        f"--split test && {start} {where} pretrained data by_shipped --split test --records tfrecords/train"
    )
    assert (trained.log / "losses.csv").read_text() == before
    log = trained.folder / "log_longer"
    subprocess.run(["cp", "-r", trained.log, log], check=True)
    longer = [16 if value == 12 else value for value in TRAINING]
    assert "going on after step 12" in run("train_car.py", trained.folder, "log_longer", *longer).out
    assert (log / "losses.csv").read_text().startswith(before) and losses(log)[:, 0].tolist() == [
        0,
        4,
        8,
        12,
        16,
    ]
    printed = run("train_car.py", trained.folder, "log", *TRAINING, "--seed", 1, status=1)
    assert "seed = 0, not 1" in printed.err


def free_port() -> int:
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        return int(server.getsockname()[1])


def test_the_fast_convolution_gives_the_same_losses(trained):
    default = [value for value in TRAINING if value not in ("--conv", "direct")]
    run("train_car.py", trained.folder, "fast", *default)
    np.testing.assert_allclose(losses(trained.folder / "fast"), losses(trained.log), rtol=1e-3)


def test_training_in_bfloat16_is_near(trained):
    run("train_car.py", trained.folder, "near", *TRAINING, "--precision", "bfloat16")
    near, exact = losses(trained.folder / "near"), losses(trained.log)
    np.testing.assert_allclose(near, exact, rtol=5e-3)
    assert (near[:, 3] != exact[:, 3]).any()


def test_the_faithful_net_trains_with_no_options_but_size(records, tmp_path):
    """Muon and cosine here, Adam above; --init starts a further run from these weights."""
    options = ("--steps", 6, "--batch-size", 8, "--val-every", 3, "--val-patches", 64)
    data = (records.folder / "tfrecords/train", records.folder / "tfrecords/val")
    run("train_car.py", tmp_path, "log", *data, *options)
    assert json.loads((tmp_path / "log/model_checkpoint.json").read_text())["residual"] is False
    rows = losses(tmp_path / "log")
    assert rows[-1, 3] < rows[0, 3] and np.allclose(rows[:, -1], 1e-3)

    further = (*options, "--schedule", "cosine", "--augment", "--loss-border", 9, "--init", "log")
    further = (*further, "--conv", "direct", "--precision", "bfloat16")  # which a faithful net does not take
    muon = ("--optimizer", "muon")
    if optimizers.why_no_muon():  # on Python 3.10
        printed = run("train_car.py", tmp_path, "log2", *data, *further, *muon, status=2)
        assert "muon needs Keras 3.13" in printed.err and not (tmp_path / "log2").exists()
        muon = ()
    assert "float32 is taken" in run("train_car.py", tmp_path, "log2", *data, *further, *muon).out
    then = losses(tmp_path / "log2")
    assert then[0, 5] == pytest.approx(rows[:, 5].min(), rel=1e-5)  # validated before the first step
    assert then[-1, -1] == pytest.approx(1e-5, rel=1e-3)
    printed = run("train_car.py", tmp_path, "log3", *data, *options, "--residual", "--init", "log", status=1)
    assert "holds a faithful net" in printed.err


def test_training_by_header(tmp_path):
    """Its loss begins as what correction leaves of the JPG with these weights; --init hands on the gains."""
    cut = ("--all", "--quality", 20, "--patch-size", 48, "--stride", 24)
    run("load_train_data.py", tmp_path, ROOT / "samples", "train", *cut)
    (tmp_path / "other").mkdir()
    Image.open(ROOT / "samples/chelsea.bmp").transpose(Image.Transpose.FLIP_TOP_BOTTOM).save(
        tmp_path / "other/upside_down.bmp"
    )
    run("load_val_data.py", tmp_path, "other", "val", *cut)
    log = tmp_path / "start"
    log.mkdir()
    for name in ("model_checkpoint.json", "model_checkpoint.npz"):
        (log / name).write_bytes((ROOT / "pretrained/q20" / name).read_bytes())
    before = stored(log)
    printed = run("pretrained/fit_gains.py", log, 20, tmp_path / "other").out
    fitted = stored(log)
    assert f"{fitted['gains'][7, 7]:.2f}" in printed and (fitted["gains"] != before["gains"]).mean() > 0.5
    np.testing.assert_array_equal(fitted["layer2_kernel"], before["layer2_kernel"])

    options = ("--residual", "--by-header", "--mirror", "--steps", 2, "--batch-size", 8, "--val-every", 1)
    options = (*options, "--learning-rate", 1e-6, "--conv", "direct", "--val-patches", 256)
    data = ("train", "val", *options)
    run("train_car.py", tmp_path, "log", *data, "--loss-border", 16, "--init", "start")
    rows = losses(tmp_path / "log")
    np.savez(log / "model_checkpoint.npz", **{**fitted, "gains": before["gains"]})
    run("train_car.py", tmp_path, "without", *data, "--loss-border", 16, "--init", "start")
    assert rows[0, 3] < losses(tmp_path / "without")[0, 3] < 0.9 * rows[0, 4]
    np.testing.assert_array_equal(stored(tmp_path / "log")["gains"], fitted["gains"])

    assert_it_corrects_for_quality_20(tmp_path)

    printed = run("train_car.py", tmp_path, "log2", *data, "--loss-border", 9, status=1)
    assert "--loss-border (9; 16 at least)" in printed.err and not (tmp_path / "log2").exists()
    run("load_val_data.py", tmp_path, "other", "val", *cut[:2], 30, *cut[3:])
    printed = run("train_car.py", tmp_path, "log2", *data, "--loss-border", 16, status=1)
    assert "one and the same --quality" in printed.err and "[30]" in printed.err


def assert_it_corrects_for_quality_20(folder):
    """The log, which knows what it was trained on, leaves finer files, and sees coarser ones with less contrast."""
    assert stored(folder / "log")["coarseness"].tolist() == pytest.approx([2.5, 2.5], rel=0.01)
    (folder / "data").mkdir()
    picture = Image.open(ROOT / "samples/astronaut.bmp").crop((150, 60, 214, 108)).convert("L")
    for quality in (95, 20, 5):
        picture.save(folder / f"data/{quality}.jpg", quality=quality)
    printed = run("run_car_images.py", folder, "log", "data", "results").out
    assert "unchanged 1 (finer than all weights)" in printed
    assert "is not known" not in printed
    for quality in (95, 20, 5):
        decoded, result = (
            np.asarray(Image.open(folder / name)).astype(int)
            for name in (f"data/{quality}.jpg", f"results/{quality}_car.bmp")
        )
        assert (result != decoded).any() == (quality != 95)
        wanted = np.rint(corrected_jpeg(folder / "log", folder / f"data/{quality}.jpg"))
        assert (result != np.clip(wanted, 0, 255)).mean() < 0.005


def test_options_of_training_that_do_not_go_together(tmp_path, refused):
    for folder in ("train", "val"):
        (tmp_path / folder).mkdir()
    for options in (("--by-header", "--augment"), ("--mirror", "--augment")):
        said = refused("train_car.py", tmp_path, "log", "train", "val", *options)
        assert options[0] in said and "--mirror" in said
    both = ("--conv", "fast", "--precision", "bfloat16")
    assert "leave --conv out" in refused("train_car.py", tmp_path, "log", "train", "val", *both)


def test_records_made_elsewhere_with_nothing_beside_them(tmp_path):
    rng = np.random.default_rng(0)
    for name in ("train", "val"):
        (tmp_path / name).mkdir()
        bmp = rng.integers(0, 256, (40, 16, 16))
        write_patches(
            tmp_path / name / f"{name}_1.tfrecords",
            np.clip(bmp + rng.integers(-3, 4, bmp.shape), 0, 255),
            bmp,
        )
    printed = run(
        "train_car.py",
        tmp_path,
        "log",
        "train",
        "val",
        "--residual",
        "--steps",
        2,
        "--batch-size",
        32,
        "--val-every",
        1,
    ).out
    assert "train: 40 patches of 16x16" in printed and "cannot be checked" in printed
    assert "coarseness" not in stored(tmp_path / "log")
    assert losses(tmp_path / "log")[:, 0].tolist() == [
        0,
        1,
        2,
    ]  # 64 patches from 40: batches go over the epoch's end


def test_sets_that_share_images_are_refused(records, tmp_path):
    data = records.folder / "data"
    printed = run(
        "train_car.py", records.folder, tmp_path / "log", "tfrecords/train", "tfrecords/train", status=1
    )
    assert "share 12 images" in printed.err and not (tmp_path / "log").exists()
    for seed in range(
        1, 9
    ):  # a seed whose validation set overlaps with seed 0's training set by whole series
        run("load_val_data.py", records.folder, data, tmp_path / "val", "--seed", seed)
        names = json.loads((tmp_path / "val/split.json").read_text())["sets"]
        if set(names["val"]) & set(
            json.loads((records.folder / "tfrecords/train/split.json").read_text())["sets"]["train"]
        ):
            break
    printed = run(
        "train_car.py", records.folder, tmp_path / "log", "tfrecords/train", tmp_path / "val", status=1
    )
    assert "share" in printed.err


def test_damaged_records_stop_it_before_the_first_step(records, tmp_path):
    for name in ("train", "val"):
        subprocess.run(["cp", "-r", records.folder / "tfrecords" / name, tmp_path], check=True)
    path = tmp_path / "val/val_1.tfrecords"
    path.write_bytes(path.read_bytes()[:-7])
    printed = run("train_car.py", tmp_path, "log", "train", "val", status=1)
    assert "val_1.tfrecords: record 768: " in printed.err and not (tmp_path / "log").exists()


def test_a_loss_that_is_not_finite_stops_with_the_weights_kept(records):
    """Two good steps, then (the settings edited behind its back) a rate that leaves float32's range."""
    options = (
        "tfrecords/train",
        "tfrecords/val",
        "--batch-size",
        8,
        "--val-every",
        1,
        "--val-patches",
        8,
        "--schedule",
        "cosine",
    )
    run("train_car.py", records.folder, "diverging", *options, "--steps", 2)
    log = records.folder / "diverging"
    good = (log / "model_checkpoint.npz").read_bytes()
    settings = json.loads((log / "settings.json").read_text())
    (log / "settings.json").write_text(json.dumps({**settings, "learning_rate": 1e30}))
    printed = run(
        "train_car.py", records.folder, "diverging", *options, "--steps", 9, "--learning-rate", 1e30, status=1
    )
    assert "at step 3" in printed.err and len(printed.err.splitlines()) == 1
    assert (log / "model_checkpoint.npz").read_bytes() == good
    assert losses(log)[:, 0].tolist() == [0, 1, 2]


def test_ctrl_c_stops_after_the_step_and_says_how_to_go_on(trained):
    longer = [100_000 if value == 12 else value for value in TRAINING]
    process = start("train_car.py", trained.folder, "interrupted", *longer)
    while not (trained.folder / "interrupted/state/step_4.npz").exists():
        assert process.poll() is None
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    printed = process.communicate(timeout=60)[0]
    assert process.returncode == 130 and "the same command goes on from there" in printed
