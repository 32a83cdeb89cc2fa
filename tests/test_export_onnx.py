"""pretrained/export_onnx.py: what ONNX Runtime makes of its files, against the suite's own nets."""

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import ROOT, run
from PIL import Image
from reference import Array
from test_docs import blocks_of

import model_car
from car import choice, chroma_net, cli, images, weights
from car.errors import UserError

onnx = pytest.importorskip("onnx", reason="export needs onnx: tests/requirements.txt")
onnxruntime = pytest.importorskip("onnxruntime", reason="its files are read by it: tests/requirements.txt")

sys.path.insert(0, str(ROOT / "pretrained"))

import export_onnx

NEAR = 1e-3  # grey level
LOGS = ["pretrained/q20", "pretrained/faithful"]  # a residual net and a faithful one


def outputs(model: Any, planes: Array) -> Array:
    """What ONNX Runtime makes of float32 [N, C, H, W] by a model of one input and one output."""
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    (made,) = session.run(None, {session.get_inputs()[0].name: planes.astype(np.float32)})
    assert made.dtype == np.float32
    return made


def by_the_suite(log: str, luma: Array, contrast: float = 1.0) -> Array:
    corrector = model_car.make_corrector({None: weights.load(ROOT / log)}, conv="direct")
    return corrector.through_net(luma, choice.Choice(None, contrast))


@pytest.fixture(scope="module")
def plane() -> Array:
    """Odd sides; a photograph, and black and light at random, of which a net makes less than 0: uint8 [67, 101]."""
    with Image.open(ROOT / "samples/camera.jpg") as image:
        plane = np.asarray(image)[60:127, 200:301].copy()
    plane[5:25, 60:90] = 160 * np.random.default_rng(3).integers(0, 2, (20, 30))
    return plane


@pytest.fixture(scope="module", params=LOGS)
def exported(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Any]:
    """A log folder and the model that the command makes of it."""
    file = tmp_path_factory.mktemp("exported") / "net.onnx"
    said = run("pretrained/export_onnx.py", ROOT / request.param, file)
    assert "luma [n, 1, height, width] to corrected [n, 1, height, width]" in said.out
    return request.param, onnx.load(file)


def test_onnx_runtime_makes_what_the_suite_makes(exported: tuple[str, Any], plane: Array) -> None:
    """Two planes at a time, and one of the least size, through one file."""
    log, model = exported
    onnx.checker.check_model(model, full_check=True)
    both = outputs(model, np.stack([plane, plane[::-1]])[:, np.newaxis])[:, 0]
    expected = by_the_suite(log, plane)
    np.testing.assert_allclose(both[0], expected, atol=NEAR, rtol=0)
    np.testing.assert_allclose(both[1], by_the_suite(log, plane[::-1]), atol=NEAR, rtol=0)
    least = plane[20:29, 40:49]
    np.testing.assert_allclose(
        outputs(model, least[np.newaxis, np.newaxis])[0, 0], by_the_suite(log, least), atol=NEAR, rtol=0
    )
    assert np.abs(expected - plane).max() > 10
    assert expected.min() == 0 if log == "pretrained/faithful" else expected.min() < -1
    print(f"{log}: {np.abs(both[0] - expected).max():.5f} grey level at most")


@pytest.mark.parametrize("log", LOGS)
def test_tiles_are_the_programs_own(log: str, plane: Array) -> None:
    """A tile with its neighbours, seen with less contrast, as a program does it that follows docs/format.md."""
    model = export_onnx.export(ROOT / log, valid=True)
    seen = 127.5 + 0.6 * (np.pad(plane, 9, mode="symmetric") - 127.5)
    made = outputs(model, seen[np.newaxis, np.newaxis, 10:, :50])[0, 0]
    expected = by_the_suite(log, plane, contrast=0.6)[10:, :32]
    np.testing.assert_allclose(127.5 + (made - 127.5) / 0.6, expected, atol=NEAR, rtol=0)


def test_the_net_of_chroma(tmp_path: Path) -> None:
    log, file = ROOT / "pretrained/q20", tmp_path / "chroma.onnx"
    said = run("pretrained/export_onnx.py", log, file, "--chroma").out
    assert "planes [n, 6, height, width] to changes [n, 2, inner_height, inner_width]" in said
    planes = np.random.default_rng(5).integers(60, 190, (2, 24, 19, 6), np.uint8)
    parameters = weights.load(log).chroma
    assert parameters
    expected = chroma_net.make_forward(parameters)(planes, 1.0)
    made = outputs(onnx.load(file), planes.transpose(0, 3, 1, 2)).transpose(0, 2, 3, 1)
    np.testing.assert_allclose(made, expected, atol=NEAR, rtol=0)
    assert np.abs(expected).max() > 10


def test_the_python_of_the_docs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    onnx.save(export_onnx.export(ROOT / "pretrained/q20"), "q20.onnx")
    with Image.open(ROOT / "samples/coffee.jpg") as image:
        image.crop((200, 100, 251, 147)).save("photograph.jpg", quality=20)
    (code,) = [block for block in blocks_of("docs/format.md", "python") if "onnxruntime" in block]
    names: dict[str, Any] = {}
    exec(code, names)
    luma = images.decode_jpeg(Path("photograph.jpg").read_bytes()).planes[0].samples
    np.testing.assert_array_equal(names["luma"], luma)
    np.testing.assert_allclose(names["corrected"], by_the_suite("pretrained/q20", luma), atol=NEAR, rtol=0)


def test_what_the_file_says_of_itself(exported: tuple[str, Any]) -> None:
    (log, model), trained = exported, weights.load(ROOT / exported[0])
    told = {entry.key: entry.value for entry in model.metadata_props}
    assert (model.producer_name, model.producer_version) == ("car-suite", cli.VERSION)
    np.testing.assert_array_equal(np.array(json.loads(told["gains"]), np.float32), trained.gains)
    assert json.loads(told["quality"]) == {"q20": [20, 20], "faithful": [10, 40]}[Path(log).name]
    assert tuple(json.loads(told["coarseness"])) == trained.coarseness
    assert json.loads(told["residual"]) is trained.residual
    assert "BSDS500" in told["provenance"]
    assert float(told["val_loss"]) < float(told["val_jpg_mse"])
    assert all(f"`{name}`" in (ROOT / "docs/format.md").read_text(encoding="utf-8") for name in told)


def test_other_weights_are_not_told_to_be_those_that_came_with_it() -> None:
    trained = weights.load(ROOT / "pretrained/q20")
    (kernel, bias), *others = trained.parameters
    own = weights.Weights(True, [(kernel * np.float32(0.5), bias), *others])
    told = export_onnx.properties(own)
    assert "BSDS500" not in told["provenance"]
    assert {"quality", "coarseness", "val_loss"} & set(told) == set()


def test_what_cannot_be_exported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "net.onnx"
    said = run("pretrained/export_onnx.py", tmp_path / "log", file, status=1).err
    assert "log holds no trained net" in said and len(said.splitlines()) == 1
    with pytest.raises(UserError, match="faithful has no net of chroma"):
        export_onnx.export(ROOT / "pretrained/faithful", chroma=True)
    with pytest.raises(SystemExit) as ended:  # it would take the place of the weights
        export_onnx.arguments(["pretrained", "pretrained/model_checkpoint.npz"])
    assert ended.value.code == 2 and "does not end in .onnx" in capsys.readouterr().err
    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(UserError, match="python -m pip install onnx"):
        export_onnx.export(ROOT / "pretrained/q20")
    assert not file.exists()
