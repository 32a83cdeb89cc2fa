"""Draw magnified crops of colours at quality 10 as benchmarks/colours.png, before and after.

    python benchmarks/colours.py

JPG | Cb and Cr through the net of luma, each alone | through the net that sees luma | original. Two are of
the samples, two drawn. It writes over the README's picture.
"""

import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "samples")]

from car import cli
from car.arrays import Pixels

QUALITY = 10
SAMPLES = (("astronaut", 176, 64), ("coffee", 180, 44))  # and the crop's left, top
DRAWN = (("screen", 0), ("cartoon", 2))  # and the seed
SIDE, MAGNIFIED = 104, 3


def clean_pictures() -> dict[str, Pixels]:
    """The clean crops by name: uint8 [SIDE, SIDE, 3]; sides of samples' crops start at whole blocks."""
    from drawn import kinds

    found = {}
    for name, left, top in SAMPLES:
        with Image.open(ROOT / f"samples/{name}.bmp") as image:
            found[name] = np.asarray(image.convert("RGB").crop((left, top, left + SIDE, top + SIDE)))
    for name, seed in DRAWN:
        found[name] = kinds.KINDS[name](np.random.default_rng(seed), SIDE)
    return found


@cli.script
def main(argv: Sequence[str] | None = None) -> int:
    """Write the sheet. Returns the exit status."""
    cli.parser(__doc__).parse_args(argv)
    cli.load_tensorflow()
    import model_car
    from car import images, pictures

    beside, alone = model_car.load_corrector(), model_car.load_corrector()
    alone.nets = {factor: net._replace(chroma=None) for factor, net in alone.nets.items()}
    rows = []
    for name, clean in clean_pictures().items():
        data = images.jpeg_bytes(clean, QUALITY)
        one, other = alone.correct(data), beside.correct(data)
        shown = {
            f"{name}, JPG at quality {QUALITY}": one.before,
            "each plane alone": one.pixels,
            "beside luma": other.pixels,
            "original": clean,
        }
        large = [pixels.repeat(MAGNIFIED, axis=0).repeat(MAGNIFIED, axis=1) for pixels in shown.values()]
        rows.append(pictures.side_by_side(large, list(shown)))
    sheet = Image.new("RGB", (rows[0].width, sum(row.height for row in rows)), "white")
    for number, row in enumerate(rows):
        sheet.paste(row, (0, number * row.height))
    sheet.save(ROOT / "benchmarks/colours.png", optimize=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
