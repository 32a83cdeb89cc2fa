"""Measure weights on a folder of clean images by the papers' protocol, as run_car_images.py corrects.

    python benchmarks/quality.py FOLDER
    python benchmarks/quality.py FOLDER --weights work/log --quality 5 10 50 95 --plot quality.png
    python benchmarks/quality.py FOLDER --as colour --against another/log
    python benchmarks/quality.py FOLDER --twice 30 --quality 75 90
    python benchmarks/quality.py FOLDER --tables
    python benchmarks/quality.py FOLDER --drawn --as colour

Protocol: colour image -> MATLAB's rgb2ycbcr luma, rounded to uint8 -> grey JPEG by Pillow ->
corrected -> rounded and clipped to uint8 -> PSNR over the whole image, no border cropped ->
mean over images. Figures by it compare directly with the tables of AR-CNN and DnCNN.

--as colour: Pillow's default JPEG of the colour image (4:2:0), PSNR of R, G and B together, and of Cb and Cr
at full size.
--as full-range: the luma that JPEG itself takes of a colour image, 0..255 in place of 16..235.
--twice Q: saved at quality Q, cut by a row and a column, so that the blocks shift, and saved again. Also
printed: how many of the first savings are found, the gain over --ignore-history, and false finds.
--tables: instead of qualities, tables of other encoders (other_tables.py).
--drawn: FOLDER is of samples/make_drawn_pictures.py; there is a row for each kind too.
"""

import argparse
import functools
import io
import math
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from car import cli
from car.errors import UserError

if TYPE_CHECKING:  # what loads numpy or TensorFlow is imported where it is used, once the arguments are good
    from car.arrays import Doubles, Pixels
    from car.correct import Corrector

PERFECT_PSNR = 60.0  # dB; a gain counts up to it, as some drawn pictures are JPEGs without any error
KINDS = ("luma", "full-range", "colour")

Results = dict[str, list[list[float]]]  # by the name of a way to save, a row for each image


def arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    """Parse the command line."""
    parser, quality = cli.parser(__doc__), cli.whole_number(1, 100)
    parser.set_defaults(workdir=".")  # there is no WORKDIR: the folders are what the shell says
    parser.add_argument("folder", help="of clean images")
    parser.add_argument("--weights", type=Path, metavar="LOG", help="(those that came with the suite)")
    parser.add_argument(
        "--against", type=Path, metavar="LOG", help="also print the gain over these weights, mean and least"
    )
    parser.add_argument(
        "--quality", nargs="+", type=quality, default=[10, 20, 30, 40], metavar="Q", help="(10 20 30 40)"
    )
    parser.add_argument("--as", dest="kind", choices=KINDS, default="luma", help="(luma)")
    parser.add_argument("--tables", action="store_true", help="of other encoders instead of qualities")
    parser.add_argument("--drawn", action="store_true", help="a row for each kind of drawn pictures")
    parser.add_argument("--twice", type=quality, metavar="Q", help="saved before at this quality, and cut")
    for option in ("--ensemble", "--ignore-header", "--ignore-history", "--luma-only"):
        parser.add_argument(option, action="store_true", help="as of run_car_images.py")
    parser.add_argument("--precision", default="float32", help="as of run_car_images.py (float32)")
    parser.add_argument("--plot", type=Path, metavar="FILE", help="draw PSNR and gain by quality as PNG")
    args = cli.parse(parser, argv, inputs=["folder"])
    if args.tables and args.plot:
        parser.error("--plot draws by quality, and --tables has none")
    return args


def picture_of(pixels: "Pixels", kind: str) -> "Pixels":
    """What is compressed, and what the result is held against, of a picture's uint8 pixels."""
    import numpy as np

    from car import levels

    if kind == "colour" or pixels.ndim == 2:
        return pixels
    if kind == "full-range":
        return levels.luma_of(pixels)
    return np.rint(16 + pixels @ np.array([65.481, 128.553, 24.966]) / 255).astype(np.uint8)


def psnr_b(picture: "Pixels", truth: "Pixels") -> float:
    """PSNR with the blocking effect factor added to the MSE, in dB, of two uint8 [H, W] planes.

    Yim and Bovik: Quality Assessment of Deblocked Images, IEEE TIP 20 (2011).
    """
    import numpy as np

    from car import figures, jpeg

    on_edge, elsewhere = [], []
    for plane in (picture.astype(np.float64), picture.T.astype(np.float64)):
        squares = np.square(np.diff(plane, axis=1))
        edge = np.arange(squares.shape[1]) % jpeg.BLOCK == jpeg.BLOCK - 1
        on_edge.append(squares[:, edge].ravel())
        elsewhere.append(squares[:, ~edge].ravel())
    difference = np.concatenate(on_edge).mean() - np.concatenate(elsewhere).mean()
    factor = math.log2(jpeg.BLOCK) / math.log2(min(picture.shape)) * max(0.0, float(difference))
    return figures.psnr(figures.mse(picture, truth) + factor)


def compared(picture: "Pixels", truth: "Pixels", kind: str) -> tuple[float, float, float]:
    """(PSNR, SSIM, PSNR-B) of uint8 pictures; as colour PSNR of RGB, Cb and Cr (nan where grey)."""
    import numpy as np
    from PIL import Image

    from car import figures

    if kind != "colour":
        psnr = figures.psnr(figures.mse(picture, truth))
        return psnr, figures.ssim(picture, truth), psnr_b(picture, truth)
    if picture.ndim == 2:
        return figures.psnr(figures.mse(picture, truth)), math.nan, math.nan
    error = figures.mse(picture.reshape(-1, 3), truth.reshape(-1, 3))
    planes = (Image.fromarray(pixels).convert("YCbCr").split()[1:] for pixels in (picture, truth))
    cb, cr = (figures.psnr(figures.mse(*map(np.asarray, pair))) for pair in zip(*planes, strict=True))
    return figures.psnr(error), cb, cr


def ways_to_save(
    args: argparse.Namespace,
) -> "dict[str, Callable[[Pixels], bytes]]":
    """By name, what makes a JPEG of pixels: one for each quality, or for each of the tables."""
    import other_tables

    from car import images

    if args.tables:
        return {
            name: functools.partial(with_tables, tables=some)
            for name, some in other_tables.all_by_name().items()
        }
    return {str(quality): functools.partial(images.jpeg_bytes, quality=quality) for quality in args.quality}


def with_tables(pixels: "Pixels", tables: list[list[int]]) -> bytes:
    """Pixels as a JPEG with these quantisation tables, chroma 4:2:0."""
    from PIL import Image

    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "JPEG", qtables=tables)
    return file.getvalue()


def measure(
    corrector: "Corrector",
    paths: Sequence[Path],
    kind: str,
    twice: int | None,
    ways: "Mapping[str, Callable[[Pixels], bytes]]",
) -> Results:
    """{way to save: a row for each image of what `compared` gives before, and the same after}."""
    from car import images

    results: Results = {way: [] for way in ways}
    with cli.Progress(len(paths), "images") as progress:
        for path in paths:
            clean = truth = picture_of(images.read_pixels(path), kind)
            if twice:
                clean = images.decode_jpeg(images.jpeg_bytes(clean, twice)).pixels[1:, 1:]
                truth = truth[1:, 1:]
            for way, save in ways.items():
                corrected = corrector.correct(save(clean))
                pictures = corrected.before, corrected.pixels
                results[way].append([value for one in pictures for value in compared(one, truth, kind)])
            progress.step()
    return results


def described(rows: "Doubles") -> str:
    """Means of rows of `measure`, and of the gains in PSNR the least, for people."""
    import numpy as np

    means = np.ma.masked_invalid(rows).mean(axis=0).filled(math.nan)
    before, after = np.minimum(rows[:, [0, 3]], PERFECT_PSNR).T
    gains = after - before
    shown = (f"{p:7.3f}  {s:{'6.3f' if s > 1 else '.4f'}}  {b:6.3f}" for p, s, b in (means[:3], means[3:]))
    return f"{'   '.join(shown)}   {gains.mean():+7.3f} {gains.min():+7.3f}"


def describe_finds(
    paths: Sequence[Path], kind: str, twice: int, ways: "Mapping[str, Callable[[Pixels], bytes]]"
) -> str:
    """How many first savings are found, with their grid, in how much time; and how many that never were."""
    import time

    from car import history, images

    found = exact = false = 0
    seconds = pixels = 0.0
    for path in paths:
        clean = picture_of(images.read_pixels(path), kind)
        cut = images.decode_jpeg(images.jpeg_bytes(clean, twice)).pixels[1:, 1:]
        for save in ways.values():
            again, once = (images.decode_jpeg(save(some)) for some in (cut, clean))
            began = time.process_time()
            _, saving = history.traced(again.planes, again.pixels)
            seconds += time.process_time() - began
            pixels += again.planes[0].samples.size
            found += saving is not None
            exact += saving is not None and saving.corner == (7, 7)
            false += history.traced(once.planes, once.pixels)[1] is not None
    number = len(paths) * len(ways)
    return (
        f"first savings found {found} of {number}, with the exact grid {exact}, "
        f"{seconds / pixels * 1e6:.2f} s of a core a megapixel; saved once: {false} of {number} false finds"
    )


def draw(path: Path, results: Results) -> None:
    """Draw PSNR by quality, the JPEG and the corrected, and the gain with its worst image."""
    import numpy as np
    from matplotlib.figure import Figure

    from car.files import whole_file

    figure = Figure(figsize=(9, 4), layout="constrained")
    left, right = figure.subplots(1, 2)
    qualities = list(map(int, results))
    columns = np.array(list(results.values()))  # [qualities, images, columns]
    before, after = columns[..., 0].mean(axis=1), columns[..., 3].mean(axis=1)
    worst = (columns[..., 3] - columns[..., 0]).min(axis=1)
    left.plot(qualities, before, "o-", color="tab:red", label="JPEG")
    left.plot(qualities, after, "o-", color="tab:blue", label="corrected")
    left.set_ylabel("PSNR, dB")
    right.plot(qualities, after - before, "o-", color="tab:blue", label="mean gain")
    right.plot(qualities, worst, "o--", color="tab:grey", label="image that gains least")
    right.axhline(0, color="black", linewidth=0.8)
    right.set_ylabel("gain, dB")
    for axes in (left, right):
        axes.set_xlabel("JPEG quality")
        axes.grid(alpha=0.3)
        axes.legend()
    with whole_file(path) as file:
        figure.savefig(file, format="png", dpi=110)


@cli.script
def main(argv: Sequence[str] | None = None) -> int:
    """Print the table. Returns the exit status."""
    args = arguments(argv)
    cli.load_tensorflow()
    import numpy as np

    import model_car
    from car import pairs

    paths = [source.clean for source in pairs.find_clean(args.folder).sources]
    if not paths:
        raise UserError(f"{args.folder} holds no images")
    options = {
        "ensemble": args.ensemble,
        "ignore_header": args.ignore_header,
        "luma_only": args.luma_only,
        "precision": args.precision,
    }
    corrector = model_car.load_corrector(args.weights, ignore_history=args.ignore_history, **options)
    ways = ways_to_save(args)
    results = measure(corrector, paths, args.kind, args.twice, ways)
    kinds = [path.stem.rpartition("_")[0] for path in paths] if args.drawn else []
    first = max(map(len, ("saved", *results))) + max(map(len, ["", *kinds])) + 1
    cli.say(f"{'':{first}}   {'JPEG':^23}   {'corrected':^23}   {'gain':^15}")
    columns = "RGB       Cb        Cr" if args.kind == "colour" else "PSNR    SSIM    PSNR-B"
    cli.say(f"{'saved':{first}}   {columns:>23}   {columns:>23}   {'mean    least':>15}")
    for way, of_images in results.items():
        rows = np.array(of_images)
        cli.say(f"{way:>{first}}   {described(rows)}")
        for kind in sorted(set(kinds)):
            of_kind = rows[[one == kind for one in kinds]]
            cli.say(f"{f'{way} {kind}':>{first}}   {described(of_kind)}")
    others: dict[str, Corrector] = {}
    if args.against:
        others[str(args.against)] = model_car.load_corrector(
            args.against, ignore_history=args.ignore_history, **options
        )
    if args.twice and not args.ignore_history:
        others["--ignore-history"] = model_car.load_corrector(args.weights, ignore_history=True, **options)
    for name, other in others.items():
        for way, of_images in measure(other, paths, args.kind, args.twice, ways).items():
            gains = np.subtract(results[way], of_images)[:, 3]
            cli.say(f"{way:>{first}}   over {name} {gains.mean():+.3f}, least {gains.min():+.3f}")
    if args.twice and not args.ignore_history:
        cli.say(describe_finds(paths, args.kind, args.twice, ways))
    if args.plot:
        draw(args.plot, results)
    return 0


if __name__ == "__main__":
    sys.exit(main())
