"""Draw magnified crops of the samples, JPG | corrected | original, as benchmarks/crops.png.

    python run_car_images.py . pretrained samples results
    python benchmarks/crops.py results

It writes over the picture of docs/weights.md.
"""

import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from car import cli, pictures
from car.arrays import Pixels

# Name, quality, and the crop's left, top.
CROPS = (("astronaut", 10, 176, 64), ("coffee", 20, 180, 44))
SIDE, MAGNIFIED = 104, 3


def crop(path: Path, left: int, top: int) -> Pixels:
    """A square of a picture, each pixel as MAGNIFIED x MAGNIFIED: uint8 RGB."""
    with Image.open(path) as image:
        part = image.convert("RGB").crop((left, top, left + SIDE, top + SIDE))
    return np.asarray(part.resize((SIDE * MAGNIFIED,) * 2, Image.Resampling.NEAREST))


def save_sheet(path: Path, rows: Sequence[Image.Image]) -> None:
    """Save rows of panels, all of one height, one below the other."""
    sheet = Image.new("RGB", (rows[0].width, sum(row.height for row in rows)), "white")
    for number, row in enumerate(rows):
        sheet.paste(row, (0, number * row.height))
    sheet.save(path, optimize=True)


@cli.script
def main(argv: Sequence[str] | None = None) -> int:
    """Write the sheet. Returns the exit status."""
    parser = cli.parser(__doc__)
    parser.set_defaults(workdir=".")  # there is no WORKDIR: the folder is what the shell says
    parser.add_argument("results", help="what run_car_images.py wrote for samples")
    results = cli.parse(parser, argv, inputs=["results"]).results
    rows = []
    for name, quality, *corner in CROPS:
        kinds = {
            f"{name}, JPG at quality {quality}": ROOT / f"samples/{name}.jpg",
            "corrected": results / f"{name}_car.bmp",
            "original": ROOT / f"samples/{name}.bmp",
        }
        rows.append(pictures.side_by_side([crop(path, *corner) for path in kinds.values()], list(kinds)))
    save_sheet(ROOT / "benchmarks/crops.png", rows)
    return 0


if __name__ == "__main__":
    sys.exit(main())
