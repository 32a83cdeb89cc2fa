"""Which weights of a bank a plane goes through, by its quantisation table."""

from collections.abc import Iterable
from typing import NamedTuple

from car import jpeg
from car.arrays import Floats, Pixels

# A set for coarser files fits a file best where it is coarser by no more than this factor (BSDS500 val).
SET_COARSER_AT_MOST = 1.4


class Choice(NamedTuple):
    """What a plane goes through."""

    factor: float | None  # the coarseness of the files that its set is for; None: the log's own
    contrast: float = 1.0  # by which the net sees the plane about mid-grey
    gains: bool = True  # whether the set's gains hold for its change
    unchanged: bool = False  # it stays as it is: the file is finer than all sets, or
    one_level: bool = False  # the plane has one grey level throughout


def has_one_level(samples: Pixels) -> bool:
    """Whether a plane, uint8 [H, W], has one grey level throughout, as chroma of a neutral picture has."""
    return bool((samples[:1] == samples[0, 0]).all() and (samples == samples[0, 0]).all())


ONE_LEVEL = Choice(None, gains=False, unchanged=True, one_level=True)


def choose(factors: Iterable[float | None], table: Floats | None, component: int) -> Choice:
    """The choice for a plane of a component (0 luma, 1 Cb, 2 Cr), among sets of these coarsenesses.

    table: float32 [8, 8], None where it is not known; then, and where there is no bank, the log's own.
    Of a bank the coarsest set is taken that is at most SET_COARSER_AT_MOST times as coarse as the file. Where
    the file is the coarser one, less contrast makes its steps, and so its artifacts, as small as the set
    knows them; more contrast, where it is the finer one, does worse than none. A file finer than all sets has
    nothing to mend. Chroma is corrected by the same sets, but without their gains: those of luma do worse
    there (BSDS500 val, colour).
    """
    of_luma = component == 0
    bank = [factor for factor in factors if factor is not None]
    if table is None or not bank:
        return Choice(None, gains=of_luma)
    own = jpeg.coarseness(table, component)
    factor = max((factor for factor in bank if factor <= SET_COARSER_AT_MOST * own), default=None)
    if factor is None:
        return Choice(None, gains=False, unchanged=True)
    return Choice(factor, min(1.0, factor / own), of_luma)
