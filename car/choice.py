"""Which weights of a bank a plane goes through, by its quantisation table."""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from car import jpeg
from car.arrays import Floats, Pixels

# All of them chosen on BSDS500 val.
# Up to how many times as coarse as the file a set does better than the next finer one.
LUMA_SET_COARSER_AT_MOST, CHROMA_SET_COARSER_AT_MOST = 1.25, 1.4
# A file finer than that for all sets gets the finest, the weaker the finer it is: (set / file) ** -2.
WEAKER_BY = 2
NOTHING_LEFT_AT = 3.0  # quality 99 to the set of 95: nothing is won any more
# The sets were trained with the standard table. Where a file's own is coarser at low frequencies and finer at
# high ones (Photoshop's low to high, flat ones), they take too much of the high ones away: their gains do
# not hold. Of a fine file, which kept many of them, a set must not be coarser either, and part of the change
# is right.
TILT_AT_MOST = 1.5
TILTED_FINE, TILTED_SET_COARSER_AT_MOST, TILTED_STRENGTH = 0.5, 1.1, 0.75
# A net that is the only one may be for coarser files than a set of a bank: nothing fits better. Up to this
# factor it brings 0.9 dB or more, and no picture loses; at 2.8 some lose by a net of quality 80 (nets of
# quality 10 to 80).
OWN_COARSER_AT_MOST = 2.0


class Choice(NamedTuple):
    """What a plane goes through."""

    factor: float | None  # the coarseness of the files that its set is for; None: the log's own
    contrast: float = 1.0  # by which the net sees the plane about mid-grey
    gains: bool = True  # whether the set's gains hold for its change
    strength: float = 1.0  # the part of its change that is applied
    unchanged: bool = False  # it stays as it is: the file is much finer than all sets, or
    one_level: bool = False  # the plane has one grey level throughout


UNCHANGED = Choice(None, gains=False, unchanged=True)
ONE_LEVEL = UNCHANGED._replace(one_level=True)


def has_one_level(samples: Pixels) -> bool:
    """Whether a plane, uint8 [H, W], has one grey level throughout, as chroma of a neutral picture has."""
    return bool((samples[:1] == samples[0, 0]).all() and (samples == samples[0, 0]).all())


def choose(
    factors: Iterable[float | None], table: Floats | None, component: int, trained_on: jpeg.Span | None = None
) -> Choice:
    """The choice for a plane of a component (0 luma, 1 Cb, 2 Cr), among sets of these coarsenesses.

    table: float32 [8, 8], None where it is not known; then, and where there is no bank, the log's own.
    trained_on: the coarseness of the files that the log's own is for; None where not known, then all.
    Of a bank the coarsest set is taken that is not much coarser than the file. Where the file is the coarser
    one, less contrast makes its steps, and so its artifacts, as small as the set knows them; more contrast,
    where it is the finer one, does worse than none.
    """
    bank = [factor for factor in factors if factor is not None]
    if table is not None and bank:
        return _for_chroma(bank, table, component) if component else _for_luma(bank, table)
    if table is not None and trained_on:
        return _choose_own(jpeg.coarseness(table, component), trained_on, component == 0)
    return Choice(None, gains=component == 0)


def _for_luma(bank: Sequence[float], table: Floats) -> Choice:
    """A file finer than all sets gets the finest at a lower strength, or nothing."""
    own, tilted = jpeg.coarseness(table, 0), jpeg.tilt(table) > TILT_AT_MOST
    at_most, strength = own * LUMA_SET_COARSER_AT_MOST, 1.0
    if tilted and own < TILTED_FINE:
        at_most, strength = own * TILTED_SET_COARSER_AT_MOST, TILTED_STRENGTH
    factor = max((factor for factor in bank if factor <= at_most), default=min(bank))
    if factor >= NOTHING_LEFT_AT * own:
        return UNCHANGED
    if factor > at_most:
        strength *= (factor / own) ** -WEAKER_BY
    return Choice(factor, min(1.0, factor / own), not tilted, strength)


def _for_chroma(bank: Sequence[float], table: Floats, component: int) -> Choice:
    """Without the sets' gains, as those of luma do worse; of a file finer than all sets nothing is mended."""
    own = jpeg.coarseness(table, component)
    at_most = own * CHROMA_SET_COARSER_AT_MOST
    factor = max((factor for factor in bank if factor <= at_most), default=None)
    return Choice(factor, min(1.0, factor / own), gains=False) if factor else UNCHANGED


def _choose_own(own: float, trained_on: jpeg.Span, gains: bool) -> Choice:
    """The choice for a plane of that coarseness where the log's own net is the only one."""
    finest, coarsest = trained_on
    if finest > OWN_COARSER_AT_MOST * own:
        return UNCHANGED
    return Choice(None, min(1.0, coarsest / own), gains)
