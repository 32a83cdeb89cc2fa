"""Nothing of the user's is overwritten, removed or written elsewhere, however the folders and links lie."""

import csv
import re
import shutil
import subprocess
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from conftest import TRAINING
from PIL import Image
from processes import contents, to_its_end, together


def save_pairs(folder: Path, *names: str) -> None:
    folder.mkdir(parents=True)
    for number, name in enumerate(names):
        image = Image.linear_gradient("L").resize((40, 40 + number))
        image.save(folder / f"{name}.jpg", quality=20)
        image.save(folder / f"{name}.bmp")


def test_results_beside_the_images(trained: SimpleNamespace, tmp_path: Path) -> None:
    """The same folder under two names is refused; a folder inside, and a link to one, are fine."""
    save_pairs(tmp_path / "data", "a", "b")
    before = contents(tmp_path)
    (tmp_path / "link").symlink_to("data")
    (tmp_path / "data/inside").mkdir()
    (tmp_path / "other").symlink_to("data/inside")
    log = trained.log
    refused = ("run_car_images.py", tmp_path, log)
    faults = together(
        lambda: to_its_end(*refused, "data", "link", status=2, lines=99),
        lambda: to_its_end(*refused, "link", "data/inside/..", status=2, lines=99),
        lambda: to_its_end(*refused, "data", "other", "--luma-only"),
    )
    for fault in faults[:2]:
        assert "results must be another folder than data" in fault.err
    results = [".car_results.jsonl", "a_car.bmp", "b_car.bmp", "figures.csv"]
    assert sorted(path.name for path in (tmp_path / "data/inside").iterdir()) == results
    assert (tmp_path / "other").is_symlink() and (tmp_path / "link").is_symlink()
    for name in results:
        (tmp_path / "data/inside" / name).unlink()
    assert contents(tmp_path) == before


def test_links_among_the_results(trained: SimpleNamespace, tmp_path: Path) -> None:
    """A link with the name of what is written before a result is replaced, not followed; one with a result's own is kept."""
    save_pairs(tmp_path / "data", "a", "b")
    (tmp_path / "mine").mkdir()
    (tmp_path / "results").mkdir()
    names = (
        "b_car.bmp",
        ".a_car.bmp.partial",
        ".figures.csv.partial",
        ".a_compare.png.partial",
    )
    for name in names:
        (tmp_path / "mine" / name).write_text("mine")
        (tmp_path / "results" / name).symlink_to(tmp_path / "mine" / name)
    command = ("run_car_images.py", tmp_path, trained.log, "data", "results", "--compare", "--luma-only")
    told = to_its_end(*command, status=1).out
    assert "left out: b.jpg: b_car.bmp is in" in told
    assert contents(tmp_path / "mine") == dict.fromkeys(names, b"mine")
    results = {path.name: path.is_symlink() for path in (tmp_path / "results").iterdir()}
    ours = (".car_results.jsonl", "a_car.bmp", "a_compare.png", "figures.csv")
    assert results == {**dict.fromkeys(ours, False), "b_car.bmp": True}


def test_a_lock_that_is_a_link_is_not_followed(trained: SimpleNamespace, tmp_path: Path) -> None:
    save_pairs(tmp_path / "data", "a")
    (tmp_path / "results").mkdir()
    (tmp_path / "mine").write_text("mine")
    (tmp_path / "results/.car_1_of_1.lock").symlink_to(tmp_path / "mine")
    told = to_its_end("run_car_images.py", tmp_path, trained.log, "data", "results", status=1).err
    assert ".car_1_of_1.lock" in told and (tmp_path / "mine").read_text() == "mine"


def test_figures_of_another_program(trained: SimpleNamespace, tmp_path: Path) -> None:
    save_pairs(tmp_path / "data", "a")
    (tmp_path / "results").mkdir()
    (tmp_path / "results/figures.csv").write_text("patient,dose\n17,3.5\n")
    told = to_its_end("run_car_images.py", tmp_path, trained.log, "data", "results", status=1).err
    assert "figures.csv is damaged, or of another program" in told
    assert (tmp_path / "results/figures.csv").read_text() == "patient,dose\n17,3.5\n"


def test_records_into_a_folder_of_other_things(records: SimpleNamespace, tmp_path: Path) -> None:
    """Refused: photographs, records of another program, a link among ours. A link to our folder stays one."""
    shutil.copytree(records.folder / "tfrecords/train", tmp_path / "foreign")
    (tmp_path / "foreign/split.json").unlink()
    shutil.copytree(records.folder / "tfrecords/val", tmp_path / "mixed")
    (tmp_path / "mixed/val_1000.tfrecords").write_text("mine")
    shutil.copytree(records.folder / "tfrecords/val", tmp_path / "ours")
    (tmp_path / "link").symlink_to("ours")
    before = contents(tmp_path)
    data = records.folder / "data"

    def refused(script: str, folder: Path, name: str) -> None:
        told = to_its_end(script, tmp_path, data, folder, status=1).err
        assert f"{folder} is to be replaced as a whole, but holds {name}" in told

    together(
        lambda: refused("load_train_data.py", tmp_path / "foreign", "train_1.tfrecords"),
        lambda: refused("load_val_data.py", tmp_path / "mixed", "val_1000.tfrecords"),
        lambda: to_its_end("load_val_data.py", tmp_path, data, "link"),
    )
    assert contents(tmp_path) == before and (tmp_path / "link").readlink() == Path("ours")
    assert not any(path.name.startswith(".") for path in tmp_path.iterdir())


def test_a_log_in_a_folder_of_other_things(trained: SimpleNamespace, tmp_path: Path) -> None:
    tfrecords, options = trained.folder / "tfrecords", TRAINING[2:]
    shutil.copytree(tfrecords / "val", tmp_path / "val")
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/losses.csv").write_text("mine")
    before = contents(tmp_path)
    same, mine = together(
        lambda: to_its_end(
            "train_car.py", tmp_path, "val", tfrecords / "train", "val", *options, status=2, lines=99
        ),
        lambda: to_its_end("train_car.py", tmp_path, "mine", tfrecords / "train", "val", *options, status=1),
    )
    assert "log must be another folder than the records" in same.err
    assert "losses.csv would be overwritten" in mine.err
    assert contents(tmp_path) == before


def test_names_that_a_disk_does_not_tell_apart(trained: SimpleNamespace, tmp_path: Path) -> None:
    """a.jpg and A.jpg are two images here, and would be one result on a disk as of a camera."""
    if shutil.which("mkfs.vfat") is None:
        pytest.skip("no mkfs.vfat")
    disk = tmp_path / "disk"
    disk.mkdir()
    with open(tmp_path / "image", "wb") as file:
        file.truncate(2**20)
    subprocess.run(["mkfs.vfat", tmp_path / "image"], check=True, capture_output=True)
    if subprocess.run(["mount", "-o", "loop", tmp_path / "image", disk], capture_output=True).returncode:
        pytest.skip("no right to mount a disk")
    try:
        save_pairs(tmp_path / "data", "a", "A")
        told = to_its_end("run_car_images.py", tmp_path, trained.log, "data", disk, "--luma-only").out
        assert "told apart from others of their name: 1 (A.jpg becomes A.jpg_car)" in told
        results = [path.name for path in disk.iterdir() if path.name.endswith(".bmp")]
        assert sorted(results) == ["A.jpg_car.bmp", "a_car.bmp"]
    finally:
        subprocess.run(["umount", "-l", disk], check=True)


def test_a_loss_that_is_no_number(trained: SimpleNamespace, tmp_path: Path) -> None:
    """The training stops and says where; what was best before is kept."""

    def diverge(log: Path, *options: object) -> str:
        command = ("train_car.py", trained.folder, log, *TRAINING, *options)
        return to_its_end(*command, status=1).err

    late, soon = together(
        lambda: diverge(tmp_path / "late", "--learning-rate", 20, "--val-every", 1),
        lambda: diverge(tmp_path / "soon", "--learning-rate", 1e30),
    )
    assert " at step 1; stopped" in soon and "lower --learning-rate" in soon
    assert np.load(tmp_path / "soon/model_checkpoint.npz")["step"] == 0  # there were no others yet
    step = int(re.findall(r"(?:the loss is nan|no number) at step (\d+); stopped", late)[0])
    weights = np.load(tmp_path / "late/model_checkpoint.npz")
    with open(tmp_path / "late/losses.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    best = min(rows, key=lambda row: float(row["inner_loss"]))
    assert 1 < step < 12 and weights["step"] == int(best["step"]) < step
    assert all(np.isfinite(weights[name]).all() for name in weights)
    assert (tmp_path / "late/losses.csv").read_text().count(
        "\n"
    ) == step + 1  # the header, step 0, and the steps before
