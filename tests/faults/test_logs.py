"""Weights and training states that are harmed, exchanged or of ill will: refused in a line, and never executed."""

import io
import json
import pickle
import shutil
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from conftest import ROOT, TRAINING, Trained, run
from mutate import examples, harmed

from car.errors import UserError
from car.weights import load, load_bank

if TYPE_CHECKING:
    from car.training_run import Run

WEIGHTS, NET = "model_checkpoint.npz", "model_checkpoint.json"


def log_of(folder: Path) -> Path:
    """A log folder with a bank: the suite's own weights, and the same again as q10."""
    for log in (folder, folder / "q10"):
        log.mkdir(parents=True, exist_ok=True)
        for name in (WEIGHTS, NET):
            shutil.copy(ROOT / "pretrained" / name, log / name)
    return folder


def refusal(log: Path) -> str:
    """What load_bank says against a log folder; the test fails if it takes it."""
    with pytest.raises(UserError) as caught:
        load_bank(log)
    text = str(caught.value)
    assert "\n" not in text and str(log) in text and len(text) < 600
    return text


def arrays_of(log: Path) -> dict[str, np.ndarray]:
    with np.load(log / WEIGHTS) as arrays:
        return dict(arrays)


@pytest.mark.parametrize("where", [".", "q10"])
def test_mutated_weights_are_refused_or_the_same(tmp_path: Path, long: bool, where: str) -> None:
    log = log_of(tmp_path / "log")
    good = load(log).parameters
    path = log / where / WEIGHTS
    mutants = examples(harmed(path.read_bytes()), 500 if long else 100)
    same = 0
    for mutant in mutants:
        path.write_bytes(mutant)
        try:
            bank = load_bank(log).values()
        except UserError as error:
            assert str(path) in str(error) and "\n" not in str(error)
        else:  # as in a date, which nobody reads
            same += 1
            for net in bank:
                for layer, expected in zip(net.parameters, good, strict=True):
                    for array, value in zip(layer, expected, strict=True):
                        np.testing.assert_array_equal(array, value)
    print(f"{len(mutants)} mutated weights: {len(mutants) - same} refused, {same} the same to the bit")
    assert same < len(mutants) / 4


class Canary:
    """Unpickled, it makes a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Callable[[Path], None], tuple[Path]]:
        return Path.touch, (self.path,)


def npy(shape: str, kind: str = "<f4", data: bytes = b"") -> bytes:
    """An .npy file that says to be of a shape."""
    head = f"{{'descr': '{kind}', 'fortran_order': False, 'shape': {shape}, }}".encode().ljust(117) + b"\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(head)) + head + data


def test_no_code_of_a_file_is_run(tmp_path: Path) -> None:
    canary = tmp_path / "it ran"
    log = log_of(tmp_path / "log")
    arrays = arrays_of(log)
    bird = np.array([Canary(canary)] * 64, dtype=object)
    inside = io.BytesIO()
    np.savez(inside, **{**arrays, "layer1_bias": bird})  # type: ignore[arg-type]
    for data in (
        inside.getvalue(),
        pickle.dumps(Canary(canary)),
        npy("(64,)", "|O", pickle.dumps(Canary(canary))),
    ):
        (log / WEIGHTS).write_bytes(data)
        assert "damaged or foreign" in refusal(log)
    pickle.loads(pickle.dumps(Canary(tmp_path / "as it would")))
    assert (tmp_path / "as it would").exists() and not canary.exists()


def test_weights_of_another_make(tmp_path: Path) -> None:
    log = log_of(tmp_path / "log")
    arrays = arrays_of(log)

    def refused(told: str, **changed: np.ndarray) -> None:
        np.savez(log / WEIGHTS, **{**arrays, **changed})  # type: ignore[arg-type]
        assert told in refusal(log)

    kernel, bias = arrays["layer3_kernel"], arrays["layer4_bias"]
    refused("layer 3 has another shape", layer3_kernel=arrays["layer4_kernel"])
    refused("layer 3 has another shape", layer3_kernel=kernel.astype(np.int32))
    refused("layer 3 has another shape", layer3_kernel=kernel.astype(np.complex64))
    refused("layer 3 has another shape", layer3_kernel=kernel.astype("U8"))
    refused("layer 4 holds weights that are not finite", layer4_bias=bias * np.nan)
    refused("layer 4 holds weights that are not finite, or huge", layer4_bias=bias + np.float32(1e30))
    gains = np.ones((8, 8), np.float32)
    refused("its gains have another shape", gains=gains[0])
    refused("its gains have another shape", gains=gains.astype(np.float64))
    refused("its gains are not finite", gains=gains * np.float32(np.nan))
    refused("its gains are not finite, or huge", gains=gains * 11)
    for residual in (True, False):  # the JSON of the other net beside weights that say what they are
        (log / NET).write_text(
            json.dumps({**json.loads((ROOT / "pretrained" / NET).read_text()), "residual": residual})
        )
        refused("is not the one of", residual=np.array(not residual))
    shutil.copy(ROOT / "pretrained" / NET, log / NET)
    np.save(io.BytesIO(), kernel)
    (log / WEIGHTS).write_bytes(npy("(2,)", data=bytes(8)))
    assert "damaged or foreign" in refusal(log)


def test_weights_that_ask_for_all_memory(tmp_path: Path) -> None:
    log = log_of(tmp_path / "log")
    with zipfile.ZipFile(log / WEIGHTS, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("layer1_kernel.npy", bytes(200_000_000))  # of 200 KB
    assert "200000000 bytes unpacked" in refusal(log)
    with zipfile.ZipFile(log / WEIGHTS, "w") as archive:
        archive.writestr("layer1_kernel.npy", npy("(1000000, 1000000)"))
    assert "damaged or foreign" in refusal(log)


def test_mutated_json_beside_the_weights(tmp_path: Path, long: bool) -> None:
    log = log_of(tmp_path / "log")
    good = (log / NET).read_bytes()
    content = json.loads(good)
    kinds: tuple[object, ...] = ("true", 1, None, [], {})
    edits = [json.dumps({**content, "residual": kind}).encode() for kind in kinds]
    for edit in (*edits, b"[" * 100_000, b"[]", b"null", b"{}", b"\xff\xfe", b""):
        (log / NET).write_bytes(edit)
        assert NET in refusal(log) or "its JSON" in refusal(log)
    for mutant in examples(harmed(good), 500 if long else 100):
        (log / NET).write_bytes(mutant)
        try:
            assert load_bank(log)[None].residual is True
        except UserError as error:
            assert "\n" not in str(error)


# ---- training states -----------------------------------------------------------------------


@pytest.fixture
def log(trained: Trained, tmp_path: Path) -> Path:
    """A copy of a training's log: 12 steps, rows and states at 0, 4, 8 and 12, of which the last two states are kept."""
    copy = tmp_path / "log"
    shutil.copytree(trained.log, copy)
    return copy


def train(trained: Trained, log: Path, status: int = 0) -> tuple[list[str], list[str]]:
    """The same command again. Returns the lines of stdout and stderr."""
    ended = run("train_car.py", trained.folder, log, *TRAINING, status=status)
    return ended.out.splitlines(), ended.err.splitlines()


def assert_ended_as(trained: Trained, log: Path) -> None:
    """The same losses and weights as the undisturbed run's."""
    ours, theirs = (
        np.genfromtxt(path / "losses.csv", delimiter=",", skip_header=1) for path in (log, trained.log)
    )
    assert ours.shape == theirs.shape == (4, 8)
    np.testing.assert_allclose(ours, theirs, rtol=1e-3)
    for name, value in arrays_of(trained.log).items():
        np.testing.assert_allclose(arrays_of(log)[name], value, atol=2e-3, err_msg=name)


def test_a_damaged_newest_state(trained: Trained, log: Path) -> None:
    path = log / "state/step_12.npz"
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 4
    path.write_bytes(data)
    (log / "state/.step_6.npz.partial").write_bytes(b"of a killed run")
    (log / "state/step_12.txt").write_text("of the user")
    out, err = train(trained, log)
    told = [line for line in out if "is damaged" in line]
    assert len(told) == 1 and "step_12.npz is damaged" in told[0] and "going on from step 8" in told[0]
    assert not err and "going on after step 8" in out
    assert_ended_as(trained, log)
    assert sorted(path.name for path in (log / "state").iterdir()) == [
        "step_12.npz",
        "step_12.txt",
        "step_8.npz",
    ]


def test_all_states_damaged(trained: Trained, log: Path) -> None:
    for step in (8, 12):
        path = log / f"state/step_{step}.npz"
        path.write_bytes(path.read_bytes()[:-100])
    before = {path.name: path.read_bytes() for path in log.iterdir() if path.is_file()}
    _, err = train(trained, log, status=1)
    assert len(err) == 1 and "step_12.npz is damaged" in err[0] and "step_8.npz is damaged" in err[0]
    assert f"--init {log}" in err[0]
    for name, data in before.items():
        assert (log / name).read_bytes() == data


def restored(log: Path) -> "Run":
    import keras
    import tensorflow as tf

    from car.training_run import Run
    from model_car import CarNet

    strategy = tf.distribute.get_strategy()
    run = Run(log, strategy, lambda: CarNet(True), lambda: keras.optimizers.Adam(1e-4), True)
    run.restore()
    return run


def test_each_mutated_state_is_known_as_damaged_or_the_same(
    log: Path, long: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    count, same = 250 if long else 30, 0
    path = log / "state/step_12.npz"
    good, true = path.read_bytes(), [np.asarray(value) for value in restored(log).variables]
    assert capsys.readouterr().out == ""
    for mutant in examples(harmed(good), count):
        path.write_bytes(mutant)
        run = restored(log)
        said = capsys.readouterr().out
        if said:
            assert "step_12.npz is damaged" in said and said.count("\n") == 1 and run.step == 8
        else:  # as with a part of the archive that nothing reads
            same += 1
            np.testing.assert_equal([np.asarray(value) for value in run.variables], true)
    print(f"{count} mutated states: {count - same} known as damaged, {same} the same to the bit")
    assert same < count / 5


@pytest.mark.parametrize(
    "name, data, told",
    [
        ("settings.json", b"[" * 100_000, "settings.json is damaged"),
        ("losses.csv", b"step,train_loss", "losses.csv is damaged near line 1"),
    ],
)
def test_other_damaged_files_of_a_log(trained: Trained, log: Path, name: str, data: bytes, told: str) -> None:
    (log / name).write_bytes(data)
    _, err = train(trained, log, status=1)
    assert len(err) == 1 and told in err[0]


def test_mutated_losses_are_refused_or_rows(log: Path, long: bool) -> None:
    from car.training_run import read_losses

    good = (log / "losses.csv").read_bytes()
    for mutant in examples(harmed(good), 500 if long else 100):
        (log / "losses.csv").write_bytes(mutant)
        try:
            rows = read_losses(log / "losses.csv")
        except UserError as error:
            assert f"{log}/losses.csv is damaged near line " in str(error) and "\n" not in str(error)
        else:
            assert all(
                np.isfinite(row[3:]).all() and (row.step == 0 or np.isfinite(row).all()) for row in rows
            )


def test_a_missing_state_folder_is_no_new_beginning(trained: Trained, log: Path) -> None:
    shutil.rmtree(log / "state")
    weights = (log / WEIGHTS).read_bytes()
    _, err = train(trained, log, status=1)
    assert len(err) == 1 and "holds no state" in err[0]
    assert (log / WEIGHTS).read_bytes() == weights
