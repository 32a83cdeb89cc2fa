"""car/choice.py: the set of a bank for a file."""

import io
from statistics import median

import numpy as np
import pytest
from PIL import Image
from reference import CHROMA_50, LUMA_50, Array

from car.choice import Choice, choose

# Of the qualities 10 20 30 40 60 80 85 90 95, and the log's own; out of order, as nothing promises one.
FACTORS = [None, 0.1, 5.0, 2.5, 5 / 3, 0.3, 1.25, 0.8, 0.4, 0.2]


def tables(quality: int) -> list[Array]:
    """The steps that Pillow writes at a quality, of luma and of chroma."""
    file = io.BytesIO()
    Image.new("RGB", (8, 8)).save(file, "JPEG", quality=quality)
    found: dict[int, list[int]] = Image.open(file).quantization  # type: ignore[attr-defined]
    return [np.reshape(np.array(found[number], np.float32), (8, 8)) for number in (0, 1)]


@pytest.mark.parametrize(
    "quality, factor",
    [
        *(
            (5, 5.0),
            (10, 5.0),
            (13, 5.0),
            (15, 2.5),
            (20, 2.5),
            (25, 2.5),
            (30, 5 / 3),
            (40, 5 / 3),
            (45, 1.25),
        ),
        *((50, 1.25), (55, 1.25), (56, 0.8), (60, 0.8), (70, 0.8), (71, 0.8), (72, 0.4)),
        *((75, 0.4), (80, 0.4), (85, 0.4), (86, 0.3), (90, 0.2), (92, 0.2), (94, 0.1), (95, 0.1)),
    ],
)
def test_the_coarsest_set_that_is_not_much_coarser_than_the_file(quality: int, factor: float) -> None:
    """85 still takes the set of 80, 70 that of 60: each a third coarser than its file."""
    table = tables(quality)[0]
    own = median(
        float(step) / standard for step, standard in zip(table.flat, LUMA_50, strict=True) if step < 255
    )
    chosen = choose(FACTORS, table, 0)
    assert chosen == Choice(factor, chosen.contrast, gains=True, unchanged=False)
    assert chosen.contrast == pytest.approx(min(1, factor / own)) and chosen.contrast <= 1


def test_a_set_coarser_by_1_4_is_taken_and_by_more_is_not() -> None:
    table = np.reshape(LUMA_50, (8, 8)).astype(np.float32)  # a coarseness of exactly 1
    assert choose([1.4, 0.5], table, 0) == Choice(1.4)
    assert choose([1.4001, 0.5], table, 0) == Choice(0.5, 0.5)


def test_a_coarser_file_is_seen_with_less_contrast_and_a_finer_one_as_it_is() -> None:
    table = 4 * np.reshape(LUMA_50, (8, 8)).astype(np.float32)
    table[table > 255] = 255
    assert choose([1.0], table, 0).contrast == 0.25
    assert choose([5.0], table, 0).contrast == 1


@pytest.mark.parametrize("component", [0, 1, 2])
def test_a_file_finer_than_all_sets_stays_as_it_is(component: int) -> None:
    table = tables(98)[min(component, 1)]
    assert choose(FACTORS, table, component) == Choice(None, 1.0, gains=False, unchanged=True)
    assert not choose([*FACTORS, 0.02], table, component).unchanged


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
        told = table.reshape(-1) < 255
        own = float(np.median(table.reshape(-1)[told] / CHROMA_50[told]))
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
