"""The network and its loss; from a log folder to nets, and to a Corrector.

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

import functools
import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from car import chroma_net, fast_conv, jpeg, weights
from car.arrays import Floats, Pixels
from car.correct import Corrector, Forward, Net
from car.weights import GREY_LEVELS, LAYERS, RADIUS, Weights

MID_GREY = 127.5
LAST_LAYER_DEVIATION = 1e-3  # of the last kernel at the start: the net then changes next to nothing
# Where the faithful net starts (picture_passed_on): by what each layer multiplies the picture that it passes
# on, and by how much the kernels of the first three layers' other maps are larger than He-normal ones.
PASSED_ON_BY_LAYER = (20.0, 12.0, 2.0, 4.0)
OTHER_MAPS_LARGER = 5.0

# (kernel, bias) of each layer. In place of a kernel may stand what fast_conv.at_points makes of it.
Parameters = Sequence[tuple[Any, tf.Tensor]]
Initializer = Callable[..., tf.Tensor]  # (shape, dtype) -> values
Layers = Callable[[tf.Tensor, Parameters, str], tf.Tensor]  # (maps, parameters, padding) -> maps


def zero_sum(initializer: Initializer) -> Initializer:
    """The initializer with each map's weights made to sum to 0.

    What a map sees is never negative, so that weights of another sum add up to a constant many times
    the rest: half of layer 2's maps would begin below 0 for every input, and stay there.
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
    of that fall for a thousand steps. So these weights are large, PASSED_ON_BY_LAYER, and a step is small
    beside them; layer 4's output is then too large by their product, by which CarNet.parameters divides. Two
    maps about mid-grey make the steps smaller still than one map that begins at black.

    The other maps' kernels sum to 0 (zero_sum) and see nothing of maps 0 and 1.
    """
    side, maps_in, maps_out = LAYERS[number - 1]
    last = number == len(LAYERS)

    def initialize(shape: tuple[int, ...], dtype: Any = None) -> tf.Tensor:
        others = (
            initializer(shape, dtype) if last else OTHER_MAPS_LARGER * zero_sum(initializer)(shape, dtype)
        )
        kernel = others.numpy().reshape(side * side, maps_in, maps_out)
        if number > 1:
            kernel[:, :2] = 0
        if not last:
            kernel[:, :, :2] = 0
        bright_and_dark = np.eye(2) if 1 < number < len(LAYERS) else np.array([[1, -1]])
        passing = bright_and_dark.T if last else bright_and_dark
        kernel[side * side // 2, : len(passing), : passing.shape[1]] = (
            PASSED_ON_BY_LAYER[number - 1] * passing
        )
        return tf.constant(kernel.reshape(shape))

    return initialize


class CarNet(keras.Model):
    """The four layers. Kernels are held as matrices [side * side * maps in, maps out].

    Muon works on matrices only, and He-normal's fan-in is then simply the number of rows.

    gains: float32 [8, 8], of the change, used by correction and the loss by header (weights.Weights).
    """

    def __init__(self, residual: bool, seed: int = 0) -> None:
        super().__init__(name="car")
        self.residual = residual
        self.gains: Floats = np.ones((jpeg.BLOCK, jpeg.BLOCK), np.float32)
        # Layer 4 is held this many times as large as it is, for training alone.
        self.held = 1.0 if residual else math.prod(PASSED_ON_BY_LAYER)
        for number, (side, maps_in, maps_out) in enumerate(LAYERS, start=1):
            last = number == len(LAYERS)
            spread: Initializer = keras.initializers.HeNormal(seed + number)
            if last:
                spread = keras.initializers.RandomNormal(stddev=LAST_LAYER_DEVIATION, seed=seed + number)
            if not residual:
                spread = picture_passed_on(spread, number)
            elif not last:
                spread = zero_sum(spread)
            bias = np.zeros(maps_out, np.float32)
            if not residual and number == 1:  # mid-grey is 0 for the two maps that pass the picture on
                bias[:2] = -PASSED_ON_BY_LAYER[0] / 2, PASSED_ON_BY_LAYER[0] / 2
            if not residual and last:
                bias[0] = self.held / 2
            matrix = (side * side * maps_in, maps_out)
            self.add_weight(name=f"layer{number}_kernel", shape=matrix, initializer=spread)
            self.add_weight(
                name=f"layer{number}_bias", shape=(maps_out,), initializer=keras.initializers.Constant(bias)
            )
        self.built = True

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
        level. parameters: others in place of the net's own.
        """
        maps = (layers or direct_layers)(luma / GREY_LEVELS, parameters or self.parameters(), padding)
        if not self.residual:
            return tf.nn.relu(maps) * GREY_LEVELS
        return maps * GREY_LEVELS + (inner(luma, RADIUS) if padding == "VALID" else luma)

    def constants(self) -> weights.Parameters:
        """The parameters as arrays."""
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


def convolve(maps: tf.Tensor, kernel: tf.Tensor, bias: tf.Tensor, padding: str) -> tf.Tensor:
    """A direct convolution with its bias: maps [N, H, W, C], kernel [side, side, C, K]."""
    return tf.nn.bias_add(tf.nn.conv2d(maps, kernel, 1, padding), bias)


def direct_layers(maps: tf.Tensor, parameters: Parameters, padding: str) -> tf.Tensor:
    """All four layers by direct convolution, up to the activation of the last."""
    for kernel, bias in parameters[:-1]:
        maps = tf.nn.relu(convolve(maps, kernel, bias, padding))
    return convolve(maps, *parameters[-1], padding)


def fast_layers(maps: tf.Tensor, parameters: Parameters, padding: str) -> tf.Tensor:
    """All four layers, layer 2 by Toom-Cook, up to the activation of the last."""
    kernel, bias = parameters[1]
    maps = tf.nn.relu(convolve(maps, *parameters[0], padding))
    if padding == "SAME":
        maps = zero_pad(maps, fast_conv.TAPS // 2)
    kernels = kernel if isinstance(kernel, Mapping) else fast_conv.at_points(kernel)
    return last_layers(fast_conv.toom_cook_relu(maps, kernels, bias), parameters, padding)


def bfloat16_layers(maps: tf.Tensor, parameters: Parameters, padding: str) -> tf.Tensor:
    """All four layers directly, layers 1 and 2 in bfloat16, up to the activation of the last.

    bfloat16 holds whole grey levels as they are, but not a 255th of them, so that here layer 1's kernel is
    divided by 255. Layers 3 and 4 are little work.
    """
    (kernel1, bias1), layer2 = parameters[:2]
    maps = tf.cast(maps * GREY_LEVELS, tf.bfloat16)
    for layer in ((kernel1 / GREY_LEVELS, bias1), layer2):
        kernel, bias = (tf.cast(values, tf.bfloat16) for values in layer)
        maps = tf.nn.relu(convolve(maps, kernel, bias, padding))
    return last_layers(tf.cast(maps, tf.float32), parameters, padding)


def last_layers(maps: tf.Tensor, parameters: Parameters, padding: str) -> tf.Tensor:
    """Layers 3 and 4, up to the activation of the last.

    Layer 4 has one map: a 1x1 convolution to a map for each of its 25 pixels, and shifted sums.
    """
    kernel, bias = parameters[3]
    side = kernel.shape[0]
    maps = tf.nn.relu(convolve(maps, *parameters[2], "VALID"))
    if padding == "SAME":
        maps = zero_pad(maps, side // 2)
    return fast_conv.sum_columns(tf.nn.conv2d(maps, fast_conv.columns_of(kernel), 1, "VALID"), side) + bias


def dead_part(net: CarNet, luma: tf.Tensor) -> str:
    """What of a net is 0 for all of these patches, so that no gradient passes it; empty for a net alive.

    luma: [N, side, side, 1], grey levels of any type. Where the patches hold them, only pixels count whose
    receptive field is real: along the rim the zeros outside can keep alive what is dead everywhere else.
    """
    maps = tf.cast(luma, tf.float32) / GREY_LEVELS
    padding = "VALID" if luma.shape[1] > 2 * RADIUS else "SAME"
    *hidden, last = net.parameters()
    for number, layer in enumerate(hidden, start=1):
        maps = tf.nn.relu(convolve(maps, *layer, padding))
        if not tf.reduce_any(maps > 0):
            return f"all maps of layer {number} are 0"
    if not net.residual and not tf.reduce_any(convolve(maps, *last, padding) > 0):
        return "the last ReLU has clipped every pixel to 0"
    return ""


def layers_for(conv: str | None, precision: str = "float32", residual: bool = True) -> Layers:
    """The layers of a --conv option, "fast", "direct" or None, and of a --precision.

    None chooses: fast on CPUs; direct on GPUs, where the fast form has not been measured. bfloat16 is left
    for the fast form, in float32, on a processor without units for it; and by faithful nets, through which
    the picture itself passes: they would lose 0.7 grey level.
    """
    gpu = bool(tf.config.list_physical_devices("GPU"))
    faster = conv == "direct" or (conv is None and (gpu or has_bfloat16_units()))
    if precision == "bfloat16" and residual and faster:
        return bfloat16_layers
    if conv is None:
        conv = "direct" if gpu else "fast"
    return fast_layers if conv == "fast" else direct_layers


def why_float32(residual: bool) -> str:
    """What is said where layers_for leaves bfloat16 for float32."""
    why = "it is faster on this processor" if residual else "a net without --residual needs it"
    return f"--precision bfloat16: float32 is taken, as {why}"


def has_bfloat16_units(cpuinfo: Path = Path("/proc/cpuinfo")) -> bool:
    """Whether the processor multiplies matrices of bfloat16 in units of their own (Intel's AMX).

    Only Linux tells. Without them, vectors of bfloat16 are slower than the fast form in float32.
    """
    return cpuinfo.is_file() and "amx_bf16" in cpuinfo.read_text()


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
    table: Floats | None = None,
) -> tf.Tensor:
    """Mean squared error of each patch in squared grey levels: float32 [N].

    jpg, bmp: float32 [N, side, side, 1], grey levels. The output is not clipped. `border`
    pixels at each side are left out: at 9 only pixels count whose receptive field is real, and
    from there on the others are not computed at all. table: the quantisation table [8, 8] of
    patches that lie, within the border, on whole blocks; the error is then that of what
    correction keeps of the output (kept_coefficients).
    """
    if border < RADIUS:
        corrected = inner(net(jpg, layers=layers), border)
    else:
        corrected = net(inner(jpg, border - RADIUS), padding="VALID", layers=layers)
    jpg, bmp = inner(jpg, border), inner(bmp, border)
    if table is None:
        error = corrected - bmp
    else:  # of coefficients: the transform is orthonormal
        error = kept_coefficients(corrected - jpg, jpg, table, net.gains) - coefficients(bmp - jpg)
    return tf.reduce_mean(tf.square(error), axis=[1, 2, 3])


def coefficients(planes: tf.Tensor) -> tf.Tensor:
    """The cosine transform of each 8x8 block: float32 [N, H, W, 1] to [N, H / 8, W / 8, 64]."""
    return tf.nn.conv2d(planes, jpeg.COSINES.T.reshape(8, 8, 1, 64), jpeg.BLOCK, "VALID")


def kept_coefficients(change: tf.Tensor, jpg: tf.Tensor, table: Floats, gains: Floats) -> tf.Tensor:
    """What limits.limit_change keeps of a change in blocks that it trusts, as coefficients for gradients.

    change, jpg: float32 [N, H, W, 1], grey levels; table, gains: float32 [8, 8]. Returns float32
    [N, H / 8, W / 8, 64].
    """
    wanted = coefficients(change) * gains.reshape(-1)
    highest, lowest = (
        sign * tf.nn.max_pool2d(sign * jpg, jpeg.BLOCK, jpeg.BLOCK, "VALID") for sign in (1.0, -1.0)
    )
    limits = jpeg.reach_of(lowest, highest, tf.where) * table.reshape(-1)
    return tf.clip_by_value(wanted, -limits, limits)


def untouched_error(jpg: tf.Tensor, bmp: tf.Tensor, border: int) -> tf.Tensor:
    """The JPG's own squared_error: what a net that changes nothing would get, float32 [N]."""
    return tf.reduce_mean(tf.square(inner(jpg - bmp, border)), axis=[1, 2, 3])


# ---- nets and arrays -----------------------------------------------------------------------


def net_of(trained: Weights) -> CarNet:
    """The net that has these weights and gains."""
    net = CarNet(trained.residual)
    net.take(trained.parameters)
    net.gains = trained.gains
    return net


def weights_of(net: CarNet, step: int, val_loss: float, val_jpg_mse: float) -> Weights:
    """A net's weights and gains, with what is known of them; losses in squared grey levels."""
    return Weights(net.residual, net.constants(), net.gains, step, val_loss, val_jpg_mse)


@functools.cache
def correction_graph(residual: bool, layers: Layers, padding: str) -> Callable[..., tf.Tensor]:
    """(tiles, contrast, parameters) to cores, as in make_forward: one graph for all nets of a kind.

    Traced, and its XLA parts compiled, once for each shape of tiles: half a second and 20 MB.
    """
    net = CarNet(residual)  # its layers; the weights come as parameters

    @tf.function
    def graph(tiles: tf.Tensor, contrast: tf.Tensor, parameters: Parameters) -> tf.Tensor:
        luma = MID_GREY + contrast * (tf.cast(tiles, tf.float32)[..., tf.newaxis] - MID_GREY)
        corrected = net(luma, padding=padding, layers=layers, parameters=parameters)[..., 0]
        return MID_GREY + (corrected - MID_GREY) / contrast

    return graph


def make_forward(trained: Weights, halo: int, conv: str | None, precision: str) -> Forward:
    """The net as correction calls it (correct.Net), for tiles with a halo of RADIUS, or of 0, zero-padded."""
    layers = layers_for(conv, precision, trained.residual)
    graph = correction_graph(trained.residual, layers, "VALID" if halo else "SAME")
    parameters = [(tf.constant(kernel), tf.constant(bias)) for kernel, bias in trained.parameters]
    if layers is fast_layers:  # what follows from the weights alone is computed once
        parameters[1] = fast_conv.at_points(parameters[1][0]), parameters[1][1]

    def forward(tiles: Pixels, contrast: float) -> Floats:
        # A contrast that is a tensor: no trace for each value.
        cores: Floats = graph(tf.constant(tiles), tf.constant(contrast, tf.float32), parameters).numpy()
        return cores

    return forward


def load_corrector(log: str | Path | None = None, **options: Any) -> Corrector:
    """A Corrector with the weights of a log folder, and of its bank if it has one; the shipped ones for None.

    options: those of make_corrector. Raises UserError where the weights are missing or damaged.
    """
    return make_corrector(weights.load_bank(Path(log) if log else weights.shipped()), **options)


def make_corrector(
    bank: weights.Bank,
    *,
    conv: str | None = None,
    precision: str = "float32",
    halo: int = RADIUS,
    **options: Any,
) -> Corrector:
    """A Corrector with these weights.

    conv: "fast", "direct" or None; precision: "float32" or "bfloat16", which is within 0.1 grey level rms of
    it; both as of layers_for. halo, options: those of Corrector.
    """
    make = functools.partial(make_forward, halo=halo, conv=conv, precision=precision)

    def net_for(one: Weights) -> Net:
        low = layers_for(conv, precision, one.residual) is bfloat16_layers
        products = tf.bfloat16 if low else tf.float32
        chroma = chroma_net.make_forward(one.chroma, products) if one.chroma and halo else None
        return Net(make(one), one.gains, one.coarseness, chroma)

    nets = {factor: net_for(one) for factor, one in bank.items()}
    return Corrector(nets, halo=halo, precision=precision, **options)
