"""car/saying.py: what is said of pictures and weights."""

import math
from pathlib import Path

import pytest

from car import saying, weights

Capture = pytest.CaptureFixture[str]


def test_that_it_is_not_known_what_a_net_is_for(capsys: Capture) -> None:
    """Said of a net alone; one of a bank is for files without a table."""
    unknown, known = weights.Weights(True, []), weights.Weights(True, [], coarseness=(1.0, 2.0))
    saying.say_unknown_coarseness(Path("some/log"), {None: known})
    saying.say_unknown_coarseness(Path("some/log"), {None: unknown, 2.5: unknown})
    assert not capsys.readouterr().out
    saying.say_unknown_coarseness(Path("some/log"), {None: unknown})
    said = capsys.readouterr().out
    assert said.startswith("how coarse the JPGs were that some/log was trained on is not known: ")


def test_weights_that_are_worse_than_none(capsys: Capture) -> None:
    for loss, jpg, worse in ((10.0, 9.0, True), (9.0, 10.0, False), (math.nan, math.nan, False)):
        saying.say_worse_than_none(
            Path("some/log"), weights.Weights(True, [], val_loss=loss, val_jpg_mse=jpg)
        )
        said = capsys.readouterr().out
        assert bool(said) is worse
    saying.say_worse_than_none(Path("some/log"), weights.Weights(True, [], val_loss=10.1234, val_jpg_mse=9.0))
    said = capsys.readouterr().out
    assert said.startswith("some/log: ") and "worse than no correction" in said
    assert "10.123" in said and "9.000" in said and "'pretrained'" in said
