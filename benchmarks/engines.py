"""The same net in other engines, for benchmarks/speed.py. Each is imported only where it is timed."""

import functools
import os
import sys
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from timing import ROOT

sys.path.append(str(ROOT / "pretrained"))

# isort: split
import export_onnx
import numpy as np
import tensorflow as tf

import model_car
from car import choice, weights
from car.arrays import Floats, Pixels
from car.weights import Weights
from model_car import CarNet

if TYPE_CHECKING:
    import torch

THREADS = os.cpu_count()


def torch_net(net: CarNet) -> "torch.nn.Sequential":
    """The same net in PyTorch, without padding."""
    import torch

    torch.set_num_threads(THREADS)
    layers = []
    for kernel, bias in net.parameters():
        side, _, maps_in, maps_out = kernel.shape
        layer = torch.nn.Conv2d(maps_in, maps_out, side)
        layer.weight.data = torch.tensor(kernel.numpy().transpose(3, 2, 0, 1).copy())
        layer.bias.data = torch.tensor(bias.numpy())
        layers += [layer, torch.nn.ReLU()]
    return torch.nn.Sequential(*layers[:-1])


def torch_step(
    channels_last: bool, jpg: Floats, bmp: Floats, border: int, autocast: bool = False
) -> Callable[[], float]:
    """The training step on a batch, float32 [N, side, side, 1] each, in one of PyTorch's two layouts.

    autocast: the net in bfloat16.
    """
    import torch

    layout = torch.channels_last if channels_last else torch.contiguous_format
    model, inside = torch_net(CarNet(residual=True)), slice(border, -border or None)
    for layer in model:
        if isinstance(layer, torch.nn.Conv2d):
            layer.padding = (layer.kernel_size[0] // 2,) * 2
    model = model.to(memory_format=layout)
    adam = torch.optim.Adam(model.parameters(), 1e-4)
    x, y = (torch.from_numpy(a.transpose(0, 3, 1, 2)).contiguous(memory_format=layout) for a in (jpg, bmp))

    def step() -> float:
        adam.zero_grad()
        with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
            made = model(x / 255)
        error = x + 255 * made.float() - y
        loss = torch.mean(error[:, :, inside, inside] ** 2)
        loss.backward()
        adam.step()
        return float(loss.detach())

    return step


def onnx_file(trained: Weights) -> Path:
    """The same net, without padding, as export_onnx.py writes it, in a folder of its own."""
    import onnx

    path = Path(tempfile.mkdtemp()) / "car.onnx"
    onnx.save(export_onnx.luma_model(trained, mirrored=False), path)
    return path


def _tiles(luma: Pixels) -> list[Floats]:
    """A plane, mirrored at its edges, in parts of 2048x2048 with their halos: float32 [1, h, w]."""
    halo, step = weights.RADIUS, 2048
    plane = np.pad(luma, halo, mode="symmetric").astype(np.float32)
    return [
        np.ascontiguousarray(plane[top : top + step + 2 * halo, left : left + step + 2 * halo])[np.newaxis]
        for top in range(0, luma.shape[0], step)
        for left in range(0, luma.shape[1], step)
    ]


def _in_openvino(path: Path, settings: Mapping[str, object]) -> Any:
    """An ONNX file as OpenVINO compiles it."""
    import openvino

    core = openvino.Core()
    return core.compile_model(core.read_model(path), "CPU", dict(settings))


def in_bfloat16(trained: Weights, luma: Pixels) -> dict[str, Callable[[], object]]:
    """As engines_for, in bfloat16: the suite told so, and OpenVINO as it comes on a processor that has it."""
    compiled = _in_openvino(onnx_file(trained), {})
    tiles = _tiles(luma)
    ours = {
        name: model_car.make_corrector({None: trained}, precision=precision)
        for name, precision in (("suite", "bfloat16"), ("suite in float32", "float32"))
    }
    runs: dict[str, Callable[[], object]] = {
        name: functools.partial(corrector.through_net, luma, choice.Choice(None))
        for name, corrector in ours.items()
    }
    name = f"OpenVINO as it comes ({compiled.get_property('INFERENCE_PRECISION_HINT').to_string()})"
    return runs | {name: lambda: [compiled(tile[:, None]) for tile in tiles]}


def engines_for(trained: Weights, luma: Pixels) -> dict[str, Callable[[], object]]:
    """{engine: function} that each take a luma plane through the net, whole, with mirrored edges.

    The others see the padded plane at one go, up to 2048 rows and columns at a time (their memory).
    """
    fast, direct = (model_car.make_corrector({None: trained}, conv=conv) for conv in ("fast", "direct"))
    return {
        "suite": lambda: fast.through_net(luma, choice.Choice(None)),
        "suite --conv direct": lambda: direct.through_net(luma, choice.Choice(None)),
        **_others(trained, _tiles(luma)),
    }


def engines_for_batch(trained: Weights, patches: Pixels) -> dict[str, Callable[[], object]]:
    """As engines_for, of a batch of patches with their halos, uint8 [N, h, w]."""
    fast, direct = (
        model_car.make_forward(trained, weights.RADIUS, conv, "float32") for conv in ("fast", "direct")
    )
    return {
        "suite": lambda: fast(patches, 1.0),
        "suite --conv direct": lambda: direct(patches, 1.0),
        **_others(trained, [patches.astype(np.float32)]),
    }


def _others(trained: Weights, tiles: list[Floats]) -> dict[str, Callable[[], object]]:
    """The other engines on tiles with their halos, float32 [N, h, w]."""
    import onnxruntime
    import torch

    net = model_car.net_of(trained)
    scaled = [tile / 255 for tile in tiles]  # as PyTorch's net wants it, which has no scaling inside
    path = onnx_file(trained)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = THREADS
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    settings = {"INFERENCE_PRECISION_HINT": "f32", "INFERENCE_NUM_THREADS": THREADS}
    compiled = _in_openvino(path, settings)
    plain, last = torch_net(net), torch_net(net).to(memory_format=torch.channels_last)
    graph = tf.function(lambda x: net(x, padding="VALID"), reduce_retracing=True)

    def in_torch(model: torch.nn.Module, layout: torch.memory_format) -> None:
        with torch.inference_mode():
            for tile in scaled:
                model(torch.from_numpy(tile)[:, None].to(memory_format=layout))

    return {
        "TensorFlow": lambda: [graph(tf.constant(tile)[..., None]) for tile in tiles],
        "PyTorch": lambda: in_torch(plain, torch.contiguous_format),
        "PyTorch channels-last": lambda: in_torch(last, torch.channels_last),
        "ONNX Runtime": lambda: [session.run(None, {"luma": tile[:, None]}) for tile in tiles],
        "OpenVINO": lambda: [compiled(tile[:, None]) for tile in tiles],
    }
