"""The network, its loss, and its weights on disk.

AR-CNN (Dong, Deng, Loy, Tang: Compression Artifacts Reduction by a Deep Convolutional
Network, ICCV 2015, arXiv 1504.06993), 9-7-1-5:

    layer  kernel  maps      activation          parameters
    1      9x9      1 -> 64  ReLU                     5,248
    2      7x7     64 -> 32  ReLU                   100,384
    3      1x1     32 -> 16  ReLU                       528
    4      5x5     16 ->  1  ReLU, or linear            401
                                                    106,561

Stride 1; an output pixel depends on the 19x19 pixels around it (radius 9). Input and output
are luma in grey levels 0..255; the scaling to 0..1 is inside. The faithful net's last layer
is a ReLU; the residual net's is linear and its output is added to the input, so that the
net learns the artifact alone.
"""

import io
import json
import math
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import car_shell  # noqa: F401  (first: it starts TensorFlow quietly)
import keras
import numpy as np
import tensorflow as tf
from car_shell import UserError, reason_of, whole_file

from car_conv import columns_of, sum_columns, toom_cook_relu
from car_jpeg import COSINES, SIDE, coarseness_of_quality, reach_of
from car_types import Floats

LAYERS = ((9, 1, 64), (7, 64, 32), (1, 32, 16), (5, 16, 1))  # kernel side, maps in, maps out
RADIUS = sum(side // 2 for side, _, _ in LAYERS)  # 9 pixels
GREY_LEVELS = 255.0
SMALL = 1e-3  # deviation of the last kernel at the start: the net then changes next to nothing
# Where the faithful net starts (picture_passed_on): by what each layer multiplies the picture that it passes
# on, and by how much the kernels of the first three layers' other maps are larger than He-normal ones.
PASSING = (20.0, 12.0, 2.0, 4.0)
SPREAD = 5.0
NET = "AR-CNN 9-7-1-5"
LARGEST = 1e6  # of a weight: trained ones are under 10
LARGEST_GAIN = 10.0  # fitted ones are under 2
MAX_BYTES = 2**22  # of weights, unpacked: ten times what they take
WEIGHTS_FILE, NET_FILE = "model_checkpoint.npz", "model_checkpoint.json"

Parameters = Sequence[tuple[tf.Tensor, tf.Tensor]]  # (kernel, bias) of each layer
Initializer = Callable[..., tf.Tensor]  # (shape, dtype) -> values
Layers = Callable[[tf.Tensor, Parameters, str], tf.Tensor]  # (maps, parameters, padding) -> maps


def zero_sum(initializer: Initializer) -> Initializer:
    """The initializer with each map's weights made to sum to 0.

    What a map sees is never negative, so that weights of another sum add up to a constant many times
    the rest: half of layer 2's maps would begin below 0 for every input, and stay there for good.
    """

    def initialize(shape: tuple[int, ...], dtype: Any = None) -> tf.Tensor:
        weights = initializer(shape, dtype)
        return weights - tf.reduce_mean(weights, axis=0)

    return initialize


def picture_passed_on(initializer: Initializer, number: int) -> Initializer:
    """The initializer of a faithful net's kernel, of layer 1 to 4, that lets the picture through as it is.

    Map 0 of each layer holds what is brighter than mid-grey, map 1 what is darker. Neither is ever
    negative, so that every ReLU lets them pass, and layer 4 puts them together: the net starts as the
    identity. A net that starts elsewhere has to find the picture first. Its first steps throw the output
    below 0 everywhere, where the last ReLU has no gradient, and most such nets stay there.

    Adam moves each weight by its learning rate, whatever the gradient. On the picture's way 81 + 49 + 1 + 25
    weights would move together, by 15 % of the picture in the first step, and Adam divides by the gradients
    of that fall for a thousand steps. So these weights are large, PASSING, and a step is small beside
    them; layer 4's output is then too large by their product, by which CarNet.parameters divides. Two maps
    about mid-grey make the steps smaller still than one map that begins at black.

    The other maps' kernels sum to 0 (zero_sum) and see nothing of maps 0 and 1.
    """
    side, maps_in, maps_out = LAYERS[number - 1]
    last = number == len(LAYERS)

    def initialize(shape: tuple[int, ...], dtype: Any = None) -> tf.Tensor:
        others = initializer(shape, dtype) if last else SPREAD * zero_sum(initializer)(shape, dtype)
        kernel = others.numpy().reshape(side * side, maps_in, maps_out)
        if number > 1:
            kernel[:, :2] = 0
        if not last:
            kernel[:, :, :2] = 0
        bright_and_dark = np.eye(2) if 1 < number < len(LAYERS) else np.array([[1, -1]])
        passing = bright_and_dark.T if last else bright_and_dark
        kernel[side * side // 2, : len(passing), : passing.shape[1]] = PASSING[number - 1] * passing
        return tf.constant(kernel.reshape(shape))

    return initialize


class CarNet(keras.Model):
    """The four layers. Kernels are held as matrices [side * side * maps in, maps out].

    Muon works on matrices only, and He-normal's fan-in is then simply the number of rows.

    gains: float32 [8, 8], by which correction multiplies the coefficients of the net's change in each 8x8
    block where the JPEG's header is known; a row for each vertical frequency. The net does not know where
    blocks begin, and so changes some frequencies too little or too much. 1 unless fitted
    (pretrained/fit_gains.py).

    val_loss, val_jpg_mse: of the validation by which a log's weights were chosen; nan where not known.
    """

    def __init__(self, residual: bool, seed: int = 0) -> None:
        super().__init__(name="car")
        self.residual = residual
        self.gains: Floats = np.ones((SIDE, SIDE), np.float32)
        self.val_loss = self.val_jpg_mse = math.nan
        # Layer 4 is held this many times as large as it is, for training alone.
        self.held = 1.0 if residual else math.prod(PASSING)
        for number, (side, maps_in, maps_out) in enumerate(LAYERS, start=1):
            last = number == len(LAYERS)
            spread: Initializer = keras.initializers.HeNormal(seed + number)
            if last:
                spread = keras.initializers.RandomNormal(stddev=SMALL, seed=seed + number)
            if not residual:
                spread = picture_passed_on(spread, number)
            elif not last:
                spread = zero_sum(spread)
            bias = np.zeros(maps_out, np.float32)
            if not residual and number == 1:  # mid-grey is 0 for the two maps that pass the picture on
                bias[:2] = -PASSING[0] / 2, PASSING[0] / 2
            if not residual and last:
                bias[0] = self.held / 2
            matrix = (side * side * maps_in, maps_out)
            self.add_weight(name=f"layer{number}_kernel", shape=matrix, initializer=spread)
            self.add_weight(
                name=f"layer{number}_bias", shape=(maps_out,), initializer=keras.initializers.Constant(bias)
            )
        self.built = True

    @property
    def worse_than_none(self) -> bool:
        """Whether validation found the JPG itself nearer to the truth than what the net makes of it."""
        return self.val_loss > self.val_jpg_mse

    def call(
        self,
        luma: tf.Tensor,
        padding: str = "SAME",
        layers: Layers | None = None,
        parameters: Parameters | None = None,
    ) -> tf.Tensor:
        """Correct luma, float32 [N, H, W, 1] in grey levels, unclipped.

        padding "SAME" keeps the size (zeros outside); "VALID" returns [N, H - 18, W - 18, 1],
        the pixels whose whole receptive field is inside. layers: direct_layers (the default), or
        one of the fast forms below, which need the shape known when traced and agree to 0.01 grey
        level. parameters: constants() in place of the weights, where these will not change.
        """
        maps = (layers or direct_layers)(luma / GREY_LEVELS, parameters or self.parameters(), padding)
        if not self.residual:
            return tf.nn.relu(maps) * GREY_LEVELS
        return maps * GREY_LEVELS + (inner(luma, RADIUS) if padding == "VALID" else luma)

    def constants(self) -> Parameters:
        """The parameters as arrays: what follows from them alone is then computed once."""
        return [(kernel.numpy(), bias.numpy()) for kernel, bias in self.parameters()]

    def parameters(self) -> Parameters:
        """(kernel [side, side, maps in, maps out], bias [maps out]) of each layer, as tensors."""
        pairs = zip(LAYERS, self.weights[::2], self.weights[1::2], strict=True)
        *layers, (kernel, bias) = [
            (tf.reshape(kernel, (layer[0], *layer)), tf.convert_to_tensor(bias))
            for layer, kernel, bias in pairs
        ]
        return [*layers, (kernel / self.held, bias / self.held)]

    def take(self, parameters: Parameters) -> None:
        """Assign (kernel, bias) of each layer, as `parameters` gives them."""
        for number, (kernel, bias) in enumerate(parameters):
            held = self.held if number == len(LAYERS) - 1 else 1.0
            self.weights[2 * number].assign(held * np.reshape(kernel, (-1, LAYERS[number][2])))
            self.weights[2 * number + 1].assign(held * np.asarray(bias))


Bank = dict[float | None, CarNet]  # by coarseness; the log's own under None


def convolve(maps: tf.Tensor, kernel: tf.Tensor, bias: tf.Tensor, padding: str) -> tf.Tensor:
    """A direct convolution with its bias: maps [N, H, W, C], kernel [side, side, C, K]."""
    return tf.nn.bias_add(tf.nn.conv2d(maps, kernel, 1, padding), bias)


def direct_layers(maps: tf.Tensor, parameters: Parameters, padding: str) -> tf.Tensor:
    """All four layers by direct convolution, up to the activation of the last."""
    for kernel, bias in parameters[:-1]:
        maps = tf.nn.relu(convolve(maps, kernel, bias, padding))
    return convolve(maps, *parameters[-1], padding)


def fast_layers(maps: tf.Tensor, parameters: Parameters, padding: str) -> tf.Tensor:
    """All four layers, layer 2 by Toom-Cook, up to the activation of the last.

    Layer 4 has one map: a 1x1 convolution to a map for each of its 25 pixels, and shifted sums.
    """
    (kernel2, bias2), (kernel4, bias4) = parameters[1], parameters[3]
    side2, side4 = kernel2.shape[0], kernel4.shape[0]
    maps = tf.nn.relu(convolve(maps, *parameters[0], padding))
    if padding == "SAME":
        maps = zero_pad(maps, side2 // 2)
    maps = toom_cook_relu(maps, kernel2, bias2)
    maps = tf.nn.relu(convolve(maps, *parameters[2], "VALID"))
    if padding == "SAME":
        maps = zero_pad(maps, side4 // 2)
    return sum_columns(tf.nn.conv2d(maps, columns_of(kernel4), 1, "VALID"), side4) + bias4


def dead_part(net: CarNet, luma: tf.Tensor) -> str:
    """What of a net is 0 for all of these patches, so that no gradient passes it; empty for a net alive.

    luma: float32 [N, side, side, 1], grey levels. Where the patches hold them, only pixels count whose
    receptive field is real: along the rim the zeros outside can keep alive what is dead everywhere else.
    """
    maps, padding = luma / GREY_LEVELS, "VALID" if luma.shape[1] > 2 * RADIUS else "SAME"
    *hidden, last = net.parameters()
    for number, layer in enumerate(hidden, start=1):
        maps = tf.nn.relu(convolve(maps, *layer, padding))
        if not tf.reduce_any(maps > 0):
            return f"all maps of layer {number} are 0"
    if not net.residual and not tf.reduce_any(convolve(maps, *last, padding) > 0):
        return "the last ReLU has clipped every pixel to 0"
    return ""


def layers_for(conv: str | None) -> Layers:
    """The layers of a --conv option: "fast", "direct" or None.

    None chooses: fast on CPUs; direct on GPUs, where the fast form has not been measured.
    """
    if conv is None:
        conv = "direct" if tf.config.list_physical_devices("GPU") else "fast"
    return fast_layers if conv == "fast" else direct_layers


def zero_pad(maps: tf.Tensor, border: int) -> tf.Tensor:
    """Maps [N, H, W, C] with `border` zeros at each side."""
    return tf.pad(maps, [[0, 0], [border, border], [border, border], [0, 0]])


def inner(patches: tf.Tensor, border: int) -> tf.Tensor:
    """Patches [N, H, W, 1] without `border` pixels at each side."""
    kept = slice(border, -border or None)
    return patches[:, kept, kept]


def squared_error(
    net: CarNet,
    jpg: tf.Tensor,
    bmp: tf.Tensor,
    border: int,
    layers: Layers | None = None,
    steps: Floats | None = None,
) -> tf.Tensor:
    """Mean squared error of each patch in squared grey levels: float32 [N].

    jpg, bmp: float32 [N, side, side, 1], grey levels. The output is not clipped. `border`
    pixels at each side are left out: at 9 only pixels count whose receptive field is real, and
    from there on the others are not computed at all. steps: the quantisation table [8, 8] of
    patches that lie, within the border, on whole blocks; the error is then that of what
    correction keeps of the output (kept_coefficients).
    """
    if border < RADIUS:
        corrected = inner(net(jpg, layers=layers), border)
    else:
        corrected = net(inner(jpg, border - RADIUS), padding="VALID", layers=layers)
    jpg, bmp = inner(jpg, border), inner(bmp, border)
    if steps is None:
        error = corrected - bmp
    else:  # of coefficients: the transform is orthonormal
        error = kept_coefficients(corrected - jpg, jpg, steps, net.gains) - coefficients(bmp - jpg)
    return tf.reduce_mean(tf.square(error), axis=[1, 2, 3])


def coefficients(planes: tf.Tensor) -> tf.Tensor:
    """The cosine transform of each 8x8 block: float32 [N, H, W, 1] to [N, H / 8, W / 8, 64]."""
    return tf.nn.conv2d(planes, COSINES.T.reshape(SIDE, SIDE, 1, SIDE * SIDE), SIDE, "VALID")


def kept_coefficients(change: tf.Tensor, jpg: tf.Tensor, steps: Floats, gains: Floats) -> tf.Tensor:
    """What car_jpeg.keep_to_steps keeps of a change, as coefficients that gradients go through.

    change, jpg: float32 [N, H, W, 1], grey levels; steps, gains: float32 [8, 8]. Returns float32
    [N, H / 8, W / 8, 64].
    """
    wanted = coefficients(change) * gains.reshape(-1)
    highest, lowest = (sign * tf.nn.max_pool2d(sign * jpg, SIDE, SIDE, "VALID") for sign in (1.0, -1.0))
    limits = reach_of(lowest, highest, tf.where) * steps.reshape(-1)
    return tf.clip_by_value(wanted, -limits, limits)


def untouched_error(jpg: tf.Tensor, bmp: tf.Tensor, border: int) -> tf.Tensor:
    """The JPG's own squared_error: what a net that changes nothing would get, float32 [N]."""
    return tf.reduce_mean(tf.square(inner(jpg - bmp, border)), axis=[1, 2, 3])


def describe(residual: bool) -> dict[str, Any]:
    """What the net is, as the small JSON beside its weights says it."""
    return {
        "net": NET,
        "residual": residual,
        "parameters": sum(s * s * i * o + o for s, i, o in LAYERS),
        "input": "luma, grey levels 0..255",
    }


def save_weights(net: CarNet, log: Path, step: int, val_loss: float, val_jpg_mse: float) -> None:
    """Write net's weights to log/model_checkpoint.npz, kernels as [side, side, in, out], and the JSON.

    Beside the weights are kept the step, and of its validation the loss by which they were chosen and the
    JPG's own MSE.
    """
    arrays: dict[str, Any] = {"step": step, "val_loss": val_loss, "val_jpg_mse": val_jpg_mse}
    arrays |= {"residual": net.residual, "gains": net.gains}
    for number, (kernel, bias) in enumerate(net.constants(), start=1):
        arrays[f"layer{number}_kernel"], arrays[f"layer{number}_bias"] = kernel, bias
    with whole_file(log / NET_FILE, "w") as file:
        json.dump(describe(net.residual), file, indent=1)
    write_arrays(log / WEIGHTS_FILE, arrays)


def load_net(log: Path) -> CarNet:
    """Build the net that a log folder holds, with its best weights.

    Raises UserError where the files are missing, damaged, or those of another net. Nothing
    in them is ever executed: JSON and plain arrays (pickles are refused).
    """
    path = log / WEIGHTS_FILE
    try:
        about = json.loads((log / NET_FILE).read_text())
        net = CarNet(residual=about["residual"] is True)
        if about != describe(net.residual):
            raise UserError(f"{log / NET_FILE} describes another net than {NET}; train one here")
        arrays = read_arrays(path)
        if bool(arrays.get("residual", net.residual)) != net.residual:
            raise UserError(f"{log / NET_FILE} is not the one of {path}: only one is of a residual net")
        net.gains = arrays.get("gains", net.gains)  # older files have none
        if net.gains.shape != (SIDE, SIDE) or net.gains.dtype != np.float32:
            raise UserError(f"{path}: its gains have another shape or type than {SIDE}x{SIDE} float32")
        if not (np.abs(net.gains) <= LARGEST_GAIN).all():
            raise UserError(f"{path}: its gains are not finite, or huge")
        for name in ("val_loss", "val_jpg_mse"):
            setattr(net, name, float(arrays.get(name, math.nan)))
        parameters = []
        for number, layer in enumerate(LAYERS, start=1):
            kernel, bias = arrays[f"layer{number}_kernel"], arrays[f"layer{number}_bias"]
            shapes = (layer[0], *layer), (layer[2],)
            if (kernel.shape, bias.shape) != shapes or kernel.dtype.kind + bias.dtype.kind != "ff":
                raise UserError(f"{path}: layer {number} has another shape or type than {NET}'s")
            if not (np.abs(kernel).max() < LARGEST and np.abs(bias).max() < LARGEST):
                raise UserError(f"{path}: layer {number} holds weights that are not finite, or huge")
            parameters.append((kernel, bias))
        net.take(parameters)
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
    return net


def write_arrays(path: Path, arrays: dict[str, Any]) -> None:
    """Write arrays and numbers by name to an .npz file, whole or not at all."""
    packed = io.BytesIO()  # on a full disk an unfinished archive would complain of its own once it is dropped
    np.savez(packed, **arrays)
    with whole_file(path) as file:
        file.write(packed.getbuffer())


def read_arrays(path: Path) -> dict[str, np.ndarray]:
    """The arrays of an .npz file by name; pickles are refused. Raises what numpy and zipfile raise.

    The file is parsed in memory, so that an OSError is the disk's and never a damaged file's,
    whose places may lie before its beginning.
    """
    with open(path, "rb") as file:
        data = io.BytesIO(file.read(MAX_BYTES))
    with zipfile.ZipFile(data) as archive:
        size = sum(entry.file_size for entry in archive.infolist())
        if size > MAX_BYTES:  # before any of it is unpacked
            raise ValueError(f"{size} bytes unpacked")
    with np.load(data, allow_pickle=False) as arrays:
        return dict(arrays)


def load_nets(log: Path) -> Bank:
    """Build the net of a log folder, and those of its bank if it has one: {coarseness: net}.

    The log's own net has the key None. A bank is the log folders q10, q20, ... inside, each trained on
    files of that quality; their keys are how coarse those are (car_jpeg.py). Raises UserError.
    """
    nets: Bank = {None: load_net(log)}
    for folder in sorted(log.glob("q[0-9]*")):
        quality = folder.name[1:]
        if quality.isdecimal() and 1 <= int(quality) <= 100:
            nets[coarseness_of_quality(int(quality))] = load_net(folder)
    return nets
