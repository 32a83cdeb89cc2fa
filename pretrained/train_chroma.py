"""Train the net of chroma for files of one quality, beside a set of weights for luma.

    python pretrained/train_chroma.py LOG QUALITY FOLDER [FOLDER ...] --val FOLDER

Compresses every image of the folders at QUALITY in 4:2:0, and at half of its size in 4:4:4 and 4:2:2 (what
photographs hold at full size was coded at half of it before, and is no clean truth). Their luma is corrected
by LOG's weights as run_car_images.py does it. The net learns the changes of Cb and Cr: the loss is what
they add to the mean squared error of R, G and B. Written into LOG as chroma.npz.

Its products are in bfloat16 where the processor has units for it. A set takes minutes, and starts again from
nothing where it is stopped. For the images of --val the errors of the decoded Cb and Cr are printed, and
those that the net leaves, without the limits of their tables.
"""

import argparse
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from car import cli, optimizers, stop
from car.errors import Stopped, UserError

if TYPE_CHECKING:  # what loads numpy or TensorFlow is imported where it is used, once the arguments are good
    from car.arrays import Floats, Integers, Pixels
    from car.chroma_net import ChromaNet
    from car.correct import Corrector
    from car.images import Decoded

# How Pillow names them, by how much the image is reduced, and their parts of the batches.
SAMPLINGS = (("4:2:0", 1, 0.7), ("4:4:4", 2, 0.2), ("4:2:2", 2, 0.1))
CROP = 40  # samples of chroma at each side that count
CROPS = 8  # of a step


class Example(NamedTuple):
    """A file's chroma, as the net sees it, and what it should make of it."""

    planes: "Pixels"  # uint8 [h, w, 6], with mirrored edges
    truth: "Integers"  # int16 [h - 12, w - 12, 2]: the changes, as levels.held makes them


def arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    """Parse the command line."""
    parser = cli.parser(__doc__)
    parser.set_defaults(workdir=".")  # there is no WORKDIR: LOG is what the shell says
    parser.add_argument("log", metavar="LOG")
    parser.add_argument("quality", type=cli.whole_number(1, 100), metavar="QUALITY")
    parser.add_argument("folders", type=Path, nargs="+", metavar="FOLDER")
    parser.add_argument("--val", type=Path, required=True, metavar="FOLDER", help="of images to measure on")
    parser.add_argument("--shrink", type=cli.positive, default=1, metavar="N", help="images to 1/N first (1)")
    parser.add_argument("--steps", type=cli.positive, default=9000, metavar="N", help="(9000)")
    parser.add_argument("--learning-rate", type=float, default=1e-3, metavar="R", help="(0.001)")
    parser.add_argument("--seed", type=cli.seed, default=0, help="(0)")
    args = cli.parse(parser, argv, inputs=["log", "folders", "val"])
    if why := optimizers.why_no_muon():
        parser.error(why)
    return args


# ---- examples ------------------------------------------------------------------------------


def examples(
    corrector: "Corrector", folders: Sequence[Path], quality: int, shrink: int
) -> "list[list[Example]]":
    """Every image of the folders as an Example of each of SAMPLINGS, but what is grey or too small."""
    import numpy as np
    from PIL import Image

    from car import images, pairs

    paths = [source.clean for folder in folders for source in pairs.find_clean(folder).sources]
    made: list[list[Example]] = [[] for _ in SAMPLINGS]
    with cli.Progress(len(paths), "images") as progress:
        for path in paths:
            whole = Image.fromarray(images.read_pixels(path))
            reduced = {smaller: np.asarray(whole.reduce(shrink * smaller)) for _, smaller, _ in SAMPLINGS}
            corrected: dict[int, Pixels] = {}  # luma, which is the same whatever the sampling
            for (sampling, smaller, _), some in zip(SAMPLINGS, made, strict=True):
                clean = reduced[smaller]
                if clean.ndim == 3:
                    picture = images.decode_jpeg(images.jpeg_bytes(clean, quality, sampling))
                    if smaller not in corrected:
                        corrected[smaller] = corrected_luma(corrector, picture)
                    some.append(example_of(picture, corrected[smaller], clean))
            progress.step()
    return [[one for one in some if min(one.truth.shape[:2]) >= CROP] for some in made]


def corrected_luma(corrector: "Corrector", picture: "Decoded") -> "Pixels":
    """The luma of a picture as correction makes it, uint8 [H, W]."""
    from car import changes

    luma = picture.planes[0]
    change = corrector.through_nets(picture._replace(planes=(luma,)))[0].change
    return changes.corrected(luma.samples, change)


def example_of(picture: "Decoded", corrected: "Pixels", clean: "Pixels") -> Example:
    """What a picture, its corrected luma and the clean one, uint8 [H, W, 3], give to learn from."""
    import numpy as np

    from car import chroma, levels, tiles, weights

    samples = [plane.samples for plane in picture.planes[1:]]
    height, width = samples[0].shape
    tiling = tiles.Tiling(height, width, (height,), (width,), weights.CHROMA_RADIUS)
    planes = chroma.Mirrored([corrected, *samples], tiling).cut(tiling.tiles)[0]
    truth = chroma_of(clean, samples[0].shape) - np.stack(samples, -1)
    return Example(planes, levels.held(truth))


def chroma_of(clean: "Pixels", shape: tuple[int, ...]) -> "Floats":
    """Cb and Cr of a clean picture, uint8 [H, W, 3], averaged to a coded grid: float32 [h, w, 2]."""
    import numpy as np

    whole = 128 + clean @ np.array([[-0.168736, 0.5], [-0.331264, -0.418688], [0.5, -0.081312]], np.float32)
    factors = [-(-length // coarser) for length, coarser in zip(clean.shape, shape, strict=False)]
    rest = [
        (0, part * factor - length) for part, factor, length in zip(shape, factors, whole.shape, strict=False)
    ]
    cells = np.pad(whole, [*rest, (0, 0)], "edge")
    return cells.reshape(shape[0], factors[0], shape[1], factors[1], 2).mean(axis=(1, 3), dtype=np.float32)


def turned(planes: Any, way: int) -> Any:
    """Planes [N, h, w, ...] turned and flipped in one of 8 ways; the four of luma change their places too."""
    import numpy as np

    turns, flip = way // 2, way % 2
    made = np.rot90(planes, turns, (1, 2))
    if planes.shape[-1] == 6:
        phases = np.rot90(np.arange(2, 6).reshape(2, 2), turns)
        made = made[..., [0, 1, *(phases[::-1] if flip else phases).ravel()]]
    return made[:, ::-1] if flip else made


def batches(of_sampling: "Sequence[Sequence[Example]]", seed: int) -> "Iterator[tuple[Any, Any]]":
    """Random crops without end: (uint8 [CROPS, 52, 52, 6], float32 [CROPS, 40, 40, 2] grey levels).

    A sampling is drawn by its part, an image of it in proportion to its area.
    """
    import numpy as np

    from car import levels, weights

    rng = np.random.default_rng(seed)
    areas = [np.array([one.truth[..., 0].size for one in some]) for some in of_sampling]
    side = CROP + 2 * weights.CHROMA_RADIUS
    parts = [part for _, _, part in SAMPLINGS]
    while True:
        planes, truth = [], []
        for _ in range(CROPS):
            which = int(rng.choice(len(parts), p=parts))
            one = of_sampling[which][int(rng.choice(len(areas[which]), p=areas[which] / areas[which].sum()))]
            top, left = (rng.integers(length - CROP + 1) for length in one.truth.shape[:2])
            planes.append(one.planes[top : top + side, left : left + side])
            truth.append(levels.in_levels(one.truth[top : top + CROP, left : left + CROP]))
        way = int(rng.integers(8))
        yield turned(np.stack(planes), way), turned(np.stack(truth), way)


# ---- training ------------------------------------------------------------------------------


def train(net: "ChromaNet", of_sampling: "Sequence[Sequence[Example]]", args: argparse.Namespace) -> None:
    """Train a net on examples of each of SAMPLINGS."""
    import tensorflow as tf

    import model_car
    from car import changes

    optimizer = optimizers.muon(optimizers.cosine(args.learning_rate, args.steps))
    variables = net.trainable_variables
    optimizer.build(variables)

    # What an error of Cb and of Cr adds to the sum of those of R, G and B.
    parts = (changes.CHROMA_TO_RGB**2).sum(axis=1)
    products = tf.bfloat16 if model_car.has_bfloat16_units() else tf.float32

    @tf.function
    def step(planes: tf.Tensor, truth: tf.Tensor) -> tf.Tensor:
        with tf.GradientTape() as tape:
            errors = tf.square(net(planes, products=products) - truth)
            loss = tf.reduce_mean(tf.reduce_sum(errors * parts, axis=-1))
        gradients = tape.gradient(loss, variables)
        optimizer.apply_gradients(zip(gradients, variables, strict=True))
        return loss

    stop.hold("step")
    with cli.Progress(args.steps, "steps") as progress:
        for number, (planes, truth) in zip(range(args.steps), batches(of_sampling, args.seed), strict=False):
            if stop.asked():
                raise Stopped(f"stopped by {stop.name()} at step {number}; {args.log} is as it was")
            loss = step(planes, truth)
            if number % 1000 == 0:
                cli.detail(f"step {number}: loss {float(loss):.3f}")
            progress.step()


def losses(net: "ChromaNet", some: "Sequence[Example]") -> "Floats":
    """Mean squared errors of examples: [2 (Cb, Cr), 2 (as decoded, by the net)], squared grey levels."""
    import numpy as np

    from car import levels

    rows = []
    for planes, truth in some:
        wanted = levels.in_levels(truth)
        made = net(planes[np.newaxis]).numpy()[0]
        rows.append([np.square(wanted).mean(axis=(0, 1)), np.square(made - wanted).mean(axis=(0, 1))])
    return np.mean(rows, axis=0).T


@cli.script
def main(argv: Sequence[str] | None = None) -> int:
    """Train, measure and save. Returns the exit status."""
    args = arguments(argv)
    cli.load_tensorflow()
    import model_car
    from car import chroma_net, jpeg, weights

    trained = weights.load(args.log)
    bank = {None: trained, jpeg.coarseness_of_quality(args.quality): trained}
    corrector = model_car.make_corrector(bank, ignore_history=True, precision="bfloat16")
    seen, unseen = (
        examples(corrector, folders, args.quality, args.shrink) for folders in (args.folders, [args.val])
    )
    if not all(seen) or not all(unseen):
        raise UserError("the folders hold no colour images that are large enough")
    net = chroma_net.ChromaNet(args.seed)
    train(net, seen, args)
    for (sampling, _, _), some in zip(SAMPLINGS, unseen, strict=True):
        told = [
            f"{name} {before:.3f} -> {after:.3f}"
            for name, (before, after) in zip(("Cb", "Cr"), losses(net, some), strict=True)
        ]
        cli.say(f"{sampling}, validation: mean squared error of {', '.join(told)}")
    parameters = [(kernel.numpy(), bias.numpy()) for kernel, bias in net.parameters()]
    weights.save_chroma(args.log, parameters)
    return 0


if __name__ == "__main__":
    sys.exit(main())
