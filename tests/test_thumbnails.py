"""car/thumbnails.py: what the page of results shows of a picture."""

import io

import numpy as np
import pytest
from conftest import ROOT
from PIL import Image

from car import thumbnails
from car.arrays import Pixels

COFFEE = np.asarray(Image.open(ROOT / "samples/coffee.bmp"))  # [400, 600, 3]


def changed_at(pixels: Pixels, *places: tuple[int, int, int]) -> Pixels:
    """A copy, brighter by `by` in the block of 8x8 pixels at each (x, y, by)."""
    copy = pixels.copy() // 2
    for x, y, by in places:
        copy[y : y + 8, x : x + 8] += np.uint8(by)
    return copy


def other(pixels: Pixels) -> Pixels:
    """Every level another, by 1."""
    return np.bitwise_xor(pixels, np.uint8(1))


def test_crops_lie_where_most_changed() -> None:
    before = COFFEE // 2
    after = changed_at(COFFEE, (304, 200, 4), (8, 8, 9), (592, 392, 6))
    drawn = thumbnails.draw(before, after, COFFEE)
    assert len(drawn.places) == 3
    for (x, y), (left, top) in zip([(8, 8), (592, 392), (304, 200)], drawn.places, strict=True):
        assert left <= x <= left + 88 and top <= y <= top + 88  # the whole block lies in it
    assert drawn.crops and drawn.crops.size == (3 * 96, 3 * 96)
    left, top = drawn.places[1]
    cut = slice(top, top + 96), slice(left, left + 96)
    row = np.asarray(drawn.crops)[96:192]
    for place, picture in enumerate((before, after, COFFEE)):
        assert np.array_equal(row[:, 96 * place : 96 * place + 96], picture[cut])


def test_crops_do_not_overlap_and_are_no_more_than_three() -> None:
    drawn = thumbnails.draw(COFFEE, other(COFFEE), None)
    assert len(drawn.places) == 3 and drawn.crops and drawn.crops.size == (2 * 96, 3 * 96)
    for one in range(3):
        for before in range(one):
            assert max(abs(a - b) for a, b in zip(drawn.places[one], drawn.places[before], strict=True)) >= 96


def test_the_sheet_is_before_after_and_what_changed() -> None:
    after = changed_at(COFFEE, (304, 200, 8))
    sheet = np.asarray(thumbnails.draw(COFFEE // 2, after, None).sheet)
    assert sheet.shape == (1200, 600, 3)
    assert np.array_equal(sheet[:400], COFFEE // 2) and np.array_equal(sheet[400:800], after)
    change = sheet[800:]
    assert (change[200:208, 304:312] == 8 * thumbnails.CHANGE_GAIN).all()
    assert change.sum(dtype=np.int64) == 64 * 3 * 8 * thumbnails.CHANGE_GAIN


@pytest.mark.parametrize(
    ("size", "reduced"), [((1300, 70), (434, 24)), ((641, 2000), (161, 500)), ((640, 640), (640, 640))]
)
def test_larger_pictures_are_reduced_to_means(size: tuple[int, int], reduced: tuple[int, int]) -> None:
    """By a whole factor, each band as the whole; each panel begins on an MCU of the JPEG."""
    pixels = np.asarray(Image.fromarray(COFFEE).resize(size))
    sheet = thumbnails.draw(pixels, other(pixels), None).sheet
    pitch = -(-reduced[1] // 16) * 16
    assert sheet.size == (reduced[0], 3 * pitch)
    factor = -(-max(size) // 640)
    whole = np.asarray(Image.fromarray(pixels).reduce(factor))
    panel = np.asarray(sheet)[:pitch]
    assert np.array_equal(panel[: reduced[1]], whole) and (panel[reduced[1] :] == whole[-1]).all()


def test_a_picture_smaller_than_a_crop_and_grey() -> None:
    before = COFFEE[:20, :30, 0]
    drawn = thumbnails.draw(before, other(before), COFFEE[:20, :30])
    assert drawn.places == [(0, 0)] and drawn.crops and drawn.crops.size == (90, 20)
    assert drawn.crops.mode == drawn.sheet.mode == "L"
    coloured = thumbnails.draw(COFFEE[:20, :30], other(COFFEE[:20, :30]), before).crops
    assert coloured and np.array_equal(np.asarray(coloured)[:, 60:], np.stack([before] * 3, -1))


def test_of_what_did_not_change_there_are_no_crops() -> None:
    drawn = thumbnails.draw(COFFEE, COFFEE, None)
    assert drawn.places == [] and thumbnails.as_files(drawn)[1] is None


def test_the_crops_are_saved_without_loss() -> None:
    drawn = thumbnails.draw(COFFEE, other(COFFEE), None)
    sheet, crops = thumbnails.as_files(drawn)
    assert crops and drawn.crops
    assert np.array_equal(np.asarray(Image.open(io.BytesIO(crops))), np.asarray(drawn.crops))
    shown = np.asarray(Image.open(io.BytesIO(sheet)), np.float64)
    assert np.abs(shown - np.asarray(drawn.sheet)).mean() < 3
