"""A set of weights as plain arrays: on disk, checked, and a bank of them for files of several qualities.

The net that they are of (model_car.py) is AR-CNN's 9-7-1-5, faithful or residual.
"""

import dataclasses
import hashlib
import io
import json
import math
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from car import jpeg
from car.arrays import Floats
from car.errors import UserError, reason_of
from car.files import whole_file

LAYERS = ((9, 1, 64), (7, 64, 32), (1, 32, 16), (5, 16, 1))  # kernel side, maps in, maps out
RADIUS = sum(side // 2 for side, _, _ in LAYERS)  # 9 pixels: what an output depends on, to each side
# The same of the net of chroma: in come Cb, Cr and four samples of luma (chroma.py), out their changes.
CHROMA_LAYERS = ((5, 6, 64), (3, 64, 64), (3, 64, 32), (5, 32, 2))
CHROMA_RADIUS = sum(side // 2 for side, _, _ in CHROMA_LAYERS)  # 6 samples of chroma
NET = "AR-CNN 9-7-1-5"
GREY_LEVELS = 255.0  # inside the net luma is 0..1
LARGEST_WEIGHT = 1e6  # trained ones are under 10
LARGEST_GAIN = 10.0  # fitted ones are under 2
LARGEST_UNPACKED_BYTES = 2**22  # bytes, unpacked: ten times what a set takes
WEIGHTS_FILE, NET_FILE, CHROMA_FILE = "model_checkpoint.npz", "model_checkpoint.json", "chroma.npz"

Layers = tuple[tuple[int, int, int], ...]
Parameters = list[
    tuple[Floats, Floats]
]  # (kernel [side, side, maps in, maps out], bias [maps out]) of each layer


def _ones() -> Floats:
    return np.ones((jpeg.BLOCK, jpeg.BLOCK), np.float32)


@dataclasses.dataclass(frozen=True)
class Weights:
    """A trained net as arrays, and what is known of its validation."""

    residual: bool
    parameters: Parameters
    # float32 [8, 8], by which correction multiplies the coefficients of the net's change in each 8x8 block
    # where the JPEG's header is known; a row for each vertical frequency. The net does not know where blocks
    # begin, and so changes some frequencies too little or too much. 1 unless fitted (fit_gains.py).
    gains: Floats = dataclasses.field(default_factory=_ones)
    step: int = 0  # of the training
    val_loss: float = math.nan  # squared grey levels: by which the weights were chosen; nan where not known
    val_jpg_mse: float = math.nan  # the JPG's own
    coarseness: jpeg.Span | None = None  # of the JPGs that it was trained on; None where not known
    chroma: Parameters | None = None  # of the net of chroma for the same JPGs; None where there is none

    @property
    def worse_than_none(self) -> bool:
        """Whether validation found the JPG itself nearer to the truth than what the net makes of it."""
        return self.val_loss > self.val_jpg_mse


Bank = dict[
    float | None, Weights
]  # by the coarseness of the files that a set is for; the log's own under None


def describe(residual: bool) -> dict[str, Any]:
    """What the net is, as the small JSON beside its weights says it."""
    return {
        "net": NET,
        "residual": residual,
        "parameters": sum(s * s * i * o + o for s, i, o in LAYERS),
        "input": "luma, grey levels 0..255",
    }


def save(log: Path, weights: Weights) -> None:
    """Write weights to log/model_checkpoint.npz, and the JSON that says what they are."""
    arrays: dict[str, Any] = {
        name: getattr(weights, name) for name in ("step", "val_loss", "val_jpg_mse", "residual", "gains")
    }
    if weights.coarseness is not None:
        arrays["coarseness"] = np.array(weights.coarseness, np.float64)
    arrays |= _named(weights.parameters)
    with whole_file(log / NET_FILE, "w") as file:
        json.dump(describe(weights.residual), file, indent=1)
    write_arrays(log / WEIGHTS_FILE, arrays)


def save_chroma(log: Path, parameters: Parameters) -> None:
    """Write the net of chroma beside the weights of a log folder."""
    write_arrays(log / CHROMA_FILE, _named(parameters))


def _named(parameters: Parameters) -> dict[str, Any]:
    """Arrays by the names that they have in a file."""
    kernels = {f"layer{number}_kernel": kernel for number, (kernel, _) in enumerate(parameters, start=1)}
    return kernels | {f"layer{number}_bias": bias for number, (_, bias) in enumerate(parameters, start=1)}


def load(log: Path) -> Weights:
    """The best weights that a log folder holds.

    Raises UserError where the files are missing, damaged, or those of another net. Nothing
    in them is ever executed: JSON and plain arrays (pickles are refused).
    """
    path = log / WEIGHTS_FILE
    try:
        about = json.loads((log / NET_FILE).read_text())
        residual = about["residual"] is True
        if about != describe(residual):
            raise UserError(f"{log / NET_FILE} describes another net than {NET}; train one here")
        arrays = read_arrays(path)
        if bool(arrays.get("residual", residual)) != residual:
            raise UserError(f"{log / NET_FILE} is not the one of {path}: only one is of a residual net")
        return Weights(
            residual,
            _checked_layers(path, arrays, LAYERS),
            _checked_gains(path, arrays.get("gains", _ones())),  # older files have none
            int(arrays.get("step", 0)),
            float(arrays.get("val_loss", math.nan)),
            float(arrays.get("val_jpg_mse", math.nan)),
            _checked_coarseness(path, arrays.get("coarseness")),  # as the gains
            _chroma_of(log),
        )
    except FileNotFoundError as error:
        raise UserError(
            f"{error.filename} is missing: {log} holds no trained net. Train one with "
            f"train_car.py, or name the folder 'pretrained' for the weights that came with this"
        ) from error
    except (UserError, OSError):
        raise
    except Exception as error:  # whatever the parsers of JSON, zip and numpy stumble over
        raise UserError(
            f"{path} or its JSON is damaged or foreign ({reason_of(error)}); train again"
        ) from error


def _chroma_of(log: Path) -> Parameters | None:
    """The net of chroma in a log folder; None where there is none. Raises UserError."""
    path = log / CHROMA_FILE
    if not path.is_file():
        return None
    try:
        return _checked_layers(path, read_arrays(path), CHROMA_LAYERS)
    except (UserError, OSError):
        raise
    except Exception as error:  # as in load
        raise UserError(f"{path} is damaged or foreign ({reason_of(error)})") from error


def _checked_layers(path: Path, arrays: dict[str, npt.NDArray[Any]], layers: Layers) -> Parameters:
    """Kernel and bias of each of these layers. Raises UserError."""
    parameters = []
    for number, layer in enumerate(layers, start=1):
        kernel, bias = arrays[f"layer{number}_kernel"], arrays[f"layer{number}_bias"]
        shapes = (layer[0], *layer), (layer[2],)
        if (kernel.shape, bias.shape) != shapes or kernel.dtype.kind + bias.dtype.kind != "ff":
            raise UserError(f"{path}: layer {number} has another shape or type than {NET}'s")
        if not (np.abs(kernel).max() < LARGEST_WEIGHT and np.abs(bias).max() < LARGEST_WEIGHT):
            raise UserError(f"{path}: layer {number} holds weights that are not finite, or huge")
        parameters.append((kernel, bias))
    return parameters


def _checked_gains(path: Path, gains: npt.NDArray[Any]) -> Floats:
    """The gains. Raises UserError."""
    if gains.shape != _ones().shape or gains.dtype != np.float32:
        raise UserError(f"{path}: its gains have another shape or type than 8x8 float32")
    if not (np.abs(gains) <= LARGEST_GAIN).all():
        raise UserError(f"{path}: its gains are not finite, or huge")
    return gains


def _checked_coarseness(path: Path, span: npt.NDArray[Any] | None) -> jpeg.Span | None:
    """The coarseness of the JPGs that were trained on. Raises UserError."""
    if span is None:
        return None
    if span.shape != (2,) or span.dtype != np.float64 or not 0 < span[0] <= span[1] < np.inf:
        raise UserError(
            f"{path}: the coarseness of the JPGs that it was trained on is not two numbers above 0 in order"
        )
    return float(span[0]), float(span[1])


def write_arrays(path: Path, arrays: dict[str, Any]) -> None:
    """Write arrays and numbers by name to an .npz file, whole or not at all."""
    packed = io.BytesIO()  # on a full disk an unfinished archive would complain of its own once it is dropped
    np.savez(packed, **arrays)
    with whole_file(path) as file:
        file.write(packed.getbuffer())


def read_arrays(path: Path) -> dict[str, npt.NDArray[Any]]:
    """The arrays of an .npz file by name; pickles are refused. Raises what numpy and zipfile raise.

    The file is parsed in memory, so that an OSError is the disk's and never a damaged file's,
    whose places may lie before its beginning.
    """
    with open(path, "rb") as file:
        data = io.BytesIO(file.read(LARGEST_UNPACKED_BYTES))
    with zipfile.ZipFile(data) as archive:
        size = sum(entry.file_size for entry in archive.infolist())
        if size > LARGEST_UNPACKED_BYTES:  # before any of it is unpacked
            raise ValueError(f"{size} bytes unpacked")
    with np.load(data, allow_pickle=False) as arrays:
        return dict(arrays)


def digest_of(bank: Bank) -> str:
    """A short digest of all that a bank's nets compute with."""
    digest = hashlib.sha256()
    for factor, one in bank.items():
        digest.update(f"{factor} {one.residual} {one.gains.dtype}".encode() + one.gains.tobytes())
        for arrays in [*one.parameters, *(one.chroma or [])]:
            for array in arrays:
                digest.update(f"{array.dtype}".encode() + array.tobytes())
    return digest.hexdigest()[:16]


def shipped() -> Path:
    """The folder of the weights that came with the suite: beside car, or inside it where installed."""
    here = Path(__file__).resolve().parent
    return next(folder for folder in (here.parent / "pretrained", here / "pretrained") if folder.is_dir())


def load_bank(log: Path) -> Bank:
    """The weights of a log folder, and those of its bank if it has one. Raises UserError.

    A bank is the log folders q10, q20, ... inside, each trained on files of that quality; their keys are
    how coarse those are (jpeg.coarseness).
    """
    bank: Bank = {None: load(log)}
    for folder in sorted(log.glob("q[0-9]*")):
        quality = folder.name[1:]
        if quality.isdecimal() and 1 <= int(quality) <= 100:
            bank[jpeg.coarseness_of_quality(int(quality))] = load(folder)
    return bank
