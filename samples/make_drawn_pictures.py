"""Draw clean pictures that are no photographs: a part of what the nets are trained on.

    python samples/make_drawn_pictures.py work/drawn --count 200 --size 384
    python load_train_data.py work photographs tfrecords/train --also drawn --quality 10

writes text_0000.png, screen_0001.png, lineart_0002.png, ...: 20 kinds in turn, grey and colour mixed.
Text, screens, line art, hatching, cartoons, maps, charts, ordered dither, error diffusion, halftones,
checkerboards, gratings, moire, gradients and bands, dark glows, flat blocks, noise, pixel art, shapes and
codes to be scanned. The same seed gives the same pictures (with the same numpy and Pillow).

--unseen draws other kinds, for test pictures, that no training has seen: zone plates, fans of lines,
herringbone, fine grids, lines of a slope near 1:2, noise of equally likely levels, faint noise on black,
mosaics of equal squares, flat shapes under level 16, black borders.

With --enlarge 2 each pixel becomes 2x2, which load_train_data.py --shrink 2 undoes.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from car import cli, files, stop
from car.errors import Stopped, UserError

SMALLEST = 64  # pixels a side: a window of a screen needs them


def arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    """Parse the command line."""
    parser = cli.parser(__doc__)
    parser.set_defaults(workdir=".")  # there is no WORKDIR: FOLDER is what the shell says
    parser.add_argument("folder", metavar="FOLDER", help="folder to write; new or empty")
    parser.add_argument("--count", type=cli.positive, default=200, metavar="N", help="of pictures (200)")
    parser.add_argument(
        "--size",
        type=cli.whole_number(SMALLEST, 4096),
        default=384,
        metavar="S",
        help="their side in pixels (384)",
    )
    parser.add_argument(
        "--enlarge", type=cli.positive, default=1, metavar="N", help="then each pixel as NxN of them (1)"
    )
    parser.add_argument("--unseen", action="store_true", help="of the kinds for tests")
    parser.add_argument("--seed", type=cli.seed, default=0, help="(0)")
    return cli.parse(parser, argv, outputs=["folder"])


@cli.script
def main(argv: Sequence[str] | None = None) -> int:
    """Write the pictures, all of them or none."""
    args = arguments(argv)
    from drawn import kinds, unseen  # numpy and Pillow, once the arguments are good
    from PIL import Image

    folder = args.folder.resolve()
    if folder.exists() and (there := sorted(path.name for path in folder.iterdir())):
        raise UserError(f"{args.folder} holds {there[0]} already; name a folder that is new or empty")
    stop.hold("picture")
    with (
        files.whole_folder(folder, r"[a-z]+_\d+\.png") as partial,
        cli.Progress(args.count, "pictures") as bar,
    ):
        for number in range(args.count):
            if stop.asked():
                raise Stopped(f"stopped by {stop.name()}; nothing is written, the same command starts again")
            kind, pixels = kinds.draw(number, args.size, args.seed, args.unseen)
            pixels = pixels.repeat(args.enlarge, axis=0).repeat(args.enlarge, axis=1)
            Image.fromarray(pixels).save(partial / f"{kind}_{number:04d}.png")
            cli.detail(f"{kind}_{number:04d}.png")
            bar.step()
    drawn = len(unseen.KINDS if args.unseen else kinds.KINDS)
    cli.say(f"{args.count} pictures of {drawn} kinds in {args.folder}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
