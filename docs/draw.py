"""Draw the pictures of README.md and docs/how-it-works.md from the samples.

    python docs/draw.py              # all of them, over those in docs/
    python docs/draw.py steps seams --to /tmp/pictures

before_after: a face and a text, JPG | corrected, pixel by pixel. steps: what rounding leaves of a
coefficient, and what correction makes of it. combs: the coefficients of a picture that was saved twice.
limits: where the file wins. seams: tiles with their neighbours, and without.
"""

import argparse
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "samples")]

from car import cli

if TYPE_CHECKING:  # what loads numpy is imported where it is used, once the arguments are good
    from PIL import Image

    from car.arrays import Floats, Levels, Pixels

FACE = (158, 22, 338, 202)  # left, top, right, bottom in samples/astronaut.bmp
TEXT_SIDE = 180  # pixels, as the face
QUALITY = 10  # of the JPGs of before_after
CAMERA = (120, 40, 376, 296)  # the man and his camera
WIDTH, HEIGHT = 800, 110  # pixels, of one histogram
MAGNIFIED = 4  # changes, where they are shown


def written(pixels: "Pixels", quality: int) -> bytes:
    """A picture as a JPEG, as Pillow writes it (colour 4:2:0)."""
    from car import images

    return images.jpeg_bytes(pixels, quality)


def sample(name: str, box: tuple[int, int, int, int] | None = None) -> "Pixels":
    """A clean sample, or a part of it: uint8 [H, W] or [H, W, 3]."""
    import numpy as np
    from PIL import Image

    with Image.open(ROOT / f"samples/{name}.bmp") as image:
        return np.asarray(image.crop(box))


def below_each_other(panels: "Sequence[Image.Image]") -> "Image.Image":
    """One picture of several, all at the left."""
    from PIL import Image

    size = max(panel.width for panel in panels), sum(panel.height for panel in panels)
    sheet = Image.new("RGB", size, "white")
    top = 0
    for panel in panels:
        sheet.paste(panel, (0, top))
        top += panel.height
    return sheet


def histogram(values: "Floats", top: float, teeth: float, title: str) -> "Image.Image":
    """How many values lie where between 0 and top; a grey line at each multiple of `teeth`."""
    import numpy as np
    from PIL import Image, ImageDraw, ImageFont

    counts, _ = np.histogram(values, bins=WIDTH // 2, range=(0, top))
    sheet = Image.new("RGB", (WIDTH, HEIGHT), "white")
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(12)
    ground = HEIGHT - 18
    for multiple in range(int(top / teeth) + 1):
        x = round(multiple * teeth / top * WIDTH)
        draw.line([(x, 22), (x, ground)], fill="#bbbbbb")
        draw.text((x + 3, ground + 2), f"{multiple * teeth:g}", fill="#777777", font=font)
    for place, count in enumerate(counts / max(int(counts.max()), 1)):
        height = round((ground - 24) * float(count))
        if height:
            draw.rectangle((2 * place, ground - height, 2 * place + 1, ground), fill="#1f77b4")
    draw.line([(0, ground), (WIDTH, ground)], fill="black")
    draw.text((4, 3), title, fill="black", font=font)
    return sheet


def coefficients(plane: "Pixels | Floats", row: int, column: int, top: int = 0, left: int = 0) -> "Floats":
    """Sizes of one coefficient of all whole 8x8 blocks of the grid that begins there."""
    import numpy as np

    from car import jpeg

    rows, columns = (
        (length - first) // jpeg.BLOCK for length, first in zip(plane.shape, (top, left), strict=True)
    )
    inside = plane[top : top + rows * jpeg.BLOCK, left : left + columns * jpeg.BLOCK]
    made: Floats = np.abs(jpeg.blocks_of(inside).astype(np.float32) @ jpeg.COSINES[row * jpeg.BLOCK + column])
    return made


def corrected(jpg: bytes) -> "tuple[Levels, Levels]":
    """The pixels of a JPEG before and after."""
    import model_car

    made = model_car.load_corrector().correct(jpg)
    return made.before, made.pixels


# ---- the pictures --------------------------------------------------------------------------


def draw_text() -> "Pixels":
    """Lines of text in colours on a coloured ground: uint8 RGB."""
    import numpy as np
    from PIL import Image, ImageDraw, ImageFont

    sheet = Image.new("RGB", (TEXT_SIDE, TEXT_SIDE), "#f4ecd8")
    draw = ImageDraw.Draw(sheet)
    lines = (
        (8, 26, "#a02020", "Harbour Inn"),
        (44, 15, "#303030", "open daily, 7 to 19"),
        (72, 18, "#1a4f8a", "Coffee .... 2.40"),
        (95, 18, "#1a4f8a", "Tea ......... 1.90"),
        (118, 18, "#1a4f8a", "Soup ....... 4.80"),
        (150, 14, "#2f6b2f", "fresh bread every day"),
    )
    for top, size, colour, line in lines:
        draw.text((8, top), line, fill=colour, font=ImageFont.load_default(size))
    return np.asarray(sheet)


def before_after() -> "Image.Image":
    """A face and a text at quality 10, JPG | corrected."""
    from car import pictures

    face, text = corrected(written(sample("astronaut"), QUALITY)), corrected(written(draw_text(), QUALITY))
    left, top, right, bottom = FACE
    panels = [*(levels[top:bottom, left:right] for levels in face), *text]
    return pictures.side_by_side(panels, [f"JPG, quality {QUALITY}", "corrected"] * 2)


def steps() -> "Image.Image":
    """One coefficient of the camera at quality 10: clean, in the JPG, corrected."""
    from car import jpeg, levels

    row, column, quality = 0, 2, 10
    clean = sample("camera")
    before, after = corrected(written(clean, quality))
    step = float(jpeg.table_of_quality(quality)[row, column])
    told = f"coefficient (0, 2) of each 8x8 block, steps of {step:g}"
    rows = (
        (clean, f"clean: {told}"),
        (before, f"JPG at quality {quality}: only multiples of the step are left"),
        (after, "corrected: moved between them, by 0.35 of a step at the most"),
    )
    shown = [
        (values[values > step / 2], title)
        for values, title in ((coefficients(levels.luma_of(p), row, column), title) for p, title in rows)
    ]
    return below_each_other([histogram(values, 4.5 * step, step, title) for values, title in shown])


def combs() -> "Image.Image":
    """A coefficient of a picture saved at 20, cut, and saved at 90: on the earlier grid, and on another."""
    from car import history, images, jpeg

    row, column, first, second = 1, 1, 20, 90
    earlier = images.decode_jpeg(written(sample("camera"), first)).pixels
    decoded = images.decode_jpeg(written(earlier[3:, 5:], second))
    luma = decoded.planes[0]
    found = history.earlier_saving(luma.samples, luma.table, decoded.pixels)
    if found is None:
        raise RuntimeError("the earlier saving was not found: a fault in car/history.py")
    step = float(jpeg.table_of_quality(first)[row, column])
    top, left = found.corner
    grids = (
        (found.corner, f"grid {top} rows and {left} columns off: teeth at multiples of {step:g}"),
        ((0, 0), "the file's own grid: its own fine steps alone"),
    )
    sizes = [coefficients(luma.samples, row, column, *corner) for corner, _ in grids]
    return below_each_other(
        [
            histogram(size[size > step / 4], 3.5 * step, step, title)
            for size, (_, title) in zip(sizes, grids, strict=True)
        ]
    )


def limits() -> "Image.Image":
    """A photograph beside a checkerboard at quality 20: what the net asks for, and what is kept."""
    import numpy as np

    import model_car
    from car import images, pictures

    clean = sample("camera", CAMERA).copy()
    half = clean.shape[1] // 2
    y, x = np.mgrid[: clean.shape[0], : clean.shape[1] - half]
    clean[:, half:] = np.where((x // 2 + y // 2) % 2, 230, 30)
    jpg, corrector = written(clean, 20), model_car.load_corrector()
    made = corrector.correct(jpg)
    plane = images.decode_jpeg(jpg).planes[0]
    asked = np.clip(corrector.through_net(plane.samples, made.planes[0].choice), 0, 255)
    panels = [
        made.before.astype(np.uint8),
        pictures.difference(np.rint(asked).astype(np.uint8), plane.samples, MAGNIFIED),
        pictures.difference(made.pixels.astype(np.uint8), made.before.astype(np.uint8), MAGNIFIED),
    ]
    return pictures.side_by_side(panels, ["JPG", f"asked for, {MAGNIFIED} times", "kept"])


def seams() -> "Image.Image":
    """What cutting into tiles changes: tiles of 32 without neighbours, and with 9 pixels of them."""
    import numpy as np

    import model_car
    from car import images, pictures

    luma = images.decode_jpeg(written(sample("camera", CAMERA), 10)).planes[0].samples
    whole = model_car.load_corrector(ignore_header=True).correct(luma).pixels
    shown = []
    for halo in (0, 9):
        tiled = model_car.load_corrector(ignore_header=True, halo=halo, core_side=32).correct(luma).pixels
        shown.append(pictures.difference(tiled.astype(np.uint8), whole.astype(np.uint8), 8))
    panels = [whole.astype(np.uint8), *shown]
    return pictures.side_by_side(
        panels, ["in one piece", "tiles alone: what differs, 8 times", "with neighbours"]
    )


PICTURES: "Mapping[str, Callable[[], Image.Image]]" = {
    "before_after": before_after,
    "steps": steps,
    "combs": combs,
    "limits": limits,
    "seams": seams,
}


def arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    """Parse the command line."""
    parser = cli.parser(__doc__)
    parser.set_defaults(workdir=".")  # there is no WORKDIR: --to is what the shell says
    parser.add_argument("which", nargs="*", metavar="PICTURE", help=f"of {', '.join(PICTURES)} (all)")
    parser.add_argument("--to", default=str(ROOT / "docs"), metavar="FOLDER", help="(docs)")
    args = cli.parse(parser, argv, outputs=["to"])
    if unknown := sorted(set(args.which) - set(PICTURES)):
        parser.error(f"there is no picture {unknown[0]}; there are {', '.join(PICTURES)}")
    return args


@cli.script
def main(argv: Sequence[str] | None = None) -> int:
    """Draw the pictures. Returns the exit status."""
    args = arguments(argv)
    cli.load_tensorflow()
    args.to.mkdir(parents=True, exist_ok=True)
    for name in args.which or PICTURES:
        path = args.to / f"{name}.png"
        PICTURES[name]().save(path, optimize=True)
        cli.say(f"{path}: {path.stat().st_size // 1024} KiB")
    return 0


if __name__ == "__main__":
    sys.exit(main())
