"""Which weights of a bank a plane goes through, by its quantisation table."""

from collections.abc import Iterable
from typing import NamedTuple

from car import jpeg
from car.arrays import Floats

# A set for coarser files fits a file best where it is coarser by no more than this factor (BSDS500 val).
SET_COARSER_AT_MOST = 1.4
# A net that is the only one may be for coarser files than a set of a bank: nothing fits better. Up to this
# factor it brings 0.9 dB or more, and no picture loses; at 2.8 some lose by a net of quality 80 (nets of
# quality 10 to 80, BSDS500 val at half size).
OWN_COARSER_AT_MOST = 2.0


class Choice(NamedTuple):
    """What a plane goes through."""

    factor: float | None  # the coarseness of the files that its set is for; None: the log's own
    contrast: float = 1.0  # by which the net sees the plane about mid-grey
    gains: bool = True  # whether the set's gains hold for its change
    unchanged: bool = False  # the file is finer than all sets: it stays as it is


def choose(
    factors: Iterable[float | None], table: Floats | None, component: int, trained_on: jpeg.Span | None = None
) -> Choice:
    """The choice for a plane of a component (0 luma, 1 Cb, 2 Cr), among sets of these coarsenesses.

    table: float32 [8, 8], None where it is not known; then, and where there is no bank, the log's own.
    trained_on: the coarseness of the files that the log's own is for; None where not known, then all.
    Of a bank the coarsest set is taken that is at most SET_COARSER_AT_MOST times as coarse as the file. Where
    the file is the coarser one, less contrast makes its steps, and so its artifacts, as small as the set
    knows them; more contrast, where it is the finer one, does worse than none. A file finer than all sets has
    nothing to mend. Chroma is corrected by the same sets, but without their gains: those of luma do worse
    there (BSDS500 val, colour).
    """
    of_luma = component == 0
    bank = [factor for factor in factors if factor is not None]
    if table is not None and not bank and trained_on is not None:
        return _choose_own(jpeg.coarseness(table, component), trained_on, of_luma)
    if table is None or not bank:
        return Choice(None, gains=of_luma)
    own = jpeg.coarseness(table, component)
    factor = max((factor for factor in bank if factor <= SET_COARSER_AT_MOST * own), default=None)
    if factor is None:
        return Choice(None, gains=False, unchanged=True)
    return Choice(factor, min(1.0, factor / own), of_luma)


def _choose_own(own: float, trained_on: jpeg.Span, gains: bool) -> Choice:
    """The choice for a plane of that coarseness where the log's own net is the only one."""
    finest, coarsest = trained_on
    if finest > OWN_COARSER_AT_MOST * own:
        return Choice(None, gains=False, unchanged=True)
    return Choice(None, min(1.0, coarsest / own), gains)
