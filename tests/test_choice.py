"""car/choice.py: the set of a bank for a file."""

import io
from typing import Any

import numpy as np
import pytest
from PIL import Image, JpegPresets
from reference import CHROMA_50, LUMA_50, Array, coarseness

from car import jpeg
from car.choice import UNCHANGED, Choice, choose

# Of the qualities 10 20 30 40 60 80 85 90 95, and the log's own; out of order, as nothing promises one.
STANDARD = np.reshape(LUMA_50, (8, 8)).astype(np.float32)  # a coarseness of exactly 1
FACTORS = [None, 0.1, 5.0, 2.5, 5 / 3, 0.3, 1.25, 0.8, 0.4, 0.2]


def about(number: float, within: float = 1e-6) -> float:
    found: float = pytest.approx(number, rel=within)  # type: ignore[assignment]
    return found


def tables(quality: int) -> list[Array]:
    """The steps that Pillow writes at a quality, of luma and of chroma."""
    file = io.BytesIO()
    Image.new("RGB", (8, 8)).save(file, "JPEG", quality=quality)
    found: dict[int, list[int]] = Image.open(file).quantization  # type: ignore[attr-defined]
    return [np.reshape(np.array(found[number], np.float32), (8, 8)) for number in (0, 1)]


@pytest.mark.parametrize(
    "factor, qualities",
    [
        *((5.0, (2, 5, 10, 12)), (2.5, (13, 15, 20, 25)), (5 / 3, (26, 30, 37)), (1.25, (38, 40, 45, 50))),
        *((0.8, (51, 60, 67)), (0.4, (68, 70, 75, 80, 83)), (0.3, (84, 85, 87)), (0.2, (88, 90, 92))),
        (0.1, (93, 94, 95)),
    ],
)
def test_the_coarsest_set_that_is_not_much_coarser_than_the_file(
    factor: float, qualities: tuple[int, ...]
) -> None:
    """85 takes the set of 85 and 70 that of 80: those of 80 and of 60 are a third coarser than the file."""
    for quality in qualities:
        own = coarseness(tables(quality)[0].reshape(-1), LUMA_50)
        found = choose(FACTORS, tables(quality)[0], 0)
        assert found == Choice(factor, found.contrast, gains=True, strength=1, unchanged=False)
        assert found.contrast == pytest.approx(min(1, factor / own)) and found.contrast <= 1


def test_a_set_coarser_by_1_25_is_taken_and_by_more_is_not() -> None:
    assert choose([1.25, 0.5], STANDARD, 0) == Choice(1.25)
    assert choose([1.2501, 0.5], STANDARD, 0) == Choice(0.5, about(0.5))


def test_a_file_finer_than_all_sets_gets_the_finest_the_weaker_the_finer_it_is() -> None:
    assert choose([2.5, 2.0], STANDARD, 0) == Choice(2.0, strength=about(1 / 4))
    assert choose([2.9999], STANDARD, 0) == Choice(2.9999, strength=about(1 / 9, 1e-4))
    assert choose([3.0001], STANDARD, 0) == UNCHANGED
    strengths = [choose(FACTORS, tables(quality)[0], 0).strength for quality in (95, 96, 97, 98)]
    assert strengths == pytest.approx([1, 0.61, 0.36, 0.2], abs=0.005)
    assert not choose(FACTORS, tables(98)[0], 0).unchanged and choose(FACTORS, tables(99)[0], 0).unchanged


def test_tables_of_another_shape_get_no_gains() -> None:
    """A flat one is 2.1 times as coarse at low frequencies as at all, Photoshop's high one 1.54 times."""
    flat = np.ones((8, 8), np.float32)
    own = coarseness(flat.reshape(-1), LUMA_50)
    for step in (200, 64, 32):
        assert choose([1.25 * step * own * 0.999], step * flat, 0) == Choice(
            1.25 * step * own * 0.999, gains=False
        )
    assert choose([1.25 * 64 * own, 0.1], 64 * flat, 0).factor == pytest.approx(1.25 * 64 * own)
    assert choose([1.25 * 64 * own * 1.001, 0.1], 64 * flat, 0).factor == 0.1


@pytest.mark.parametrize("preset, tilt, gains", [("web_low", 1.48, True), ("high", 1.54, False)])
def test_gains_hold_up_to_a_tilt_of_one_and_a_half(preset: str, tilt: float, gains: bool) -> None:
    """Photoshop's, as Pillow brings them: the two that are nearest to the bound, one on each side."""
    presets: Any = JpegPresets.presets
    table = np.reshape(np.array(presets[preset]["quantization"][0], np.float32), (8, 8))
    assert jpeg.tilt(table) == pytest.approx(tilt, abs=0.005)
    assert choose(FACTORS, table, 0).gains == gains


def test_of_fine_tables_of_another_shape_no_coarser_set_and_three_quarters_of_the_change() -> None:
    flat = 8 * np.ones((8, 8), np.float32)
    own = coarseness(flat.reshape(-1), LUMA_50)
    assert own == pytest.approx(0.177, abs=0.001)
    assert choose([own * 1.09, 0.1], flat, 0) == Choice(own * 1.09, gains=False, strength=0.75)
    assert choose([own * 1.11, 0.1], flat, 0) == Choice(0.1, about(0.1 / own), False, 0.75)
    assert choose([own * 2], flat, 0) == Choice(own * 2, gains=False, strength=about(0.75 / 4))
    coarser = flat * (0.51 / own)  # not fine any more
    assert choose([0.6], coarser, 0) == Choice(0.6, gains=False, strength=1)


def test_a_coarser_file_is_seen_with_less_contrast_and_a_finer_one_as_it_is() -> None:
    table = 4 * np.reshape(LUMA_50, (8, 8)).astype(np.float32)
    table[table > 255] = 255
    assert choose([1.0], table, 0).contrast == pytest.approx(0.25)
    assert choose([5.0], table, 0).contrast == 1


@pytest.mark.parametrize("component", [1, 2])
def test_chroma_finer_than_all_sets_stays_as_it_is(component: int) -> None:
    assert choose(FACTORS, tables(98)[1], component) == UNCHANGED
    assert choose([*FACTORS, 0.02], tables(98)[1], component).factor == 0.02


@pytest.mark.parametrize("component, gains", [(0, True), (1, False), (2, False)])
def test_without_a_bank_or_a_table_the_own_weights(component: int, gains: bool) -> None:
    own = Choice(None, 1.0, gains, unchanged=False)
    for quality in (1, 30, 100):
        assert choose([None], tables(quality)[min(component, 1)], component) == own
        assert choose([], tables(quality)[min(component, 1)], component) == own
    assert choose(FACTORS, None, component) == own


@pytest.mark.parametrize("component", [1, 2])
def test_chroma_goes_by_its_own_table_and_without_gains(component: int) -> None:
    luma, chroma = tables(20)
    for table, factor in ((chroma, 2.5), (luma, 5 / 3)):  # luma's: as of a file that has one table for all
        own = coarseness(table.reshape(-1), CHROMA_50)
        assert max(f for f in FACTORS if f and f <= 1.4 * own) == factor
        chosen = choose(FACTORS, table, component)
        assert chosen == Choice(factor, chosen.contrast, gains=False)
        assert chosen.contrast == pytest.approx(min(1, factor / own))


@pytest.mark.parametrize(
    "own, contrast",
    [(2.5, 1.0), (1.26, 1.0), (1.24, None), (0.1, None), (3.0, 1.0), (5.0, 1.0), (6.25, 0.8), (10.0, 0.5)],
)
@pytest.mark.parametrize("component", [0, 1, 2])
def test_a_net_alone_is_for_files_as_coarse_as_those_it_was_trained_on(
    own: float, contrast: float | None, component: int
) -> None:
    """Those of 2.5 to 5: ones more than twice as fine stay, coarser ones are seen with less contrast."""
    standard = np.reshape(CHROMA_50 if component else LUMA_50, (8, 8))
    chosen = choose([None], (own * standard).astype(np.float32), component, (2.5, 5.0))
    if contrast is None:
        assert chosen == Choice(None, 1.0, gains=False, unchanged=True)
    else:
        assert chosen == Choice(None, chosen.contrast, gains=component == 0)
        assert chosen.contrast == pytest.approx(contrast)


def test_what_a_net_was_trained_on_counts_with_a_table_and_without_a_bank_alone() -> None:
    table = tables(95)[0]
    assert choose([None], table, 0, (2.5, 5.0)).unchanged
    assert choose([None], table, 0, None) == choose([None], None, 0, (2.5, 5.0)) == Choice(None)
    assert choose([None, 0.1], table, 0, (2.5, 5.0)) == choose([None, 0.1], table, 0)
