"""car/patch_page.py: which patches are shown, and the pages of training and records, run from the shell."""

import csv
import json
import re
import shutil
import signal
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import TRAINING, Trained, run, start
from PIL import Image
from reference import Array, read_patches, write_patches, zero_padded

from car import patch_page

SIDE = 32


def told(page: Path) -> dict[str, Any]:
    """The data of a page, with its rows by the columns' names, as the browser gets them."""
    first, *lines, last = (page.parent / "report/data.js").read_text(encoding="ascii").splitlines()
    assert (first, last) == ("(globalThis.carReport ??= []).push(", ");")
    found: dict[str, Any] = json.loads("\n".join(lines))
    found["rows"] = [dict(zip(found["columns"], row, strict=True)) for row in found["rows"]]
    return found


def drawn(page: Path) -> Array:
    """What a page shows of its patches: [patches, panels, side, side]."""
    about = told(page)["drawn"]
    (file,) = (page.parent / "report").glob("*.png")
    assert f"report/{file.name}" == about["source"]
    panels = np.asarray(Image.open(file)).astype(int)
    return panels.reshape(-1, SIDE, len(about["words"]), SIDE).swapaxes(1, 2)


# ---- which patches -------------------------------------------------------------------------


def test_typical_patches_have_something_on_them_and_are_from_all_over() -> None:
    contrast = np.full(10_000, 1.9)  # too little to be seen
    contrast[::10] = 30.0
    found = patch_page.typical(contrast, 18)
    assert len(set(found)) == 18 and found == sorted(found) and (contrast[found] == 30).all()
    assert found[0] < 600 and found[-1] > 9400 and np.diff(found).max() < 700
    assert set(patch_page.typical(contrast, 18, without=found)).isdisjoint(found)
    contrast[:10] = 1000.0  # is likelier, and not taken twice
    assert len(set(patch_page.typical(contrast, 100)) & set(range(10))) == 10
    assert len(set(patch_page.typical(contrast, 100))) == 100


@pytest.mark.parametrize("level", [0.0, 1.0])
def test_of_flat_patches_alone_some_are_taken_all_the_same(level: float) -> None:
    found = patch_page.typical(np.full(100, level), 4)
    assert found == [12, 37, 62, 87]
    assert patch_page.typical(np.full(3, level), 4) == [0, 1, 2]
    assert patch_page.typical(np.array([0.0, 9.0, 0.0]), 4) == [1]


def test_the_largest_are_those_above_0() -> None:
    assert patch_page.largest(np.array([1.0, 5.0, -2.0, 0.0, 5.0]), 9) == [1, 4, 0]
    assert patch_page.largest(np.array([1.0, 5.0, 3.0]), 2, without=[1]) == [2, 0]


def test_what_is_measured_and_picked_are_the_patches_themselves() -> None:
    rng = np.random.default_rng(0)
    jpg, bmp = rng.integers(0, 256, (2, 7, 8, 8, 1)).astype(np.int16)
    batches = [(jpg[:4], bmp[:4]), (jpg[4:], bmp[4:])]
    measured = patch_page.measure(batches)
    np.testing.assert_allclose(measured.mse, np.square(1.0 * jpg - bmp).mean((1, 2, 3)))
    np.testing.assert_allclose(measured.contrast, bmp.std((1, 2, 3)))
    for picked, whole in zip(patch_page.pick(batches, [5, 0, 3]), (jpg, bmp), strict=True):
        np.testing.assert_array_equal(picked, whole[[5, 0, 3], ..., 0])


# ---- records -------------------------------------------------------------------------------


def test_the_page_of_records_shows_them_and_names_their_images(reported: Path) -> None:
    page, data = reported / "records_page/index.html", reported / "data"
    about = told(page)
    jpg, bmp = read_patches(reported / "tfrecords/train/train_1.tfrecords")
    mses = np.square((jpg - bmp).astype(float)).mean((1, 2))
    assert [row["kind"] for row in about["rows"]] == ["most change"] * 12 + ["typical"] * 24
    assert about["kinds"] == ["most change", "typical"] and about["drawn"]["words"] == ["JPG", "BMP"]
    shown = [row["mse_before"] for row in about["rows"]]
    np.testing.assert_allclose(shown[:12], np.sort(mses)[::-1][:12], atol=1e-4)
    for row, panels in zip(about["rows"], drawn(page), strict=True):
        assert row["file"] == "train_1.tfrecords" and row["mse_after"] is None
        place = row["record"] - 1
        np.testing.assert_array_equal(panels, [jpg[place], bmp[place]])
        assert row["mse_before"] == pytest.approx(mses[place], abs=1e-4)
        assert row["psnr_before"] == pytest.approx(10 * np.log10(255**2 / mses[place]), abs=1e-3)
        assert row["contrast"] == pytest.approx(bmp[place].std(), abs=0.01) and row["contrast"] > 2
        image = np.asarray(Image.open(data / f"{row['image']}.bmp"))
        patches = image.reshape(16, SIDE, 16, SIDE).swapaxes(1, 2)
        assert (patches == bmp[place]).all((2, 3)).any()
    text = json.dumps(about["facts"])
    assert "3,072 in 1 file" in text and f"JPG {jpg.min()}..{jpg.max()}, BMP {bmp.min()}..{bmp.max()}" in text
    assert f"{mses.mean():.3f}, the loss to beat" in text and "train 12, val 3, test 3" in text
    assert about["tables"][0][2][0][:2] == ["train_1.tfrecords", "3,072"]


def test_records_with_nothing_beside_them_have_no_names(tmp_path: Path) -> None:
    """And of large ones the middle is shown; all the same again replaces the page."""
    rng = np.random.default_rng(0)
    bmp = rng.integers(0, 256, (5, 130, 130))
    write_patches(tmp_path / "x_1.tfrecords", bmp[:3] // 2, bmp[:3])
    write_patches(tmp_path / "x_2.tfrecords", bmp[3:] // 2, bmp[3:])
    for _ in range(2):
        run("read_tfrecord.py", tmp_path, ".", "--report", "new/page", "--sheet", "sheet.png")
    about = told(tmp_path / "new/page/index.html")
    assert {row["image"] for row in about["rows"]} == {""} and len(about["rows"]) == 5
    assert {(row["file"], row["record"]) for row in about["rows"]} == {
        *(("x_1.tfrecords", n) for n in (1, 2, 3)),
        *(("x_2.tfrecords", n) for n in (1, 2)),
    }
    (file,) = (tmp_path / "new/page/report").glob("*.png")
    shown = np.asarray(Image.open(file)).reshape(5, 128, 2, 128)[:, :, 1]
    place = [(row["file"], row["record"]) for row in about["rows"]].index(("x_2.tfrecords", 1))
    np.testing.assert_array_equal(shown[place], bmp[3, 1:-1, 1:-1])


@pytest.mark.parametrize("name", ["index.html", "report/data.js"])
def test_a_page_of_the_users_is_never_overwritten(tmp_path: Path, name: str) -> None:
    write_patches(tmp_path / "x_1.tfrecords", *np.zeros((2, 3, 16, 16), int))
    path = tmp_path / "page" / name
    path.parent.mkdir(parents=True)
    path.write_text("mine")
    said = run("read_tfrecord.py", tmp_path, ".", "--report", "page", status=1).err
    assert f"{path} is of another program" in said and path.read_text() == "mine"
    assert [file for file in (tmp_path / "page").rglob("*") if file.is_file()] == [path]


# ---- training ------------------------------------------------------------------------------


def csv_rows(log: Path) -> list[list[float]]:
    with open(log / "losses.csv", newline="") as file:
        return [[float(value or "nan") for value in row] for row in list(csv.reader(file))[1:]]


def weights_at(state: Path, folder: Path) -> Path:
    """The weights of a state in a file as reference.py reads them: the state holds kernels as matrices."""
    kept: dict[str, Any] = {}
    with np.load(state) as arrays:
        for number, side in enumerate((9, 7, 1, 5), start=1):
            kernel, bias = (arrays[f"variable_{2 * number - place}"] for place in (2, 1))
            kept[f"layer{number}_kernel"] = kernel.reshape(side, side, -1, kernel.shape[1])
            kept[f"layer{number}_bias"] = bias
    np.savez(folder / "weights.npz", **kept)
    return folder / "weights.npz"


def test_the_page_of_a_training_shows_losses_and_patches(reported: Path, tmp_path: Path) -> None:
    page = reported / "log_of_page/index.html"
    about, rows = told(page), csv_rows(reported / "log_of_page")
    np.testing.assert_allclose(about["losses"]["rows"], rows, rtol=1e-4)
    assert about["losses"]["columns"][:2] == ["step", "train_loss"] and about["unfinished"] == ""
    assert ["step", "12 of 12"] in about["facts"][0][1]
    assert [fact for fact in about["facts"][1][1] if fact[0] in ("residual", "batch size", "init")] == [
        ["residual", "yes"],
        ["batch size", "8"],
        ["init", "none"],
    ]
    assert about["drawn"]["words"] == ["JPG", "corrected", "BMP"]
    jpg, bmp = read_patches(reported / "tfrecords/val/val_1.tfrecords")
    weights = weights_at(reported / "log_of_page/state/step_12.npz", tmp_path)
    inner = slice(9, -9)
    for row, (seen, corrected, truth) in zip(about["rows"], drawn(page), strict=True):
        place = row["record"] - 1
        np.testing.assert_array_equal([seen, truth], [jpg[place], bmp[place]])
        image = np.asarray(Image.open(reported / f"data/{row['image']}.bmp"))
        assert (image.reshape(16, SIDE, 16, SIDE).swapaxes(1, 2) == truth).all((2, 3)).any()
        wanted = zero_padded(weights, seen)
        before, after = (np.square(one - truth)[inner, inner].mean() for one in (seen, wanted))
        assert row["mse_before"] == pytest.approx(before, abs=1e-3)
        assert np.abs(corrected - np.clip(wanted, 0, 255)).max() < 0.51
        assert row["mse_after"] == pytest.approx(after, rel=1e-3)
    worst = [row["mse_after"] for row in about["rows"] if row["kind"] == "most error left"]
    assert len(worst) == 12 and worst == sorted(worst, reverse=True)
    assert all(row["mse_after"] <= worst[-1] for row in about["rows"][12:])
    made_worse = [row for row in about["rows"] if row["kind"] == "made worse"]
    assert all(row["mse_after"] > row["mse_before"] for row in made_worse)
    typical = [row for row in about["rows"] if row["kind"] == "typical"]
    assert len(typical) == 12 and all(row["contrast"] > 2 for row in typical)
    assert len({(row["file"], row["record"]) for row in about["rows"]}) == len(about["rows"])
    best = min(rows, key=lambda row: row[5])
    assert f"{best[5]:.3f} at step {best[0]:.0f}; the JPG's {best[6]:.3f}" in json.dumps(about["facts"])


def test_a_killed_training_leaves_a_page_and_goes_on_with_it(reported: Path) -> None:
    log = reported / "killed_with_a_page"
    longer = [100_000 if value == 12 else value for value in TRAINING]
    process = start("train_car.py", reported, log.name, *longer, "--report")
    while not (log / "state/step_8.npz").exists():
        assert process.poll() is None
        time.sleep(0.02)
    process.send_signal(signal.SIGKILL)
    process.wait()
    about = told(log / "index.html")
    steps = [row[0] for row in about["losses"]["rows"]]
    assert steps[:3] == [0, 4, 8] and f"was at step {steps[-1]} of 100,000" in about["unfinished"]
    assert (log / about["drawn"]["source"]).exists()  # a kill between the two can leave a second one
    longer = [steps[-1] + 4 if value == 12 else value for value in TRAINING]
    run("train_car.py", reported, log.name, *longer, "--report")
    about = told(log / "index.html")
    assert about["unfinished"] == "" and len(drawn(log / "index.html")) == len(about["rows"])


def test_a_finished_run_gets_its_page_without_a_further_step(trained: Trained) -> None:
    log = trained.folder / "page_afterwards"
    shutil.copytree(trained.log, log)
    before = (log / "losses.csv").read_bytes()
    said = run("train_car.py", trained.folder, log.name, *TRAINING, "--report").out
    assert "finished: " in said and (log / "losses.csv").read_bytes() == before
    about = told(log / "index.html")
    np.testing.assert_allclose(about["losses"]["rows"], csv_rows(log), rtol=1e-4)
    after = np.array([row["mse_after"] for row in about["rows"]])
    assert re.search(r"\d+ of 64 validation patches", json.dumps(about["facts"])) and (after > 0).any()
    (log / "index.html").write_text("mine")
    said = run("train_car.py", trained.folder, log.name, *TRAINING, "--report", status=1).err
    assert "index.html is of another program" in said and (log / "index.html").read_text() == "mine"
