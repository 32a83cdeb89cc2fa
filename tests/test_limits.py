"""car/limits.py: what of a change is kept, against reference.limited and on pictures that no photograph is."""

from typing import Any

import numpy as np
import pytest
from conftest import ROOT
from PIL import Image
from reference import Array, limited, trusted

from car import coded, images, jpeg, levels, limits
from car.arrays import Floats, Pixels


def limit(change: Floats, *of: Any) -> None:
    """limit_change for changes in grey levels."""
    held = levels.held(change)
    limits.limit_change(held, *of)
    change[...] = levels.in_levels(held)


@pytest.mark.parametrize("shape", [(531, 43), (256, 40), (257, 272), (259, 15), (264, 9), (515, 8), (5, 3)])
def test_a_change_is_kept_to_the_steps(shape: tuple[int, int]) -> None:
    """Bands of 256 rows, 1 to 3 rows after them, partial blocks, blocks of black, of white, and with some of them."""
    rng = np.random.default_rng(shape[0])
    samples = rng.integers(1, 255, shape).astype(np.uint8)
    samples[8:24, :16], samples[24:40, :8], samples[100:104], samples[528:, :8] = 0, 255, 255, 255
    change, gains = rng.normal(0, 3, shape).astype(np.float32), rng.uniform(0, 2, (8, 8)).astype(np.float32)
    table = jpeg.table_of_quality(30)
    wanted = limited(change.astype(float), samples, table, gains)
    assert np.abs(wanted - change).max() > 1
    kept = change.copy()
    limit(kept, samples, table, gains)
    np.testing.assert_allclose(kept, wanted, atol=0.03)


Y, X = np.mgrid[:128, :128]
RANDOM = np.random.default_rng(1)
PATTERNS: dict[str, Array] = {
    "checkerboard": (X + Y) % 2 * 255,
    "checkerboard of 2": (X // 2 + Y // 2) % 2 * 255,
    "steep hatching": ((X + 2 * Y) % 5 < 2) * 255,
    "noise": RANDOM.integers(0, 256, (128, 128)),
    "pale checkerboard": 100 + (X + Y) % 2 * 56,
    "levels": np.kron(RANDOM.integers(0, 256, (16, 16)), np.ones((8, 8))),
    "edge on the grid": np.where(X < 64, 90, 190),
    "dark ground": np.full((128, 128), 8),
}


def smoothed(samples: Pixels) -> Floats:
    """What a net that takes detail for noise asks for: the mean of 3x3 pixels in place of each."""
    padded = np.pad(samples.astype(np.float32), 1, "edge")
    mean = (
        sum(padded[y : y + samples.shape[0], x : x + samples.shape[1]] for y in range(3) for x in range(3))
        / 9
    )
    change: Floats = (mean - samples).astype(np.float32)
    return change


def encoded(picture: Array, quality: int) -> coded.Plane:
    return images.decode_jpeg(images.jpeg_bytes(np.clip(picture, 0, 255).astype(np.uint8), quality)).planes[0]


@pytest.mark.parametrize("quality", [10, 50, 90])
@pytest.mark.parametrize("name", PATTERNS)
def test_patterns_stay_as_the_file_has_them(name: str, quality: int) -> None:
    plane = encoded(PATTERNS[name], quality)
    assert plane.table is not None
    change = smoothed(plane.samples)
    if name == "dark ground":
        change += 2
    limit(change, plane.samples, plane.table, np.ones((8, 8), np.float32))
    if name == "dark ground" and (plane.samples >= 16).any():
        pytest.skip("this quality holds no level under 16 for it")
    assert np.abs(change).mean() < (0.8 if name == "noise" else 0.15)


@pytest.mark.parametrize("name", ["astronaut", "coffee", "camera", "chelsea"])
@pytest.mark.parametrize("quality", [10, 50, 85])
def test_photographs_are_trusted(name: str, quality: int) -> None:
    """All but a few blocks, with a change that is as far off as smoothing is."""
    plane = encoded(np.asarray(Image.open(ROOT / f"samples/{name}.bmp").convert("L")), quality)
    assert plane.table is not None
    change = smoothed(plane.samples) / 3
    height, width = (length // 8 * 8 for length in change.shape)
    weights = trusted(change[:height, :width], plane.samples[:height, :width], plane.table, np.ones((8, 8)))
    assert (weights < 1).mean() < 0.06


def test_trust_is_the_references_on_a_page_of_everything() -> None:
    """Photograph, patterns and flats side by side, so that each rule is half in and half out somewhere."""
    photograph = np.asarray(Image.open(ROOT / "samples/astronaut.bmp").convert("L"))[:128, :128]
    rows = [
        [photograph, *list(PATTERNS.values())[:2]],
        [*list(PATTERNS.values())[2:5]],
        [*list(PATTERNS.values())[5:8]],
    ]
    page = np.concatenate([np.concatenate(row, axis=1) for row in rows])
    for strength in (1.0, 0.35):
        faint = 128 + (page - 128.0) * strength if strength < 1 else page
        plane = encoded(faint, 75)
        assert plane.table is not None
        change = smoothed(plane.samples).clip(-128, 127.99)  # as it is held
        gains = np.linspace(0.5, 1.5, 64, dtype=np.float32).reshape(8, 8)
        weights = trusted(change.astype(float), plane.samples, plane.table, gains)
        assert ((weights > 0.02) & (weights < 0.98)).any() and (weights == 0).any() and (weights == 1).any()
        wanted = limited(change.astype(float), plane.samples, plane.table, gains)
        limit(change, plane.samples, plane.table, gains)
        np.testing.assert_allclose(change, wanted, atol=0.03)


def test_far_beyond_photographs_nothing_is_changed_whatever_is_asked() -> None:
    """A net that strengthens the pattern, by less than a step: what it weakens and asks for tells nothing."""
    plane = encoded(PATTERNS["checkerboard of 2"], 80)
    assert plane.table is not None
    change = -0.02 * smoothed(plane.samples)
    assert np.abs(change).max() > 1
    limit(change, plane.samples, plane.table, np.ones((8, 8), np.float32))
    assert np.abs(change).max() < 1e-3


@pytest.mark.parametrize("quality, part", [(85, 1), (90, 0), (95, 0)])
def test_a_smooth_sky_of_a_fine_file_stays_as_it_is(quality: int, part: int) -> None:
    rows, columns = np.mgrid[:64, :64]
    plane = encoded(120 + 30 * rows / 64 + 4 * columns / 64, quality)
    assert plane.table is not None
    for is_chroma in (False, True):
        change = np.full((64, 64), 0.1, np.float32)
        limit(change, plane.samples, plane.table, np.ones((8, 8), np.float32), is_chroma)
        np.testing.assert_allclose(change, 0.1 if is_chroma else 0.1 * part, atol=0.03)


def test_a_grating_that_repeats_from_block_to_block_stays() -> None:
    """A period of 8 rows. One of 11 repeats nowhere, and a change of it is as good as any."""
    for quality, kept in ((20, False), (60, False), (95, False), (60, True)):
        plane = encoded(127.5 * (1 - np.cos(2 * np.pi * Y / (11 if kept else 8))), quality)
        assert plane.table is not None
        change = np.full(plane.samples.shape, 0.3, np.float32)
        limit(change, plane.samples, plane.table, np.ones((8, 8), np.float32))
        np.testing.assert_allclose(change[8:-8], 0.3 if kept else 0, atol=0.03)


def test_trust_in_gratings_is_the_references() -> None:
    """Ever fainter from left to right, from steps that hold nothing to those that hold much; and fine ones."""
    faint = np.repeat(np.linspace(0.05, 1, 8), 32)
    smooth = 127.5 * (1 - np.cos(2 * np.pi * np.arange(96) / 8)[:, np.newaxis] * faint)
    sharp = 127.5 * (1 + np.where(np.arange(96) % 4 < 2, 1, -1)[:, np.newaxis] * faint)
    for picture, quality in ((smooth, 50), (smooth, 92), (sharp, 50), (sharp, 92)):
        plane = encoded(picture, quality)
        assert plane.table is not None
        change, gains = np.full(plane.samples.shape, 0.3, np.float32), np.ones((8, 8), np.float32)
        wanted = limited(change.astype(float), plane.samples, plane.table, gains)
        limit(change, plane.samples, plane.table, gains)
        np.testing.assert_allclose(change, wanted, atol=0.03)


def test_an_edge_of_half_a_step_between_flat_blocks_stays() -> None:
    """A square of level 6 on black, quality 50: the file holds it exactly; a ramp so steep would be told."""
    square = np.zeros((64, 64))
    square[16:48, 16:48] = 6
    plane = encoded(square, 50)
    assert plane.table is not None and (plane.samples == square).all()
    change = smoothed(plane.samples)
    limit(change, plane.samples, plane.table, np.ones((8, 8), np.float32))
    assert np.abs(change).max() < 0.01


def test_only_in_chroma_128_keeps_its_level() -> None:
    plane = encoded(np.full((32, 32), 128), 50)
    assert plane.table is not None and (plane.samples == 128).all()
    for is_chroma in (False, True):
        change = np.full((32, 32), 1, np.float32)
        limit(change, plane.samples, plane.table, np.ones((8, 8), np.float32), is_chroma)
        np.testing.assert_allclose(change, 0 if is_chroma else 0.7, atol=0.3)
