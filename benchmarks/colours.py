"""Draw magnified crops of colours at quality 10 as benchmarks/colours.png, before and after.

    python benchmarks/colours.py

JPG | Cb and Cr through the net of luma, each alone | through the net that sees luma | original. Two are of
the samples, two drawn. It writes over the picture of docs/weights.md.
"""

import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "samples")]

import crops

from car import cli
from car.arrays import Pixels

QUALITY = 10
DRAWN = (("screen", 0), ("cartoon", 2))  # and the seed


def clean_pictures() -> dict[str, Pixels]:
    """The clean crops by name: uint8 [crops.SIDE, crops.SIDE, 3]."""
    from drawn import kinds

    found = {}
    for name, _, left, top in crops.CROPS:
        with Image.open(ROOT / f"samples/{name}.bmp") as image:
            found[name] = np.asarray(
                image.convert("RGB").crop((left, top, left + crops.SIDE, top + crops.SIDE))
            )
    for name, seed in DRAWN:
        found[name] = kinds.KINDS[name](np.random.default_rng(seed), crops.SIDE)
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
        large = [pixels.repeat(crops.MAGNIFIED, 0).repeat(crops.MAGNIFIED, 1) for pixels in shown.values()]
        rows.append(pictures.side_by_side(large, list(shown)))
    crops.save_sheet(ROOT / "benchmarks/colours.png", rows)
    return 0


if __name__ == "__main__":
    sys.exit(main())
