"""car/weights.py: weights come back as they were; what is not ours is refused, and never executed."""

import dataclasses
import io
import json
import math
import os
import pickle
import re
import shutil
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import ROOT
from reference import LAYERS, Array

from car import weights
from car.errors import UserError
from car.weights import Weights

Arrays = dict[str, Any]


def some_weights(residual: bool = True, seed: int = 0) -> Weights:
    rng = np.random.default_rng(seed)
    parameters = [
        (rng.normal(size=(side, side, maps, out)).astype(np.float32), rng.normal(size=out).astype(np.float32))
        for side, maps, out in LAYERS
    ]
    gains = rng.uniform(0, 2, (8, 8)).astype(np.float32)
    return Weights(residual, parameters, gains, 12_345, 41.25, 57.5)


def some_chroma(seed: int = 1) -> weights.Parameters:
    rng = np.random.default_rng(seed)
    layers = ((5, 6, 64), (3, 64, 64), (3, 64, 32), (5, 32, 2))
    return [
        (rng.normal(size=(side, side, maps, out)).astype(np.float32), rng.normal(size=out).astype(np.float32))
        for side, maps, out in layers
    ]


TOLD_NOT = "the coarseness of the JPGs that it was trained on is not two numbers above 0 in order"


@pytest.fixture
def log(tmp_path: Path) -> Path:
    """A log folder with some_weights()."""
    weights.save(tmp_path, some_weights())
    return tmp_path


def changed(log: Path, change: Callable[[Arrays], Any]) -> None:
    """Write the arrays of a log folder again, changed, as numpy writes them."""
    with np.load(log / "model_checkpoint.npz") as stored:
        arrays = dict(stored)
    change(arrays)
    np.savez(log / "model_checkpoint.npz", **arrays)


def refused(log: Path) -> str:
    with pytest.raises(UserError) as error:
        weights.load(log)
    return str(error.value)


# ---- there and back ------------------------------------------------------------------------


@pytest.mark.parametrize("residual", [True, False])
def test_what_was_saved_is_loaded(tmp_path: Path, residual: bool) -> None:
    saved = some_weights(residual)
    weights.save(tmp_path, saved)
    assert sorted(os.listdir(tmp_path)) == ["model_checkpoint.json", "model_checkpoint.npz"]
    loaded = weights.load(tmp_path)
    assert loaded.residual is residual
    assert (loaded.step, loaded.val_loss, loaded.val_jpg_mse) == (12_345, 41.25, 57.5)
    np.testing.assert_array_equal(loaded.gains, saved.gains)
    for (kernel, bias), (wanted_kernel, wanted_bias) in zip(loaded.parameters, saved.parameters, strict=True):
        assert kernel.dtype == bias.dtype == np.float32
        np.testing.assert_array_equal(kernel, wanted_kernel)
        np.testing.assert_array_equal(bias, wanted_bias)
    assert json.loads((tmp_path / "model_checkpoint.json").read_text()) == {
        "net": "AR-CNN 9-7-1-5",
        "residual": residual,
        "parameters": 106_561,
        "input": "luma, grey levels 0..255",
    }


def test_the_names_in_the_file_are_those_of_the_contract(log: Path) -> None:
    wanted = {"step", "val_loss", "val_jpg_mse", "residual", "gains"}
    wanted |= {f"layer{n}_{part}" for n in (1, 2, 3, 4) for part in ("kernel", "bias")}
    with np.load(log / "model_checkpoint.npz") as arrays:
        assert set(arrays) == wanted and arrays["residual"]


def test_the_coarseness_of_what_it_was_trained_on_comes_back(tmp_path: Path) -> None:
    """With older files it is not known."""
    weights.save(tmp_path, some_weights())
    assert weights.load(tmp_path).coarseness is None
    weights.save(tmp_path, dataclasses.replace(some_weights(), coarseness=(1.25, 50 / 3)))
    assert weights.load(tmp_path).coarseness == (1.25, 50 / 3)
    assert weights.load_bank(tmp_path)[None].coarseness == (1.25, 50 / 3)


@pytest.mark.parametrize(
    "span",
    [
        *([2.0, 1.0], [0.0, 1.0], [-1.0, 1.0], [1.0, math.inf], [math.nan, 1.0], [1.0, math.nan]),
        *([1.0], 1.0, [1.0, 2.0, 3.0], [[1.0, 2.0]], [1, 2], ["1", "2"]),
    ],
)
def test_a_coarseness_that_cannot_be_is_refused(log: Path, span: Any) -> None:
    changed(log, lambda arrays: arrays.update(coarseness=np.array(span)))
    assert refused(log) == f"{log / 'model_checkpoint.npz'}: {TOLD_NOT}"


def test_the_json_is_for_people_too(log: Path) -> None:
    assert (log / "model_checkpoint.json").read_text().startswith('{\n "net": "AR-CNN 9-7-1-5",\n')


def test_files_of_older_suites_say_less(log: Path) -> None:
    def older(arrays: Arrays) -> None:
        for name in ("step", "val_loss", "val_jpg_mse", "residual", "gains"):
            del arrays[name]

    changed(log, older)
    loaded = weights.load(log)
    assert loaded.residual is True and loaded.step == 0
    assert math.isnan(loaded.val_loss) and math.isnan(loaded.val_jpg_mse)
    assert loaded.gains.dtype == np.float32 and loaded.gains.shape == (8, 8) and (loaded.gains == 1).all()


def test_weights_by_themselves_have_no_gains_and_no_validation() -> None:
    plain = Weights(True, some_weights().parameters)
    assert plain.gains.shape == (8, 8) and (plain.gains == 1).all() and plain.gains.dtype == np.float32
    assert plain.step == 0 and math.isnan(plain.val_loss) and math.isnan(plain.val_jpg_mse)
    assert not plain.worse_than_none
    assert weights.RADIUS == 9


@pytest.mark.parametrize("loss, jpg, worse", [(2.0, 1.0, True), (1.0, 1.0, False), (1.0, 2.0, False)])
def test_worse_than_none(loss: float, jpg: float, worse: bool) -> None:
    assert Weights(True, [], val_loss=loss, val_jpg_mse=jpg).worse_than_none is worse


# ---- the bank ------------------------------------------------------------------------------


def test_the_bank_that_comes_with_the_suite() -> None:
    bank = weights.load_bank(ROOT / "pretrained")
    wanted = {None, 5.0, 2.5, 50 / 30, 1.25, 0.8, 0.4, 0.3, 0.2, 0.1}  # q10 20 30 40 60 80 85 90 95
    assert {key and round(key, 9) for key in bank} == {key and round(key, 9) for key in wanted}
    for folder, factor in ((".", None), ("q10", 5.0), ("q40", 1.25)):
        with np.load(ROOT / "pretrained" / folder / "model_checkpoint.npz") as arrays:
            np.testing.assert_array_equal(bank[factor].parameters[0][0], arrays["layer1_kernel"])
            assert bank[factor].step == arrays["step"]


def test_which_folders_are_of_the_bank(log: Path) -> None:
    for number, name in enumerate(
        ("q1", "q100", "q0", "q101", "q50x", "q5.0", "Q7", "q", "x10", "q٣", "q5²"), start=1
    ):
        (log / name).mkdir()
        weights.save(log / name, some_weights(seed=number))
    bank = weights.load_bank(log)
    assert set(bank) == {None, 50.0, 0.01}
    for factor, seed in ((None, 0), (50.0, 1), (0.01, 2)):
        np.testing.assert_array_equal(bank[factor].parameters[2][0], some_weights(seed=seed).parameters[2][0])
    (log / "q50").mkdir()
    with pytest.raises(UserError, match=r"q50.*holds no trained net"):
        weights.load_bank(log)


# ---- what is refused -----------------------------------------------------------------------


@pytest.mark.parametrize("name", ["model_checkpoint.npz", "model_checkpoint.json"])
def test_a_missing_file_is_named(log: Path, name: str) -> None:
    (log / name).unlink()
    said = refused(log)
    assert said.startswith(f"{log / name} is missing") and "train_car.py" in said and "'pretrained'" in said


def test_a_fault_of_the_disk_is_not_damage(log: Path) -> None:
    (log / "model_checkpoint.npz").unlink()
    (log / "model_checkpoint.npz").mkdir()
    with pytest.raises(OSError):
        weights.load(log)


@pytest.mark.parametrize(
    "key, value",
    [
        ("net", "another"),
        ("parameters", 1),
        ("input", "RGB"),
        ("residual", 1),
        ("residual", None),
        ("more", 0),
    ],
)
def test_another_net_is_refused(log: Path, key: str, value: Any) -> None:
    path = log / "model_checkpoint.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), key: value}))
    said = refused(log)
    assert said.startswith(f"{path} describes another net") and "AR-CNN 9-7-1-5" in said


@pytest.mark.parametrize("residual", [True, False])
def test_the_json_of_another_net_is_told(log: Path, residual: bool) -> None:
    (log / "other").mkdir()
    weights.save(log, some_weights(residual))
    weights.save(log / "other", some_weights(not residual))
    shutil.copy(log / "other/model_checkpoint.json", log)
    said = refused(log)
    assert said.startswith(str(log / "model_checkpoint.json")) and "residual" in said
    assert str(log / "model_checkpoint.npz") in said


@pytest.mark.parametrize("text", ["", "{", "[]", "7", "{}", "[" * 100_000])
def test_a_damaged_json_is_told(log: Path, text: str) -> None:
    (log / "model_checkpoint.json").write_text(text)
    said = refused(log)
    assert said.startswith(f"{log / 'model_checkpoint.npz'} or its JSON is damaged") and "train again" in said


@pytest.mark.parametrize("keep", [0, 10, 3000, -1])
def test_a_cut_file_is_told(log: Path, keep: int) -> None:
    path = log / "model_checkpoint.npz"
    path.write_bytes(path.read_bytes()[:keep])
    assert f"{path} or its JSON is damaged" in refused(log)


def test_a_flipped_byte_is_told(log: Path) -> None:
    path = log / "model_checkpoint.npz"
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    assert f"{path} or its JSON is damaged" in refused(log)


def test_an_array_that_ends_before_its_end_is_told(log: Path) -> None:
    """What zipfile raises for it has no text at all; of later Pythons it says that entries overlap."""
    path, member = log / "model_checkpoint.npz", io.BytesIO()
    np.lib.format.write_array_header_1_0(member, {"descr": "<f4", "fortran_order": False, "shape": (10_000,)})
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("layer1_kernel.npy", member.getvalue())
    data = bytearray(path.read_bytes())
    struct.pack_into("<2L", data, data.index(b"PK\x01\x02") + 20, 50_000, 50_000)  # its sizes, packed and not
    path.write_bytes(data)
    assert re.search(
        r"damaged or foreign \((EOFError\(\)|Overlapped entries: .*)\); train again", refused(log)
    )


@pytest.mark.parametrize("number", [1, 2, 3, 4])
def test_a_layer_of_another_kind_is_named(log: Path, number: int) -> None:
    kernel, bias = f"layer{number}_kernel", f"layer{number}_bias"
    changes: list[Callable[[Arrays], Any]] = [
        lambda arrays: arrays.update({kernel: arrays[kernel][:-1]}),
        lambda arrays: arrays.update({kernel: arrays[kernel][..., np.newaxis]}),
        lambda arrays: arrays.update({bias: np.zeros(len(arrays[bias]) + 1, np.float32)}),
        lambda arrays: arrays.update({kernel: arrays[kernel].astype(np.int32)}),
        lambda arrays: arrays.update({bias: arrays[bias].astype(np.complex64)}),
    ]
    for change in changes:
        weights.save(log, some_weights())
        changed(log, change)
        said = refused(log)
        assert said.startswith(f"{log / 'model_checkpoint.npz'}: layer {number} has another shape or type")


@pytest.mark.parametrize("part", ["kernel", "bias"])
@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, 1e6, -1e6])
def test_weights_that_are_no_numbers_are_refused(log: Path, part: str, value: float) -> None:
    changed(log, lambda arrays: arrays[f"layer3_{part}"].reshape(-1).__setitem__(5, value))
    said = refused(log)
    assert said.startswith(
        f"{log / 'model_checkpoint.npz'}: layer 3 holds weights that are not finite, or huge"
    )


@pytest.mark.parametrize("part", ["kernel", "bias"])
def test_large_weights_are_taken(log: Path, part: str) -> None:
    changed(log, lambda arrays: arrays[f"layer3_{part}"].reshape(-1).__setitem__(5, -999_999))
    assert min(array.min() for array in weights.load(log).parameters[2]) == -999_999


def test_a_missing_layer_is_told(log: Path) -> None:
    changed(log, lambda arrays: arrays.pop("layer2_bias"))
    said = refused(log)
    assert "damaged" in said and "layer2_bias" in said


@pytest.mark.parametrize(
    "gains, reason",
    [
        (np.ones((8, 7), np.float32), "8x8 float32"),
        (np.ones(64, np.float32), "8x8 float32"),
        (np.ones((8, 8)), "8x8 float32"),
        (np.full((8, 8), math.nan, np.float32), "not finite, or huge"),
        (np.full((8, 8), -math.inf, np.float32), "not finite, or huge"),
        (np.where(np.eye(8), np.float32(10.01), np.float32(1)), "not finite, or huge"),
        (np.where(np.eye(8), np.float32(-10.01), np.float32(1)), "not finite, or huge"),
    ],
)
def test_gains_that_cannot_be_are_refused(log: Path, gains: Array, reason: str) -> None:
    changed(log, lambda arrays: arrays.update(gains=gains))
    said = refused(log)
    assert said.startswith(f"{log / 'model_checkpoint.npz'}: its gains ") and reason in said


def test_the_largest_gains_are_taken(log: Path) -> None:
    changed(log, lambda arrays: arrays.update(gains=np.full((8, 8), -10, np.float32)))
    assert (weights.load(log).gains == -10).all()


class Harm:
    """What makes a folder when it is unpickled."""

    def __init__(self, folder: str) -> None:
        self.folder = folder

    def __reduce__(self) -> Any:
        return os.mkdir, (self.folder,)


def test_nothing_in_the_file_is_executed(log: Path) -> None:
    harm = log / "harm"
    changed(log, lambda arrays: arrays.update(gains=np.array([Harm(str(harm))], dtype=object)))
    assert "damaged or foreign" in refused(log) and not harm.exists()
    (log / "model_checkpoint.npz").write_bytes(pickle.dumps(Harm(str(harm))))
    assert "damaged or foreign" in refused(log) and not harm.exists()


# ---- arrays --------------------------------------------------------------------------------


def test_arrays_and_numbers_by_name(tmp_path: Path) -> None:
    path = tmp_path / "some.npz"
    weights.write_arrays(
        path, {"a": np.arange(6).reshape(2, 3), "b": 1.5, "name with / in it": np.array([True])}
    )
    arrays = weights.read_arrays(path)
    assert list(arrays) == ["a", "b", "name with / in it"]
    np.testing.assert_array_equal(arrays["a"], [[0, 1, 2], [3, 4, 5]])
    assert arrays["b"] == 1.5 and arrays["name with / in it"]
    assert os.listdir(tmp_path) == ["some.npz"]


def test_a_file_of_4_mib_unpacked_is_read_and_no_larger_one(tmp_path: Path) -> None:
    """Told before anything is unpacked: a bomb of a few KB too."""
    path, header = tmp_path / "some.npz", 128
    np.savez_compressed(path, a=np.zeros(2**22 - header, np.uint8))
    assert path.stat().st_size < 10_000 and len(weights.read_arrays(path)["a"]) == 2**22 - header
    for bomb in ({"a": np.zeros(2**22 - header + 1, np.uint8)}, {n: np.zeros(2**21, np.uint8) for n in "ab"}):
        np.savez_compressed(path, **bomb)  # type: ignore[arg-type]
        with pytest.raises(ValueError, match=r"4194(305|560) bytes unpacked"):
            weights.read_arrays(path)
    np.savez(path, a=np.zeros(2**22, np.uint8))  # not packed: more than is ever read of a file
    with pytest.raises(zipfile.BadZipFile):
        weights.read_arrays(path)


def test_the_digest_of_a_bank_tells_what_it_computes_with() -> None:
    bank = weights.load_bank(ROOT / "pretrained")
    own = weights.digest_of(bank)
    assert own == weights.digest_of(weights.load_bank(ROOT / "pretrained"))
    first = bank[None]
    (kernel, bias), *rest = first.parameters
    for other in (
        dataclasses.replace(first, gains=first.gains * np.float32(1.01)),
        dataclasses.replace(first, residual=not first.residual),
        dataclasses.replace(first, parameters=[(kernel, bias + np.float32(1e-6)), *rest]),
        dataclasses.replace(first, parameters=[(kernel[::-1], bias), *rest]),
    ):
        assert weights.digest_of({**bank, None: other}) != own
    assert weights.digest_of({None: first}) != own
    assert weights.digest_of({**bank, None: dataclasses.replace(first, step=5, val_loss=1.0)}) == own


def test_the_net_of_chroma_beside_it(log: Path) -> None:
    assert weights.load(log).chroma is None
    before = weights.digest_of(weights.load_bank(log))
    weights.save_chroma(log, some_chroma())
    loaded = weights.load(log).chroma
    assert loaded is not None
    for layers, expected in zip(loaded, some_chroma(), strict=True):
        for array, wanted in zip(layers, expected, strict=True):
            np.testing.assert_array_equal(array, wanted)
    first = weights.digest_of(weights.load_bank(log))
    weights.save_chroma(log, some_chroma(2))
    assert len({before, first, weights.digest_of(weights.load_bank(log))}) == 3
    assert sum(kernel.size + bias.size for kernel, bias in loaded) == 66_658


def test_a_net_of_chroma_that_is_damaged_or_another_is_told(log: Path) -> None:
    path = log / "chroma.npz"
    path.write_bytes(b"PK")
    assert f"{path} is damaged or foreign" in refused(log)
    wrong = some_chroma()
    weights.save_chroma(log, [wrong[0], wrong[2], wrong[1], wrong[3]])
    assert f"{path}: layer 2 has another shape" in refused(log)
    wrong[3][1][0] = np.nan
    weights.save_chroma(log, wrong)
    assert f"{path}: layer 4 holds weights that are not finite" in refused(log)
