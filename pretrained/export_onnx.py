"""Export weights as ONNX, for programs that run nets by ONNX Runtime, OpenVINO and the like.

    python pretrained/export_onnx.py pretrained/q20 q20.onnx            (a set of the bank, or any log folder)
    python pretrained/export_onnx.py pretrained car.onnx                (the one that serves for 10 to 40)
    python pretrained/export_onnx.py pretrained/q20 q20.onnx --valid    (for a program that cuts tiles)
    python pretrained/export_onnx.py pretrained/q20 chroma.onnx --chroma

A whole plane of luma goes in and the corrected one comes out, both float32 [N, 1, H, W] in grey levels
0..255, what comes out unclipped. docs/format.md says what a program does before and after.

It needs the package onnx: python -m pip install onnx
"""

import argparse
import json
import math
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from car import cli
from car.errors import UserError

if TYPE_CHECKING:  # what loads numpy or onnx is imported where it is used, once the arguments are good
    import onnx

    from car.weights import Parameters, Weights

OPSET, IR_VERSION = 17, 8  # of 2022: what reads ONNX at all reads these
HEIGHT, WIDTH = 2, 3  # axes
TO_THE_END = {1: 2**31 - 1, -1: -(2**31)}  # by the step
SHIPPED = "trained on BSDS500, whose images are for research; cite AR-CNN (arXiv 1504.06993)"
OTHER = "none of the sets that came with car-suite: ask whoever trained it"


def arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    """Parse the command line."""
    parser = cli.parser(__doc__)
    parser.set_defaults(workdir=".")  # there is no WORKDIR: LOG is what the shell says
    parser.add_argument("log", metavar="LOG", help="folder of weights, or one that holds a bank of them")
    parser.add_argument("out", type=Path, metavar="OUT.onnx", help="the file to write")
    which = parser.add_mutually_exclusive_group()
    which.add_argument(
        "--valid",
        action="store_true",
        help="no mirrored edges: what comes out is 9 pixels smaller at each side (for tiles)",
    )
    which.add_argument("--chroma", action="store_true", help="the net of Cb and Cr in place of that of luma")
    args = cli.parse(parser, argv, outputs=["log"])
    if args.out.suffix.lower() != ".onnx":
        parser.error(f"argument OUT.onnx: {args.out} does not end in .onnx")
    return args


# ---- the graph -----------------------------------------------------------------------------


class Graph:
    """Nodes and constants of an ONNX graph, while it is put together."""

    def __init__(self) -> None:
        self.nodes: list[Any] = []
        self.constants: list[Any] = []

    def constant(self, values: Any) -> str:
        """Keep an array; returns its name."""
        from onnx import numpy_helper

        name = f"constant{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(values, name))
        return name

    def node(self, kind: str, *inputs: str, **attributes: Any) -> str:
        """Add an operation on these; returns the name of what comes out."""
        from onnx import helper

        name = f"{kind.lower()}{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, list(inputs), [name], **attributes))
        return name

    def part(self, planes: str, axis: int, start: int, end: int, step: int = 1) -> str:
        """planes[start:end:step] along an axis."""
        import numpy as np

        numbers = [self.constant(np.array([number], np.int64)) for number in (start, end, axis, step)]
        return self.node("Slice", planes, *numbers)

    def mirrored(self, planes: str, border: int) -> str:
        """Planes with mirrored edges, the edge pixel repeated, which ONNX's Pad has not."""
        for axis in (HEIGHT, WIDTH):
            before = self.part(planes, axis, border - 1, TO_THE_END[-1], -1)
            after = self.part(planes, axis, -1, -border - 1, -1)
            planes = self.node("Concat", before, planes, after, axis=axis)
        return planes

    def inner(self, planes: str, border: int) -> str:
        """Planes without `border` pixels at each side."""
        for axis in (HEIGHT, WIDTH):
            planes = self.part(planes, axis, border, -border)
        return planes

    def layers(self, planes: str, parameters: "Parameters", last_relu: bool) -> str:
        """Convolutions without padding, a ReLU after each; after the last one if told so."""
        import numpy as np

        for number, (kernel, bias) in enumerate(parameters, start=1):
            outputs_first = np.ascontiguousarray(kernel.transpose(3, 2, 0, 1))
            planes = self.node("Conv", planes, self.constant(outputs_first), self.constant(bias))
            if number < len(parameters) or last_relu:
                planes = self.node("Relu", planes)
        return planes

    def model(
        self, name_in: str, maps_in: int, out: str, maps_out: int, same_size: bool
    ) -> "onnx.ModelProto":
        """The model from an input to what a node gives, "corrected" or "changes"; of any height and width."""
        from onnx import TensorProto, helper

        name_out = "corrected" if maps_out == 1 else "changes"
        self.nodes.append(helper.make_node("Identity", [out], [name_out]))
        sizes_out = ["height", "width"] if same_size else ["inner_height", "inner_width"]
        ends = [
            helper.make_tensor_value_info(name, TensorProto.FLOAT, ["n", maps, *sizes])
            for name, maps, sizes in (
                (name_in, maps_in, ["height", "width"]),
                (name_out, maps_out, sizes_out),
            )
        ]
        graph = helper.make_graph(self.nodes, "car", ends[:1], ends[1:], self.constants)
        return helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR_VERSION)


def luma_model(trained: "Weights", mirrored: bool) -> "onnx.ModelProto":
    """The net of luma: "luma", float32 [N, 1, H, W] in grey levels, to "corrected", unclipped.

    mirrored: the edges are mirrored inside, and H and W, 9 or more, are kept; else [N, 1, H - 18, W - 18]
    comes out, the pixels whose whole receptive field is inside.
    """
    from car.weights import GREY_LEVELS, RADIUS

    (kernel, bias), *middle, (last_kernel, last_bias) = trained.parameters
    in_grey_levels = [
        (kernel / GREY_LEVELS, bias),
        *middle,
        (last_kernel * GREY_LEVELS, last_bias * GREY_LEVELS),
    ]
    graph = Graph()
    whole = graph.mirrored("luma", RADIUS) if mirrored else "luma"
    out = graph.layers(whole, in_grey_levels, last_relu=not trained.residual)
    if trained.residual:
        out = graph.node("Add", out, "luma" if mirrored else graph.inner("luma", RADIUS))
    return graph.model("luma", 1, out, 1, mirrored)


def chroma_model(parameters: "Parameters") -> "onnx.ModelProto":
    """The net of chroma: "planes", float32 [N, 6, h, w], to "changes", [N, 2, h - 12, w - 12]; grey levels.

    The planes are those of car/chroma.py. They are mirrored outside, as the luma among them is mirrored on
    its own, finer grid.
    """
    import numpy as np

    from car.chroma import CHANGE_SCALE, MIDDLE, SCALE

    graph = Graph()
    middle, scale = (graph.constant(values.reshape(1, -1, 1, 1)) for values in (MIDDLE, SCALE))
    scaled = graph.node("Div", graph.node("Sub", "planes", middle), scale)
    changes = graph.layers(scaled, parameters, last_relu=False)
    in_grey_levels = graph.node("Mul", changes, graph.constant(np.array(CHANGE_SCALE, np.float32)))
    return graph.model("planes", len(MIDDLE), in_grey_levels, 2, same_size=False)


# ---- what it says of itself ----------------------------------------------------------------


def properties(trained: "Weights") -> dict[str, str]:
    """What a program may want to know of the weights; what is not known is not there."""
    from car import jpeg, weights

    digest = weights.digest_of({None: trained})
    known = {
        "net": weights.NET,
        "residual": json.dumps(trained.residual),
        "step": str(trained.step),
        "gains": json.dumps(trained.gains.tolist()),
        "digest": digest,
        "provenance": SHIPPED if digest in shipped_digests() else OTHER,
    }
    if trained.coarseness:
        known["coarseness"] = json.dumps(trained.coarseness)
        known["quality"] = json.dumps([jpeg.quality_of_coarseness(one) for one in trained.coarseness[::-1]])
    losses = {"val_loss": trained.val_loss, "val_jpg_mse": trained.val_jpg_mse}
    return known | {name: str(loss) for name, loss in losses.items() if math.isfinite(loss)}


def shipped_digests() -> set[str]:
    """The digests of all sets that came with the suite: a copy of one is still trained on BSDS500."""
    from car import weights

    files = weights.shipped().rglob(weights.WEIGHTS_FILE)
    return {weights.digest_of({None: weights.load(file.parent)}) for file in files}


def export(log: Path, valid: bool = False, chroma: bool = False) -> "onnx.ModelProto":
    """The model of a log folder's net, with its properties. Raises UserError.

    valid: without mirrored edges (luma_model); chroma: the net of chroma in place of that of luma.
    """
    try:
        import onnx
    except ImportError as error:
        raise UserError("the package onnx is needed, which is missing: python -m pip install onnx") from error
    from car import weights

    trained = weights.load(log)
    if not chroma:
        model = luma_model(trained, mirrored=not valid)
    elif trained.chroma is not None:
        model = chroma_model(trained.chroma)
    else:
        raise UserError(f"{log} has no net of chroma ({weights.CHROMA_FILE}); leave out --chroma")
    model.producer_name, model.producer_version = "car-suite", cli.VERSION
    onnx.helper.set_model_props(model, properties(trained))
    return model


@cli.script
def main(argv: Sequence[str] | None = None) -> int:
    """Export, save, say what was written. Returns the exit status."""
    args = arguments(argv)
    from car import files, weights

    if args.log.name == "pretrained" and not args.log.exists():
        args.log = weights.shipped()
    model = export(args.log, args.valid, args.chroma)
    with files.whole_file(args.out) as file:
        file.write(model.SerializeToString())
    (put_in,), (comes_out,) = model.graph.input, model.graph.output
    cli.say(f"{args.out}: {_shape_of(put_in)} to {_shape_of(comes_out)}, grey levels, float32")
    return 0


def _shape_of(value: "onnx.ValueInfoProto") -> str:
    sizes = [size.dim_param or str(size.dim_value) for size in value.type.tensor_type.shape.dim]
    return f"{value.name} [{', '.join(sizes)}]"


if __name__ == "__main__":
    sys.exit(main())
