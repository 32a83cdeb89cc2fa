"""car/optimizers.py: the learning rate of --schedule cosine, and which weights Muon moves."""

import keras
import numpy as np
import pytest

from car import optimizers


def test_the_rate_rises_for_300_steps_and_falls_to_a_hundredth() -> None:
    rate = optimizers.cosine(2e-3, 10_000)
    at = {step: float(rate(step)) for step in (0, 150, 300, 5150, 10_000)}
    assert at[0] == pytest.approx(2e-3 / 300) and at[300] == pytest.approx(2e-3)
    assert at[150] == pytest.approx((at[0] + at[300]) / 2, rel=1e-3)
    assert at[5150] == pytest.approx(2e-3 * 1.01 / 2, rel=1e-3)  # half of the way down
    assert at[10_000] == pytest.approx(2e-5)


@pytest.mark.parametrize("found, told", [("3.12.4", "this is Keras 3.12.4"), ("3.13.0", ""), ("4.0", "")])
def test_muon_of_older_kerases_is_not_taken(monkeypatch: pytest.MonkeyPatch, found: str, told: str) -> None:
    monkeypatch.setattr(optimizers, "version", lambda name: found)
    why = optimizers.why_no_muon()
    assert bool(why) == bool(told) and told in why


def test_a_short_run_rises_for_a_tenth_of_it() -> None:
    rate = optimizers.cosine(1e-3, 50)
    assert float(rate(5)) == pytest.approx(1e-3) and float(rate(4)) < 1e-3
    assert float(optimizers.cosine(1e-3, 9)(0)) == pytest.approx(1e-3)  # too short to rise


@pytest.mark.skipif(bool(optimizers.why_no_muon()), reason="older Keras")
def test_muon_makes_the_update_of_a_kernel_orthogonal_but_not_of_the_last_layer() -> None:
    rng = np.random.default_rng(0)
    gradient = rng.normal(size=(64, 16)).astype(np.float32) * np.arange(1, 17, dtype=np.float32)
    moved = {}
    for name in ("layer1_kernel", "layer4_kernel"):
        variable = keras.Variable(np.zeros((64, 16), np.float32), name=name)
        optimizer = optimizers.make("muon", 0.1)
        optimizer.build([variable])
        optimizer.apply([keras.ops.convert_to_tensor(gradient)], [variable])
        lengths = np.linalg.svd(variable.numpy(), compute_uv=False)
        moved[name] = float(lengths.max() / lengths.min())
    assert moved["layer1_kernel"] < 2 < moved["layer4_kernel"]


def test_adam_moves_each_weight_by_the_rate() -> None:
    variable = keras.Variable(np.zeros(3, np.float32))
    optimizer = optimizers.make("adam", 0.1)
    optimizer.build([variable])
    optimizer.apply([keras.ops.convert_to_tensor([1.0, -2.0, 3.0])], [variable])
    assert variable.numpy() == pytest.approx([-0.1, 0.1, -0.1], rel=1e-3)
