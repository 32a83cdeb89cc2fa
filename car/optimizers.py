"""The optimizers of training, and how their learning rate falls. Keras is loaded where one is made."""

from importlib.metadata import version
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    import keras

Rate: TypeAlias = "float | keras.optimizers.schedules.LearningRateSchedule"

MUON_SINCE_KERAS = (3, 13)  # the Muon of older ones takes steps of another size
# At full rate from the first step on, Muon switches maps off that never come back.
COSINE_WARM_UP_STEPS = 300  # a tenth of all at the most


def why_no_muon() -> str:
    """In words that the Keras of this machine, which is not loaded, has no Muon; "" where it has."""
    found = version("keras")
    if tuple(map(int, found.split(".")[:2])) >= MUON_SINCE_KERAS:
        return ""
    return f"muon needs Keras 3.13 or later, which needs Python 3.11 or later; this is Keras {found}"


def make(name: str, rate: Rate) -> "keras.optimizers.Optimizer":
    """The optimizer "adam" or "muon"."""
    import keras

    return keras.optimizers.Adam(rate) if name == "adam" else muon(rate)


def cosine(rate: float, steps: int) -> "keras.optimizers.schedules.LearningRateSchedule":
    """A learning rate that rises at first, and falls to a hundredth."""
    import keras

    warm = min(steps // 10, COSINE_WARM_UP_STEPS)
    return keras.optimizers.schedules.CosineDecay(
        rate / max(warm, 1), steps - warm, 0.01, warmup_target=rate if warm else None, warmup_steps=warm
    )


def muon(rate: Rate) -> "keras.optimizers.Optimizer":
    """Muon on the kernel matrices, with Adam on the biases and the last layer.

    Muon (Jordan 2024; Liu et al., arXiv 2502.16982) makes each update of a matrix orthogonal.
    """
    import keras

    return keras.optimizers.Muon(rate, exclude_layers=["layer4"], weight_decay=None, adam_weight_decay=None)
