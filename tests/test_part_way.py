"""pretrained/part_way.py: weights between those of two log folders."""

import shutil
from pathlib import Path

import numpy as np
from conftest import ROOT, run

from car import weights


def test_weights_part_way(tmp_path: Path) -> None:
    after, before, result = tmp_path / "after", ROOT / "pretrained/q20", tmp_path / "new/result"
    shutil.copytree(ROOT / "pretrained/q40", after)
    run("pretrained/part_way.py", after, before, result, 0.25)
    one, other, made = (weights.load(log) for log in (before, after, result))
    for layers in zip(one.parameters, other.parameters, made.parameters, strict=True):
        for first, second, between in zip(*layers, strict=True):
            assert between.dtype == np.float32
            np.testing.assert_allclose(between, 0.75 * first + 0.25 * second, atol=1e-6)
    np.testing.assert_array_equal(made.gains, other.gains)
    assert made.coarseness == other.coarseness

    said = run("pretrained/part_way.py", after, before, result, 1.5, status=2)
    assert "PART: 0..1" in said.err
    said = run("pretrained/part_way.py", tmp_path / "no", before, result, 0.5, status=2)
    assert "no" in said.err and "folder" in said.err
