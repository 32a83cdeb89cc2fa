"""car/pictures.py: what is drawn lies where it belongs."""

import itertools
import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageChops, ImageDraw
from reference import Array

from car import pictures

NAN = math.nan
BLUE, RED, PALE_BLUE, PALE_RED = (
    (0x1F, 0x77, 0xB4),
    (0xD6, 0x27, 0x28),
    (0xA8, 0xC8, 0xE4),
    (0xE8, 0xA0, 0xA0),
)
GREY = (0xDD, 0xDD, 0xDD)


def text(word: str) -> Array:
    """A word as Pillow writes it in black on white at (0, 0)."""
    image = Image.new("RGB", (220, 14), "white")
    ImageDraw.Draw(image).text((0, 0), word, fill="black")
    found = ImageChops.invert(image).getbbox()
    assert found is not None
    return np.asarray(image)[:, : found[2]]


def noise(seed: int, *shape: int) -> Array:
    return np.random.default_rng(seed).integers(0, 256, shape).astype(np.uint8)


# ---- sheets --------------------------------------------------------------------------------


def test_panels_side_by_side_under_their_titles() -> None:
    grey, colour, last = noise(0, 20, 60), noise(1, 20, 90, 3), noise(2, 20, 50)
    image = pictures.side_by_side([grey, colour, last], ["one", "two", "three"])
    sheet = np.asarray(image)
    assert image.mode == "RGB" and sheet.shape == (18 + 20 + 8, 8 + 60 + 8 + 90 + 8 + 50 + 8, 3)
    used = np.zeros(sheet.shape[:2], bool)
    for panel, title, left in ((grey, "one", 8), (colour, "two", 76), (last, "three", 174)):
        place = slice(18, 38), slice(left, left + panel.shape[1])
        wanted = panel if panel.ndim == 3 else np.repeat(panel[..., np.newaxis], 3, -1)
        np.testing.assert_array_equal(sheet[place], wanted)
        used[place] = True
        written = text(title)
        place = slice(3, 17), slice(left, left + written.shape[1])
        np.testing.assert_array_equal(sheet[place], written)
        used[place] = True
    assert (sheet[~used] == 255).all()


def test_as_many_titles_as_panels() -> None:
    with pytest.raises(ValueError):
        pictures.side_by_side([noise(0, 9, 9)], ["one", "two"])


def test_differences_are_magnified_about_mid_grey() -> None:
    after = np.array([[10, 11, 9, 255, 0, 50, 50]], np.uint8)
    before = np.array([[10, 10, 10, 0, 255, 18, 19]], np.uint8)
    made = pictures.difference(after, before)
    assert made.tolist() == [[128, 132, 124, 255, 0, 255, 252]] and made.dtype == np.uint8
    assert pictures.difference(after, before, gain=1).tolist() == [[128, 129, 127, 255, 0, 160, 159]]


@pytest.mark.parametrize("side, zoom", [(32, 4), (43, 2), (64, 2), (65, 1), (128, 1), (130, 1)])
def test_a_sheet_of_pairs(side: int, zoom: int) -> None:
    """Eight pairs: six in the first three columns, two in the next three; small patches magnified."""
    jpg, bmp = noise(0, 8, side, side), noise(1, 8, side, side)
    sheet = np.asarray(pictures.sheet_of_pairs(jpg, bmp))
    shown = side * zoom
    wide = max(shown, text("JPG - BMP, 4 times").shape[1])  # of the third column
    assert sheet.shape == (18 + 6 * (shown + 4) + 8, 4 * (shown + 8) + 2 * (wide + 8) + 8, 3)
    signed = jpg.astype(int) - bmp
    wanted = (jpg, bmp, np.clip(128 + 4 * signed, 0, 255))
    for number in range(8):
        top = 18 + number % 6 * (shown + 4)
        for column, patches in enumerate(wanted):
            left = 8 + (number // 6 * 3 + column) * (shown + 8) + number // 6 * (wide - shown)
            place = sheet[top : top + shown, left : left + shown]
            for y, x in ((0, 0), (side - 1, 0), (side // 2, side // 3), (side - 1, side - 1)):
                block = place[y * zoom : (y + 1) * zoom, x * zoom : (x + 1) * zoom]
                assert (block == patches[number][y, x]).all()
            assert (sheet[top + shown : top + shown + 4, left : left + shown] == 255).all()
    below = 18 + 2 * (shown + 4)
    assert (sheet[below:, 8 + 2 * (shown + 8) + wide + 8 :] == 255).all()
    if zoom * side >= 128:
        for column, title in enumerate(("JPG", "BMP", "JPG - BMP, 4 times") * 2):
            left, written = 8 + column * (shown + 8), text(title)
            np.testing.assert_array_equal(sheet[3:17, left : left + written.shape[1]], written)


def test_names_stand_below_their_pairs() -> None:
    """A short one whole, the end of a long one; without names the sheet is as it was."""
    jpg, bmp, long = noise(0, 8, 32, 32), noise(1, 8, 32, 32), "a folder/" * 20 + "the end"
    sheet = np.asarray(pictures.sheet_of_pairs(jpg, bmp, ["short", *[""] * 6, long]))
    written, wide = text("short"), max(128, text("JPG - BMP, 4 times").shape[1])
    assert sheet.shape[0] == 18 + 6 * (128 + 16) + 8
    np.testing.assert_array_equal(sheet[147 : 147 + written.shape[0], 8 : 8 + written.shape[1]], written)
    second = 8 + 2 * 136 + wide + 8
    line = sheet[18 + 144 + 128 :][:16, second : second + 2 * 136 + wide]
    assert 200 < np.flatnonzero((line < 128).any((0, 2))).max() < 2 * 136 + wide
    assert (sheet[18 + 144 + 128 :][:16, :second] == 255).all()  # of the pair beside it: no name
    nameless = pictures.sheet_of_pairs(jpg, bmp, [""] * 8)
    np.testing.assert_array_equal(np.asarray(nameless), np.asarray(pictures.sheet_of_pairs(jpg, bmp)))


def test_one_pair_alone() -> None:
    sheet = np.asarray(pictures.sheet_of_pairs(noise(0, 1, 128, 128), noise(1, 1, 128, 128)))
    assert sheet.shape == (18 + 6 * 132 + 8, 3 * 136 + 8, 3) and (sheet[18 + 128 :] == 255).all()


def test_a_comparison_with_and_without_a_truth() -> None:
    before, truth = noise(0, 40, 150, 3), noise(1, 40, 150)
    after = np.clip(before.astype(int) + 7, 0, 255).astype(np.uint8)
    luma = [np.asarray(Image.fromarray(p).convert("L")).astype(int) for p in (before, after)]
    changed = np.clip(128 + 4 * (luma[1] - luma[0]), 0, 255)
    for last, titles in ((truth, ["JPG", "corrected", "BMP"]), (None, ["JPG", "corrected"])):
        sheet = np.asarray(pictures.comparison(before, after, last))
        panels = [before, after] if last is None else [before, after, last]
        all_of_it = text("what changed, 4 times, grey = nothing")
        left, wide = 8 + len(panels) * 158, all_of_it.shape[1]
        assert sheet.shape[0] == 66 and left + wide <= sheet.shape[1] - 8 <= left + wide + 1
        np.testing.assert_array_equal(sheet[3:17, left : left + wide], all_of_it)
        for number, (panel, title) in enumerate(
            zip([*panels, changed], [*titles, "what changed"], strict=True)
        ):
            left, written = 8 + number * 158, text(title)
            place = sheet[18:58, left : left + 150]
            np.testing.assert_array_equal(
                place, panel if panel.ndim == 3 else np.repeat(panel[..., np.newaxis], 3, -1)
            )
            width = written.shape[1] - 1  # the next letter may begin in the last column
            np.testing.assert_array_equal(sheet[3:17, left : left + width], written[:, :width])


def test_a_png_is_written_whole(tmp_path: Path) -> None:
    picture = noise(0, 9, 7, 3)
    pictures.save_png(tmp_path / "sheet.any", Image.fromarray(picture))
    image = Image.open(tmp_path / "sheet.any")
    assert image.format == "PNG" and [path.name for path in tmp_path.iterdir()] == ["sheet.any"]
    np.testing.assert_array_equal(np.asarray(image), picture)


# ---- ticks ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "low, high, ticks",
    [
        (0, 8, [0, 1, 2, 3, 4, 5, 6, 7, 8]),
        (0, 8.1, [0, 2, 4, 6, 8]),
        (0, 10, [0, 2, 4, 6, 8, 10]),
        (0, 1, [0, 0.2, 0.4, 0.6, 0.8, 1]),
        (0, 16, [0, 2, 4, 6, 8, 10, 12, 14, 16]),
        (0, 17, [0, 5, 10, 15]),
        (0, 40, [0, 5, 10, 15, 20, 25, 30, 35, 40]),
        (0, 41, [0, 10, 20, 30, 40]),
        (0, 80, [0, 10, 20, 30, 40, 50, 60, 70, 80]),
        (0, 99, [0, 20, 40, 60, 80]),
        (97.3, 104.9, [98, 99, 100, 101, 102, 103, 104]),
        (-1.5, 1.5, [-1.5, -1, -0.5, 0, 0.5, 1, 1.5]),
        (0, 250_000, [0, 50_000, 100_000, 150_000, 200_000, 250_000]),
        (0.12, 0.13, [0.12, 0.122, 0.124, 0.126, 0.128, 0.13]),
    ],
)
def test_ticks_are_round(low: float, high: float, ticks: list[float]) -> None:
    assert pictures._ticks(low, high) == pytest.approx(ticks)


def test_there_are_a_few_ticks_whatever_the_range() -> None:
    rng = np.random.default_rng(0)
    for _ in range(500):
        low = rng.uniform(-1000, 1000)
        high = low + 10 ** rng.uniform(-3, 6)
        ticks = pictures._ticks(low, high)
        assert 3 <= len(ticks) <= 9 and low <= ticks[0] and ticks[-1] <= high * (1 + 1e-9) + 1e-9
        step = ticks[1] - ticks[0]
        assert ticks[0] - step < low and ticks[-1] + step > high


# ---- losses --------------------------------------------------------------------------------

# step, training loss, JPG's of training, validation loss, JPG's of validation
ROWS = [
    (0, NAN, NAN, 120.0, 100.0),
    (50, 90.0, 105.0, 80.0, 100.0),
    (100, 60.0, 95.0, 70.0, 100.0),
    (200, 50.0, 110.0, 40.0, 100.0),
]


def drawn(folder: Path, rows: Sequence[tuple[float, ...]]) -> Array:
    pictures.draw_losses(folder / "losses.png", rows)
    image = Image.open(folder / "losses.png")
    assert (image.size, image.mode) == ((900, 520), "RGB")
    return np.asarray(image).astype(int)


def near(
    picture: Array, x: float, y: float, colour: tuple[int, int, int], reach: int = 2, off: int = 45
) -> bool:
    """Whether a pixel about here has nearly this colour."""
    row, column = round(y), round(x)
    part = picture[max(row - reach, 0) : row + reach + 1, max(column - reach, 0) : column + reach + 1]
    return bool((np.abs(part - colour).max(-1) < off).any())


class Axes:
    """Where values lie: 70 pixels from the left, 20 from the right, 60 from the top, 50 from below."""

    def __init__(self, last: float, low: float, high: float) -> None:
        self.last, room = last, 0.05 * (high - low)
        self.low, self.high = low - room, high + room

    def __call__(self, step: float, loss: float) -> tuple[float, float]:
        return 70 + 810 * step / self.last, 60 + 410 * (self.high - loss) / (self.high - self.low)


def ink(picture: Array, left: float, right: float, top: float, bottom: float) -> tuple[float, ...] | None:
    """The box (left, right, top, bottom) of what is dark in a part of a picture."""
    part = picture[round(top) : round(bottom), round(left) : round(right)].max(-1) < 150
    rows, columns = np.flatnonzero(part.any(1)), np.flatnonzero(part.any(0))
    if not rows.size:
        return None
    return left + columns[0], left + columns[-1], top + rows[0], top + rows[-1]


def test_curves_go_through_their_values(tmp_path: Path) -> None:
    picture, place = drawn(tmp_path, ROWS), Axes(200, 40, 120)
    for column, colour in ((1, BLUE), (2, PALE_BLUE), (3, RED), (4, PALE_RED)):
        points = [(row[0], row[column]) for row in ROWS if not math.isnan(row[column])]
        for (step, loss), (after, then) in itertools.pairwise(points):
            for part in (0.2, 0.4, 0.6, 0.85):
                x, y = place(step + part * (after - step), loss + part * (then - loss))
                assert near(picture, x, y, colour), (column, step, part)
                # And nowhere near: 15 pixels off there is another colour.
                if column == 3:
                    assert not near(picture, x, y - 15, colour) and not near(picture, x, y + 15, colour)
    assert not near(picture, *place(10, 97), BLUE, 4)  # step 0 has no training loss


def test_the_axes_and_their_numbers(tmp_path: Path) -> None:
    picture, place = drawn(tmp_path, ROWS), Axes(200, 40, 120)
    black = (0, 0, 0)
    for across in (70, 300, 880):
        assert near(picture, across, 60, black, 1) and near(picture, across, 470, black, 1, 150)
    for down in (60, 250, 470):
        assert near(picture, 70, down, black, 1) and near(picture, 880, down, black, 1, 150)
    assert (picture[:475, 884:] == 255).all() and near(picture, 300, 66, (255, 255, 255), 0)
    shown = [loss for loss in range(40, 125, 5) if near(picture, *place(2, loss), GREY, 0, 20)]
    assert shown == [40, 60, 80, 120]  # of 36..124; on 100 lies the JPG's own
    for loss in (*shown, 100):
        _, y = place(0, loss)
        box = ink(picture, 0, 66, y - 8, y + 8)
        assert box is not None and 58 <= box[1] <= 62 and abs((box[2] + box[3]) / 2 - y) <= 2
        assert near(picture, 875, y, GREY, 1, 20) or loss in (100, 40)
    assert ink(picture, 0, 66, *(place(0, 70)[1] + n for n in (-8, 8))) is None
    for step in range(0, 201, 50):
        x, _ = place(step, 0)
        box = ink(picture, x - 14, x + 14, 477, 492)
        assert box is not None and abs((box[0] + box[1]) / 2 - x) <= 2 and 478 <= box[2] <= 481
        assert near(picture, x, 473, black, 1, 150) and not near(picture, x, 477, black, 0)
        assert step in (0, 200) or not near(picture, x, 320, black, 1, 150)
    assert ink(picture, 70 + 20, 70 + 80, 473, 492) is None
    box = ink(picture, 400, 500, 497, 520)  # "steps"
    assert box is not None and abs((box[0] + box[1]) / 2 - 450) <= 2 and abs((box[2] + box[3]) / 2 - 506) <= 3
    box = ink(picture, 60, 600, 5, 30)  # the title
    assert box is not None and 70 <= box[0] <= 73 and 180 < box[1] - box[0] < 300
    assert abs((box[2] + box[3]) / 2 - 16) <= 3


def test_the_legend(tmp_path: Path) -> None:
    """A sample of each colour, 24 pixels long, then its name, then a gap."""
    picture = drawn(tmp_path, ROWS)
    rows = picture[41:43]
    coloured = ((rows.max(-1) - rows.min(-1)) > 40).all(0)
    samples = [x for x in range(1, 900) if coloured[x] and not coloured[x - 1]]
    assert len(samples) == 4 and samples[0] in (70, 71)
    for left, after, colour in zip(
        samples, [*samples[1:], 720], (PALE_BLUE, PALE_RED, BLUE, RED), strict=True
    ):
        for x in (left + 2, left + 12, left + 22):
            assert near(picture, x, 42, colour, 0)
        assert near(picture, left + 12, 41, colour, 0) and near(picture, left + 12, 45, (255, 255, 255), 0)
        assert not coloured[left + 26 : after].any()
        box = ink(picture, left + 26, after, 34, 52)
        assert box is not None and left + 29 <= box[0] <= left + 33 and abs((box[2] + box[3]) / 2 - 42) <= 3
        if colour != RED:
            assert 22 <= after - box[1] <= 30
    assert ink(picture, 710, 900, 34, 52) is None


def test_the_axis_ends_above_the_jpg_s_own_error(tmp_path: Path) -> None:
    """1.6 times 100: the first steps of an unlucky start are cut off at the top, the last row never is."""
    rows = [(0, NAN, NAN, 5000.0, 100.0), (50, 900.0, 90.0, 80.0, 100.0), (100, 60.0, 95.0, 60.0, 100.0)]
    picture, place = drawn(tmp_path, rows), Axes(100, 60, 160)
    for step, loss in ((50, 80), (75, 70)):
        assert near(picture, *place(step, loss), RED)
    # What is cut off lies on the upper edge.
    middle = (place.high + 80) / 2
    assert near(picture, *place(25, middle), RED, 3)
    rows = [*rows[:2], (100, 60.0, 95.0, 300.0, 100.0)]
    picture, place = drawn(tmp_path, rows), Axes(100, 60, 300)
    assert near(picture, *place(75, 190), RED)


def test_the_largest_of_the_jpg_s_errors_counts(tmp_path: Path) -> None:
    rows = [(0, NAN, NAN, 5000.0, 100.0), (50, 70.0, 90.0, 80.0, 200.0), (100, 60.0, 95.0, 60.0, 100.0)]
    place = Axes(100, 60, 320)
    assert near(drawn(tmp_path, rows), *place(75, 70), RED)


def warned(picture: Array) -> bool:
    """Whether red letters stand in the upper left corner of the axes."""
    red = np.abs(picture[66:92, 78:500] - RED).max(-1) < 60
    return bool(red.any(1).sum() >= 6 and red.any(0).sum() > 200)


def test_a_net_that_ends_worse_than_none_is_named(tmp_path: Path) -> None:
    flat = [(step, 50.0, 60.0, 50.0, 60.0) for step in (0, 50)]
    for last, worse in ((61.0, True), (59.0, False), (60.0, False)):
        rows = [*flat, (100, 50.0, 60.0, last, 60.0)]
        picture = drawn(tmp_path, rows)
        assert warned(picture) is worse
        if worse:
            red = np.abs(picture[62:100, 74:500] - RED).max(-1) < 60
            rows_, columns = np.flatnonzero(red.any(1)), np.flatnonzero(red.any(0))
            assert 62 + rows_[0] in (69, 70) and 80 <= 74 + columns[0] <= 82  # inside the axes by 10
    # It had been worse, and is not any more.
    assert not warned(drawn(tmp_path, [(0, 50.0, 60.0, 61.0, 60.0), (1, 50.0, 60.0, 50.0, 60.0)]))


def test_one_row_is_drawn_as_points(tmp_path: Path) -> None:
    """At step 0 there is nothing but the first validation."""
    picture = drawn(tmp_path, [(0, NAN, NAN, 60.0, 100.0)])
    place = Axes(1, 60, 100)
    for loss, colour in ((60, RED), (100, PALE_RED)):
        x, y = place(0, loss)
        assert near(picture, x + 2, y, colour, 0) and near(picture, x, y - 2, colour, 0)
        assert not near(picture, x + 5, y, colour, 0)


def test_a_flat_line_is_drawn_too(tmp_path: Path) -> None:
    """All values alike: a room of 1 grey level squared above and below."""
    picture = drawn(tmp_path, [(0, 7.0, 7.0, 7.0, 7.0), (10, 7.0, 7.0, 7.0, 7.0)])
    assert near(picture, 400, 60 + 205, RED)
    assert near(picture, 400, 60 + 410 * 0.25, GREY, 1, 20) and near(
        picture, 400, 60 + 410 * 0.75, GREY, 1, 20
    )
    assert not near(picture, 400, 60 + 410 * 0.125, GREY, 1, 20)
    assert ink(picture, 0, 66, 255, 275) is not None


def test_a_single_step_fills_the_width(tmp_path: Path) -> None:
    picture, place = (
        drawn(tmp_path, [(0, NAN, NAN, 110.0, 100.0), (1, NAN, NAN, 60.0, 100.0)]),
        Axes(1, 60, 110),
    )
    for part in (0.1, 0.5, 0.95):
        assert near(picture, *place(part, 110 - 50 * part), RED)
    assert near(picture, *place(0.3, 70), GREY, 1, 20) and near(picture, *place(0.6, 90), GREY, 1, 20)
