"""pretrained/train_chroma.py: what it learns from, and a short training run to its end."""

import re
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
from conftest import ROOT, run
from PIL import Image
from reference import Array

from car import chroma, optimizers, tiles, weights

sys.path.insert(0, str(ROOT / "pretrained"))

import train_chroma


def smooth(height: int, width: int) -> Array:
    y, x = np.mgrid[:height, :width]
    return np.stack([40 + x, 60 + 2 * y, 200 - x - y], -1).astype(np.uint8)


def test_clean_chroma_on_a_coded_grid() -> None:
    """By JFIF, which Pillow rounds down; each sample the mean of what it covers, the edge repeated."""
    clean = smooth(33, 46)
    whole = np.asarray(Image.fromarray(clean).convert("YCbCr")).astype(float)[..., 1:]
    np.testing.assert_allclose(train_chroma.chroma_of(clean, (33, 46)), whole, atol=1)
    halved = train_chroma.chroma_of(clean, (17, 23))
    np.testing.assert_allclose(halved[4, 5], whole[8:10, 10:12].mean(axis=(0, 1)), atol=1)
    np.testing.assert_allclose(halved[16, 5], whole[32, 10:12].mean(axis=0), atol=1)
    across = train_chroma.chroma_of(clean, (33, 23))
    np.testing.assert_allclose(across[7, 9], whole[7, 18:20].mean(axis=0), atol=1)


@pytest.mark.parametrize("way", range(8))
def test_turned_examples_are_those_of_turned_pictures(way: int) -> None:
    rng = np.random.default_rng(way)
    luma, cb, cr = (rng.integers(0, 256, shape, np.uint8) for shape in ((20, 14), (10, 7), (10, 7)))

    def seen(planes: list[Array]) -> Array:
        height, width = planes[1].shape
        tiling = tiles.Tiling(height, width, (height,), (width,), 3)
        return chroma.Mirrored(planes, tiling).cut(tiling.tiles)

    planes = [luma, cb, cr]
    turned = [train_chroma.turned(plane[np.newaxis], way)[0] for plane in planes]
    np.testing.assert_array_equal(train_chroma.turned(seen(planes), way), seen(turned))
    assert len({train_chroma.turned(luma[np.newaxis], other).tobytes() for other in range(8)}) == 8


def test_a_short_training(tmp_path: Path) -> None:
    log, data = tmp_path / "log", tmp_path / "data"
    shutil.copytree(ROOT / "pretrained/q10", log)
    (log / weights.CHROMA_FILE).unlink(missing_ok=True)
    data.mkdir()
    for name in ("astronaut", "chelsea", "camera"):  # the last is grey: it teaches nothing
        shutil.copy(ROOT / f"samples/{name}.bmp", data)
    command = ("pretrained/train_chroma.py", log, 10, data, "--val", data, "--steps", 60)
    if optimizers.why_no_muon():  # on Python 3.10
        assert "muon needs Keras 3.13" in run(*command, status=2).err
        return
    said = run(*command).out
    errors = re.findall(r"(Cb|Cr) ([\d.]+) -> ([\d.]+)", said)
    assert [name for name, *_ in errors] == ["Cb", "Cr"] * 3
    for _, before, after in errors[:2]:
        assert 0.5 * float(before) < float(after) < 0.97 * float(before)
    assert weights.load(log).chroma is not None


@pytest.mark.skipif(bool(optimizers.why_no_muon()), reason="older Keras")
def test_what_cannot_be_trained_on(tmp_path: Path) -> None:
    shutil.copytree(ROOT / "pretrained/q10", tmp_path / "log")
    (tmp_path / "grey").mkdir()
    shutil.copy(ROOT / "samples/camera.bmp", tmp_path / "grey")
    grey = tmp_path / "grey"
    said = run("pretrained/train_chroma.py", tmp_path / "log", 10, grey, "--val", grey, status=1)
    assert "no colour images that are large enough" in said.err
    said = run("pretrained/train_chroma.py", tmp_path / "log", 10, tmp_path / "no", "--val", grey, status=2)
    assert "there is no folder" in said.err
