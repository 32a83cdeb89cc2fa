"""All rows on quality that docs/weights.md has, one after the other.

    python benchmarks/quality_table.py FOLDER

FOLDER: of clean images, as LIVE1; and of drawn pictures of samples/make_drawn_pictures.py, which are made
here. Each line is headed by the options of quality.py that print it alone. An hour of two cores.
"""

import argparse
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
sys.path.insert(0, str(ROOT))

from car import cli

FINE = "50 60 70 80 85 90 95 96 97 98"
OF_FOLDER = (
    "",
    "--ensemble",
    "--ignore-header",
    f"--quality 5 {FINE}",
    "--as full-range",
    "--as colour --quality 10 20 30 40 75 90",
    "--twice 30 --quality 75 90",
    "--tables",
)
DRAWN = ("--drawn --quality 10 30 50 80 95", "--drawn --quality 10 30 50 80 95 --as colour")
PICTURES = (("seen", ()), ("unseen", ("--unseen",)))  # of kinds that the nets were trained on, and others


def arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    """Parse the command line."""
    parser = cli.parser(__doc__)
    parser.set_defaults(workdir=".")  # there is no WORKDIR: the folders are what the shell says
    parser.add_argument("folder", help="of clean images")
    return cli.parse(parser, argv, inputs=["folder"])


def head(folder: str, options: str) -> None:
    """Say by which command the next lines can be had alone."""
    cli.say("")
    cli.say(f"quality.py {folder} {options}".rstrip())


def run(script: Path, *options: object) -> None:
    """Run a script of the suite; what it prints is printed."""
    subprocess.run([sys.executable, script, *map(str, options)], check=True)


@cli.script
def main(argv: Sequence[str] | None = None) -> int:
    """Print the tables. Returns the exit status."""
    args = arguments(argv)
    for options in OF_FOLDER:
        head(args.folder, options)
        run(HERE / "quality.py", args.folder, *options.split())
    with tempfile.TemporaryDirectory() as scratch:
        for name, which in PICTURES:
            drawn = Path(scratch) / name
            # Another seed than that of the training (pretrained/train.py).
            run(
                ROOT / "samples/make_drawn_pictures.py",
                drawn,
                "--count",
                100,
                "--size",
                256,
                "--seed",
                77,
                *which,
            )
            for options in DRAWN:
                head(name, options)
                run(HERE / "quality.py", drawn, *options.split())
    return 0


if __name__ == "__main__":
    sys.exit(main())
