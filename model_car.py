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

import json
import zipfile

import car_shell  # noqa: F401  (first: it starts TensorFlow quietly)
import keras
import numpy as np
import tensorflow as tf
from car_shell import UserError, whole_file

from car_conv import columns_of, from_points, kernels_at_points, multiply, sum_columns, to_points
from car_jpeg import coarseness_of_quality

LAYERS = ((9, 1, 64), (7, 64, 32), (1, 32, 16), (5, 16, 1))  # kernel side, maps in, maps out
RADIUS = sum(side // 2 for side, _, _ in LAYERS)  # 9 pixels
GREY_LEVELS = 255.0
NET = "AR-CNN 9-7-1-5"
WEIGHTS_FILE, NET_FILE = "model_checkpoint.npz", "model_checkpoint.json"


class CarNet(keras.Model):
    """The four layers. Kernels are held as matrices [side * side * maps in, maps out].

    Muon works on matrices only, and He-normal's fan-in is then simply the number of rows.
    """

    def __init__(self, residual, seed=0):
        super().__init__(name="car")
        self.residual = residual
        for number, (side, maps_in, maps_out) in enumerate(LAYERS, start=1):
            last = number == len(LAYERS)
            spread = keras.initializers.HeNormal(seed + number)
            if last and residual:  # starts as (almost) the identity
                spread = keras.initializers.RandomNormal(stddev=1e-3, seed=seed + number)
            # Under a final ReLU an output of 0 has no gradient: start at mid-grey.
            bias = keras.initializers.Constant(0.5 if last and not residual else 0.0)
            matrix = (side * side * maps_in, maps_out)
            self.add_weight(name=f"layer{number}_kernel", shape=matrix, initializer=spread)
            self.add_weight(name=f"layer{number}_bias", shape=(maps_out,), initializer=bias)
        self.built = True

    def call(self, luma, padding="SAME", layers=None, parameters=None):
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

    def constants(self):
        """The parameters as arrays: what follows from them alone is then computed once."""
        return [(kernel.numpy(), bias.numpy()) for kernel, bias in self.parameters()]

    def parameters(self):
        """(kernel [side, side, maps in, maps out], bias [maps out]) of each layer, as tensors."""
        pairs = zip(LAYERS, self.weights[::2], self.weights[1::2], strict=True)
        return [
            (tf.reshape(kernel, (layer[0], *layer)), tf.convert_to_tensor(bias))
            for layer, kernel, bias in pairs
        ]


def convolve(maps, kernel, bias, padding):
    """A direct convolution with its bias: maps [N, H, W, C], kernel [side, side, C, K]."""
    return tf.nn.bias_add(tf.nn.conv2d(maps, kernel, 1, padding), bias)


def direct_layers(maps, parameters, padding):
    """All four layers by direct convolution, up to the activation of the last."""
    for kernel, bias in parameters[:-1]:
        maps = tf.nn.relu(convolve(maps, kernel, bias, padding))
    return convolve(maps, *parameters[-1], padding)


def fast_layers(maps, parameters, padding, xla=lambda part: part):
    """All four layers, layer 2 by Toom-Cook, up to the activation of the last.

    To be compiled by XLA as a whole (training); xla compiles the parts that are no convolutions.
    Layer 4 has one map: a 1x1 convolution to a map for each of its 25 pixels, and shifted sums.
    """
    (kernel2, bias2), (kernel4, bias4) = parameters[1], parameters[3]
    side2, side4 = kernel2.shape[0], kernel4.shape[0]
    maps = tf.nn.relu(convolve(maps, *parameters[0], padding))
    if padding == "SAME":
        maps = zero_pad(maps, side2 // 2)
    width = maps.shape[2] - side2 + 1
    products = multiply(xla(to_points)(maps), kernels_at_points(kernel2))
    maps = xla(lambda products: tf.nn.relu(from_points(products)[:, :, :width] + bias2))(products)
    maps = tf.nn.relu(convolve(maps, *parameters[2], "VALID"))
    if padding == "SAME":
        maps = zero_pad(maps, side4 // 2)
    columns = tf.nn.conv2d(maps, columns_of(kernel4), 1, "VALID")
    return xla(lambda columns: sum_columns(columns, side4))(columns) + bias4


def fast_layers_in_parts(maps, parameters, padding):
    """The same for correction, where oneDNN's convolutions between XLA's sums are the fastest."""
    return fast_layers(maps, parameters, padding, xla=tf.function(jit_compile=True))


def layers_for(conv):
    """(layers for training, layers for correction) of a --conv option: "fast", "direct" or None.

    None chooses: fast on CPUs; direct on GPUs, where the fast form has not been measured.
    """
    if conv is None:
        conv = "direct" if tf.config.list_physical_devices("GPU") else "fast"
    return (fast_layers, fast_layers_in_parts) if conv == "fast" else (direct_layers, direct_layers)


def zero_pad(maps, border):
    """Maps [N, H, W, C] with `border` zeros at each side."""
    return tf.pad(maps, [[0, 0], [border, border], [border, border], [0, 0]])


def inner(patches, border):
    """Patches [N, H, W, 1] without `border` pixels at each side."""
    kept = slice(border, -border or None)
    return patches[:, kept, kept]


def squared_error(net, jpg, bmp, border, layers=None):
    """Mean squared error of each patch in squared grey levels: float32 [N].

    jpg, bmp: float32 [N, side, side, 1], grey levels. The output is not clipped. `border`
    pixels at each side are left out: at 9 only pixels count whose receptive field is real, and
    from there on the others are not computed at all.
    """
    if border < RADIUS:
        error = inner(net(jpg, layers=layers) - bmp, border)
    else:
        error = inner(net(jpg, padding="VALID", layers=layers) - inner(bmp, RADIUS), border - RADIUS)
    return tf.reduce_mean(tf.square(error), axis=[1, 2, 3])


def describe(residual):
    """What the net is, as the small JSON beside its weights says it."""
    return {
        "net": NET,
        "residual": residual,
        "parameters": sum(s * s * i * o + o for s, i, o in LAYERS),
        "input": "luma, grey levels 0..255",
    }


def save_weights(net, log, **about):
    """Write net's weights to log/model_checkpoint.npz, kernels as [side, side, in, out], and the JSON.

    about: numbers kept beside the weights (step, val_loss).
    """
    arrays = {}
    for number, layer in enumerate(LAYERS, start=1):
        kernel, bias = net.weights[2 * number - 2 : 2 * number]
        arrays[f"layer{number}_kernel"] = np.asarray(kernel).reshape(layer[0], *layer)
        arrays[f"layer{number}_bias"] = np.asarray(bias)
    with whole_file(log / NET_FILE, "w") as file:
        json.dump(describe(net.residual), file, indent=1)
    with whole_file(log / WEIGHTS_FILE) as file:
        np.savez(file, **arrays, **about)


def load_net(log):
    """Build the net that a log folder holds, with its best weights.

    Raises UserError where the files are missing, damaged, or those of another net. Nothing
    in them is ever executed: JSON and plain arrays (pickles are refused).
    """
    path = log / WEIGHTS_FILE
    try:
        about = json.loads((log / NET_FILE).read_text())
        net = CarNet(residual=bool(about["residual"]))
        if about != describe(net.residual):
            raise UserError(f"{log / NET_FILE} describes another net than {NET}; train one here")
        with np.load(path, allow_pickle=False) as arrays:
            for number, layer in enumerate(LAYERS, start=1):
                kernel, bias = arrays[f"layer{number}_kernel"], arrays[f"layer{number}_bias"]
                shapes = (layer[0], *layer), (layer[2],)
                if (kernel.shape, bias.shape) != shapes:
                    raise UserError(f"{path}: layer {number} has another shape than {NET}'s")
                if not (np.isfinite(kernel).all() and np.isfinite(bias).all()):
                    raise UserError(f"{path}: layer {number} holds weights that are not finite")
                net.weights[2 * number - 2].assign(kernel.reshape(-1, layer[2]))
                net.weights[2 * number - 1].assign(bias)
    except FileNotFoundError as error:
        raise UserError(
            f"{error.filename} is missing: {log} holds no trained net. Train one with "
            f"train_car.py, or name the folder 'pretrained' for the weights that came with this"
        ) from error
    except (ValueError, TypeError, KeyError, EOFError, zipfile.BadZipFile) as error:
        raise UserError(f"{path} or its JSON is damaged or foreign ({error}); train again") from error
    return net


def load_nets(log):
    """Build the net of a log folder, and those of its bank if it has one: {coarseness: net}.

    The log's own net has the key None. A bank is the log folders q10, q20, ... inside, each trained on
    files of that quality; their keys are how coarse those are (car_jpeg.py). Raises UserError.
    """
    nets = {None: load_net(log)}
    for folder in sorted(log.glob("q[0-9]*")):
        quality = folder.name[1:]
        if quality.isdecimal() and 1 <= int(quality) <= 100:
            nets[coarseness_of_quality(int(quality))] = load_net(folder)
    return nets
