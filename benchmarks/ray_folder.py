"""What Ray costs on one machine: a folder by run_car_images.py and by cluster/correct_ray.py, in turns.

    python -m pip install -r cluster/requirements.txt
    python benchmarks/ray_folder.py

Both with their starts; Ray with a process for each core. The results must be equal to the byte.
"""

import argparse
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from timing import ROOT, texture  # first: it lets the suite be found

# isort: split
import numpy as np
import scripts
from PIL import Image

from car import cli

SIZE = 320, 240  # pixels
SCRIPTS = {"script": "run_car_images.py", "Ray": "cluster/correct_ray.py"}


def results(folder: Path) -> dict[str, bytes]:
    """The results of a run by their names."""
    return {path.name: path.read_bytes() for path in folder.glob("*_car.bmp")}


def arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    """Parse the command line."""
    parser = cli.parser(__doc__)
    parser.set_defaults(workdir=".")  # there is no WORKDIR
    parser.add_argument("--count", type=cli.positive, default=800, metavar="N", help="JPGs (800)")
    parser.add_argument("--rounds", type=cli.positive, default=3, metavar="N", help="(3)")
    return cli.parse(parser, argv)


@cli.script
def main(argv: Sequence[str] | None = None) -> int:
    """Print the seconds of both and their ratio. Returns the exit status: 1 where the results differ."""
    args = arguments(argv)
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        (folder / "data").mkdir()
        picture = texture(1024)
        for number in range(args.count):
            left, top = 5 * number % (1024 - SIZE[0]), 3 * number % (1024 - SIZE[1])
            crop = Image.fromarray(picture[top : top + SIZE[1], left : left + SIZE[0]])
            crop.save(folder / f"data/{number}.jpg", quality=20)
        times: dict[str, list[float]] = {name: [] for name in SCRIPTS}
        for _ in range(args.rounds):
            for name, script in SCRIPTS.items():
                times[name].append(scripts.script(script, folder, ROOT / "pretrained", "data", name))
        same = results(folder / "script") == results(folder / "Ray")
    ratio = float(np.median(np.divide(times["Ray"], times["script"])))
    shown = ", ".join(f"{name} {float(np.median(spent)):.0f} s" for name, spent in times.items())
    cli.say(f"{args.count} JPGs of {SIZE[0]}x{SIZE[1]}: {shown}; Ray takes {ratio:.2f} of the script's time")
    cli.say("results equal" if same else "results differ")
    return 0 if same else 1


if __name__ == "__main__":
    sys.exit(main())
