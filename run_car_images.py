"""Correct a folder of JPGs: each NAME.jpg of WORKDIR/data becomes WORKDIR/results/NAME_car.bmp.

    python run_car_images.py WORKDIR log data results
    python run_car_images.py . pretrained my_photographs corrected --recursive --format png

log is the folder that train_car.py wrote; `pretrained` means the weights that came with this.
data may also be one picture, or a text file with a path in each line.
Where NAME.bmp (or .png, .tif) stands beside NAME.jpg, MSE, PSNR and SSIM against it are printed before and
after, of the luma, with the PSNR of R, G and B, and written to results/figures.csv.
"""

import argparse
import re
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from car import cli, files, find, split, stop

if TYPE_CHECKING:
    from car.find import Picture
    from car.jobs import Job
    from car.weights import Bank

# As the modules that do the work say it (tests/test_cli.py); those load numpy, which --help does not need.
CORE_SIDE, SMALLEST_CORE, HALO, MAX_PIXELS = 256, 16, 9, 500_000_000
FORMATS = ("bmp", "png", "jpg", "tiff", "webp")


def make_parser(manual: str | None) -> argparse.ArgumentParser:
    """The parser of the command line; manual: the docstring of the script, its --help."""
    parser = cli.parser(manual)
    parser.add_argument("workdir", metavar="WORKDIR", help="folder that the others are joined to")
    parser.add_argument("log", help="folder of the trained weights, joined to WORKDIR")
    parser.add_argument("data", help="folder of JPGs, one JPG, or a text file of paths; joined to WORKDIR")
    parser.add_argument("results", help="folder to write, joined to WORKDIR")
    parser.add_argument(
        "--input-types",
        nargs="+",
        choices=tuple(find.OTHER_TYPES),
        default=[],
        metavar="TYPE",
        help="also pictures that were JPEGs once and were saved as png, webp, tiff or bmp: corrected for "
        "what is found of that; others stay as they are",
    )
    parser.add_argument(
        "--recursive",
        action="store_true",
        help="also the folders in data; results lie in folders of the same names",
    )
    parser.add_argument(
        "--format",
        choices=FORMATS,
        default="bmp",
        help="all but bmp keep EXIF, ICC profile and XMP; jpg as they were (bmp)",
    )
    parser.add_argument(
        "--jpeg-quality",
        type=cli.whole_number(1, 100),
        metavar="Q",
        help="of --format jpg, 1..100 (95; finer for files from 85 on, as else more would be lost than was "
        "gained, and those from 96 on are copied)",
    )
    parser.add_argument(
        "--bits",
        type=int,
        choices=(8, 16),
        default=8,
        help="of png and tiff: 16 keep what the net tells between two grey levels; pictures of 16 bits have "
        "them anyway (8)",
    )
    parser.add_argument(
        "--suffix", default="_car", metavar="TEXT", help="ends the results' names; may be empty (_car)"
    )
    parser.add_argument(
        "--strength",
        type=float,
        default=1.0,
        metavar="S",
        help="part of the correction that is applied, 0..1 (1)",
    )
    parser.add_argument(
        "--ensemble",
        action="store_true",
        help="the mean over all eight flips and turns; a little better, eight times slower",
    )
    parser.add_argument(
        "--ignore-header",
        action="store_true",
        help="the log's own net for every file, no limits by its quantisation table, and no earlier saving",
    )
    parser.add_argument(
        "--ignore-history",
        action="store_true",
        help="look for no earlier, coarser saving: each file by its header alone, pictures of other types by "
        "the log's own net",
    )
    parser.add_argument(
        "--luma-only", action="store_true", help="leave the colours as they are; less good, a third faster"
    )
    parser.add_argument(
        "--compare",
        action="store_true",
        help="also save NAME_compare.png: JPG | corrected | BMP | what changed",
    )
    parser.add_argument(
        "--report",
        action="store_true",
        help="also write index.html, a page that shows each picture before and after, with its figures",
    )
    parser.add_argument(
        "--dry-run",
        action="store_true",
        help="say what would be done with each picture, by its header, without nets; nothing is written",
    )
    parser.add_argument(
        "--skip-existing",
        action="store_true",
        help="pass over images whose result is there; refused where it was made by other options or weights",
    )
    parser.add_argument(
        "--split", choices=split.SETS, help="only the images of this set, by the split.json in log"
    )
    parser.add_argument(
        "--records",
        metavar="FOLDER",
        help="with --split: the split of this folder of records, joined to WORKDIR; for any log",
    )
    parser.add_argument(
        "--shard", default="1/1", metavar="I/N", help="only the I-th of N parts of the folder, for job arrays"
    )
    parser.add_argument(
        "--patch-size",
        type=cli.whole_number(SMALLEST_CORE),
        default=CORE_SIDE,
        metavar="P",
        help="largest side of a tile's core in pixels; changes speed, not the result (256)",
    )
    parser.add_argument(
        "--overlap",
        type=int,
        choices=(0, HALO),
        default=HALO,
        help=f"neighbours around a tile; 0 gives the original's isolated patches, seams and all ({HALO})",
    )
    parser.add_argument("--conv", choices=("fast", "direct"), help="form of layer 2 (fast; direct on a GPU)")
    parser.add_argument(
        "--precision",
        choices=cli.PRECISIONS,
        default=cli.PRECISIONS[0],
        help="bfloat16 is faster on a GPU and on processors with AMX; its results differ by 0.1 grey level "
        "rms and 0.005 dB at the most, and from machine to machine (float32)",
    )
    parser.add_argument(
        "--truth-bits",
        type=cli.whole_number(9, 16),
        metavar="N",
        help="bits that pictures of 16 bits use, 9..16 (12 where no level is over 4095, else 16)",
    )
    parser.add_argument(
        "--max-pixels",
        type=cli.positive,
        default=MAX_PIXELS,
        metavar="N",
        help="leave out images with more (500 million)",
    )
    return parser


def arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    """Parse the command line."""
    parser = make_parser(__doc__)
    args = parser.parse_args(argv)
    check_arguments(parser, args)
    return args


def check_arguments(parser: argparse.ArgumentParser, args: argparse.Namespace) -> None:
    """Join paths to WORKDIR, and check what was parsed."""
    cli.check(parser, args, sources=["data"], outputs=["log", "results"])
    if args.jpeg_quality and args.format != "jpg":
        parser.error("argument --jpeg-quality: only with --format jpg")
    if args.bits == 16 and args.format not in ("png", "tiff"):
        parser.error("argument --bits: 16 only with --format png or tiff")
    if args.records and not args.split:
        parser.error("argument --records: only with --split")
    args.records = args.records and args.workdir / args.records
    if args.records and not args.records.is_dir():
        parser.error(f"argument --records: there is no folder {args.records}")
    if not 0 <= args.strength <= 1:
        parser.error("argument --strength: 0..1")
    if bad := sorted(set(args.suffix) & set('<>:"/\\|?*\0')):
        parser.error(f"argument --suffix: a file's name cannot hold {bad[0]} on every system")
    if args.results.exists() and args.results.samefile(args.data):
        parser.error("results must be another folder than data")
    if not args.overlap:  # as the original did
        args.ignore_header = args.luma_only = True
    match = re.fullmatch(r"(\d+)/(\d+)", args.shard)
    args.part, args.parts = map(int, match.groups()) if match else (0, 0)
    if args.conv == "fast" and args.precision == "bfloat16":
        parser.error("argument --precision: the fast form is one of float32; leave --conv out")
    if not 1 <= args.part <= args.parts:
        parser.error("argument --shard: I/N with 1 <= I <= N, as in 3/8")


def options_of(args: argparse.Namespace) -> dict[str, Any]:
    """What the options say of the Corrector."""
    return {
        "halo": args.overlap,
        "core_side": args.patch_size,
        "strength": args.strength,
        "ensemble": args.ensemble,
        "ignore_header": args.ignore_header,
        "ignore_history": args.ignore_history,
        "luma_only": args.luma_only,
        "input_types": args.input_types,
        "max_pixels": args.max_pixels,
        "bits": args.bits,
        "precision": args.precision,
    }


class Plan(NamedTuple):
    """What is to be done, with which weights."""

    job: "Job"
    bank: "Bank"
    pictures: "list[Picture]"  # of this part of the work
    unreadable: dict[str, str]  # of find.Found


def make_plan(args: argparse.Namespace) -> Plan:
    """Find the pictures and the weights, and say what of it is worth knowing. Raises UserError."""
    from car import images, jobs, levels, saying, weights

    images.lift_limit_of_pillow()
    if args.log.name == "pretrained" and not args.log.exists():
        args.log = weights.shipped()
        cli.say(f"weights: those that came with this suite, {args.log}")
    inputs = find.suffixes_of(args.input_types)
    found = find.of(args.data, args.workdir, inputs, args.recursive, args.results)
    for line in found.describe():
        cli.say(line)
    chosen = jobs.choose(found.pictures, args.data, args.log, args.split, args.records)
    if others := sum(picture.suffix in find.OTHER_SUFFIXES for picture in chosen):
        how = "for what is found of earlier savings; others stay as they are"
        if args.ignore_header or args.ignore_history:
            how = "by the log's own net, without limits, as nothing is known of their past"
        cli.say(f"{others} of other types than JPEG: corrected {how}")
    bank = weights.load_bank(args.log)
    saying.say_worse_than_none(args.log, bank[None])
    if not args.ignore_header:
        saying.say_unknown_coarseness(args.log, bank)
    job = jobs.Job(
        args.data,
        args.results,
        format=args.format,
        suffix=args.suffix,
        jpeg_quality=args.jpeg_quality,
        compare=args.compare,
        report=args.report,
        skip_existing=args.skip_existing,
        part=args.part,
        parts=args.parts,
        weights=weights.digest_of(bank),
        inputs=inputs,
        depth=levels.Depth(args.truth_bits, "--truth-bits"),
        found=found.pictures,
    )
    return Plan(job, bank, chosen[args.part - 1 :: args.parts], found.unreadable)


def say_layers(args: argparse.Namespace, bank: "Bank") -> None:
    """Say it where --precision cannot be had."""
    import model_car

    layers = {model_car.layers_for(args.conv, args.precision, one.residual) for one in bank.values()}
    if args.precision == "bfloat16" and model_car.bfloat16_layers not in layers:
        cli.say(model_car.why_float32(bank[None].residual))


@cli.script
def main(argv: Sequence[str] | None = None) -> int:
    """Correct the folder. Returns the exit status: 1 if an image was bad."""
    args = arguments(argv)
    from car import folder, jobs, preview, saying

    job, bank, pictures, unreadable = make_plan(args)
    if args.dry_run:
        job = jobs.with_names(job, preview.existing(args.results))
        outcome = preview.describe_all(
            job, preview.corrector_of(bank, **options_of(args)), pictures, unreadable
        )
        return 1 if outcome.bad else 0
    cli.load_tensorflow()
    import model_car

    say_layers(args, bank)
    corrector = model_car.make_corrector(bank, conv=args.conv, **options_of(args))
    args.results.mkdir(parents=True, exist_ok=True)
    with files.part_locked(args.results, args.part, args.parts) as lock:
        stop.hold("image")
        job = jobs.with_names(job, lock)
        outcome = folder.correct_all(job, corrector, pictures, unreadable)
        saying.say_outcome(job, outcome)
    return 1 if outcome.bad else 0


if __name__ == "__main__":
    sys.exit(main())
