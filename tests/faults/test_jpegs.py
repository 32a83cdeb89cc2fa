"""Folders that nobody cleaned: harmed JPEGs and BMPs, things that are no files, names that no terminal can show."""

import csv
import io
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from conftest import ROOT
from mutate import examples, harmed, harmed_jpeg, sized, with_scans
from PIL import Image, ImageCms
from reference import cmyk_profile, read_records

# Good names, and bad ones: bytes that are no UTF-8, line ends, a colour code, text that runs backwards.
NAMES: tuple[bytes, ...] = (
    b"plain.jpg",
    b"caf\xc3\xa9.JPG",
    b"latin\xe9.jpg",
    b"two\nlines.jpg",
    b"\x1b[31mred.jpg",
    b"-rf.jpg",
)
NAMES += (b"back\xe2\x80\xaewards.jpg", b'a "quoted", listed.jpg', b"return\rtab\t.jpeg")
ODDITIES = {
    "empty.jpg": "is empty (0 bytes)",
    "text.jpg": "is not a JPEG",
    "png.jpg": "is not a JPEG but PNG",
    "gif.jpg": "is not a JPEG",
    "tiff.jpg": "is not a JPEG but TIFF",
    "broken link.jpg": "cannot be read: No such file or directory",
    "link to itself.jpg": "cannot be read: Too many levels of symbolic links",
    "pipe.jpg": "is not a file",
    "endless.jpg": "is not a file",
    "sparse.jpg": "has 5000000000 bytes, more than 500000000 pixels need",
    "bomb.jpg": "says 20000x20000, which",
    "larger bomb.jpg": "65535x65535 is over the limit",
    "scans.jpg": "has over 100 scans",
    f"{'x' * 251}.jpg": "the name of its result would be too long",
}


def photograph(left: int = 150) -> Image.Image:
    return Image.open(ROOT / "samples/astronaut.bmp").crop((left, 60, left + 64, 108))


def jpeg(mode: str = "RGB", kind: str = "JPEG", width: int = 64, **options: Any) -> bytes:
    file = io.BytesIO()
    photograph().crop((0, 0, width, 48)).convert(mode).save(file, kind, **{"quality": 20, **options})
    return file.getvalue()


def kinds() -> dict[str, bytes]:
    """A JPEG of each kind that goes a way of its own through the suite."""
    exif = Image.Exif()
    exif[0x0112], exif[0x010F] = 6, "Maker"
    screen = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    return {
        "baseline": jpeg(),
        "grey": jpeg("L"),
        "progressive": jpeg(progressive=True),
        "cmyk": jpeg("CMYK", icc_profile=cmyk_profile()),
        "turned": jpeg(exif=exif, icc_profile=screen),
        "phone": jpeg(kind="MPO", save_all=True, append_images=[photograph(0)]),
        "restarts": jpeg(restart_marker_blocks=4, subsampling=1),
        "narrow": jpeg(width=7),
    }


class Ended(NamedTuple):
    """What a script left: its exit status, what it printed, its peak memory in MiB."""

    status: int
    out: bytes
    err: bytes
    peak: float


def run(folder: Path, script: str, *args: object, seconds: float, **environment: str) -> Ended:
    """Run a script of the suite; the test fails if it takes longer than these seconds."""
    out, err = folder / f"{script}.out", folder / f"{script}.err"
    command = ["timeout", "-s", "KILL", str(seconds), sys.executable, str(ROOT / script), *map(str, args)]
    with open(out, "wb") as stdout, open(err, "wb") as stderr:
        child = subprocess.Popen(command, stdout=stdout, stderr=stderr, env={**os.environ, **environment})
        _, status, usage = os.wait4(child.pid, 0)
    return Ended(
        os.waitstatus_to_exitcode(status), out.read_bytes(), err.read_bytes(), usage.ru_maxrss / 1024
    )


def write_oddities(folder: Path) -> None:
    """All that ODDITIES names."""
    for name in ("png", "gif", "tiff"):
        photograph().save(folder / f"{name}.jpg", name)
    (folder / "empty.jpg").touch()
    (folder / "text.jpg").write_text("See the other folder.\n")
    (folder / "folder.jpg").mkdir()  # a folder, which is no picture
    (folder / "broken link.jpg").symlink_to("nothing")
    (folder / "link to itself.jpg").symlink_to("link to itself.jpg")
    (folder / "endless.jpg").symlink_to("/dev/zero")
    os.mkfifo(folder / "pipe.jpg")
    (folder / "sparse.jpg").touch()
    os.truncate(folder / "sparse.jpg", 5_000_000_000)
    (folder / "bomb.jpg").write_bytes(sized(jpeg(), 20_000, 20_000))
    (folder / "larger bomb.jpg").write_bytes(sized(jpeg(), 65_535, 65_535))
    (folder / "scans.jpg").write_bytes(with_scans(jpeg(progressive=True), 5_000))
    (folder / f"{'x' * 251}.jpg").write_bytes(jpeg())


def write_good(folder: Path) -> None:
    """A JPEG of each kind, and some of bad names with their BMPs."""
    folder.mkdir()
    for kind, data in kinds().items():
        (folder / f"{kind}.jpeg").write_bytes(data)
    for name in NAMES:
        path = folder / os.fsdecode(name)
        path.write_bytes(jpeg())
        photograph().save(path.with_suffix(".bmp"))


def good_results(folder: Path) -> dict[str, bytes]:
    """Name and bytes of each result, but for those of mutants."""
    return {p.name: p.read_bytes() for p in folder.glob("*_car.*") if not p.name.startswith("mutant")}


def lines_of(ended: Ended) -> list[str]:
    """The printed lines, all of them in what any terminal can show."""
    assert not re.search(rb"[^\n\x20-\x7e]", ended.out), "control codes or foreign bytes on the screen"
    return ended.out.decode("ascii").splitlines()


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory, long: bool) -> Path:
    """good/: JPEGs and BMPs in order; hostile/: the same among mutants and oddities; undisturbed/: good/ corrected."""
    work = tmp_path_factory.mktemp("hostile")
    write_good(work / "good")
    write_good(work / "hostile")
    write_oddities(work / "hostile")
    for (kind, data), share in zip(kinds().items(), shares(5000 if long else 200), strict=True):
        for number, mutant in enumerate(examples(harmed_jpeg(data), share)):
            (work / f"hostile/mutant {kind} {number}.jpg").write_bytes(mutant)
    return work


def shares(count: int) -> Iterator[int]:
    """A count as a sum of eight."""
    return iter([count // 8 + (place < count % 8) for place in range(8)])


OPTIONS = ("--conv", "direct")  # quicker to compile for each of the mutants' sizes


def test_good_images_among_hostile_ones_are_all_done(folders: Path, long: bool) -> None:
    undisturbed = run(
        folders, "run_car_images.py", folders, "pretrained", "good", "clean", *OPTIONS, seconds=300
    )
    assert undisturbed.status == 0
    dark = {"LC_ALL": "C", "PYTHONIOENCODING": "ascii", "PYTHONUTF8": "0"}
    seconds = 3600 if long else 300
    ended = run(
        folders,
        "run_car_images.py",
        folders,
        "pretrained",
        "hostile",
        "results",
        *OPTIONS,
        seconds=seconds,
        **dark,
    )
    assert ended.status == 1 and ended.err == b""
    assert good_results(folders / "results") == good_results(folders / "clean")
    assert len(good_results(folders / "clean")) == len(NAMES) + len(kinds())

    lines = lines_of(ended)
    named = [line.removeprefix("left out: ") for line in lines if line.startswith("left out: ")]
    for name, reason in ODDITIES.items():
        assert any(line.startswith(f"{name}: {reason}") for line in named), f"{name}: {reason}"
    mutants = sorted(p.name for p in (folders / "hostile").glob("mutant*.jpg"))
    corrected = 0
    for name in mutants:
        result = folders / "results" / name.replace(".jpg", "_car.bmp")
        reasons = [line for line in named if line.startswith(f"{name}: ")]
        assert len(reasons) + result.exists() == 1, f"{name}: {reasons}"
        if result.exists():
            Image.open(result).load()
            corrected += 1
    assert len(named) == len(mutants) - corrected + len(ODDITIES)
    assert len(mutants) / 10 < corrected < len(mutants) * 0.9  # many a flipped bit decodes to a picture
    assert [path.name for path in (folders / "results").glob(".*")] == [".car_results.jsonl"]
    print(
        f"{len(mutants)} mutants: {corrected} corrected, {len(mutants) - corrected} named; peak {ended.peak:.0f} MiB, {undisturbed.peak:.0f} without them"
    )
    assert ended.peak < undisturbed.peak + 500
    with open(
        folders / "results/figures.csv", newline="", encoding="utf-8", errors="surrogateescape"
    ) as file:
        rows = {row[0]: row[1:] for row in csv.reader(file) if row[-8]}  # those with figures
    stems = {os.fsdecode(name).rpartition(".")[0] for name in NAMES}
    assert set(rows) == {"name", "'-rf", *(stems - {"-rf"})}  # which a spreadsheet would compute


def test_sheets_and_png_of_hostile_images(folders: Path) -> None:
    """The other ways to write: every 10th mutant, among them of EXIF, which the PNG would have kept."""
    data = folders / "some"
    data.mkdir()
    mutants = sorted((folders / "hostile").glob("mutant*.jpg"))
    for path in mutants[:: max(1, len(mutants) // 40)]:
        os.link(path, data / path.name)
    header = b"Exif\0\0MM\0*\0\0\0\b\0"
    torn = kinds()["turned"].replace(header + b"\2", header + b"\x63")  # 99 tags, of which two are there
    (data / "torn exif.jpg").write_bytes(torn)
    (data / "no exif.jpg").write_bytes(torn.replace(header, b"Exif\0\0XX\0*\0\0\0\b\0"))
    photograph().transpose(Image.Transpose.ROTATE_270).save(data / "torn exif.bmp")
    photograph().save(data / "no exif.bmp")
    ended = run(
        folders,
        "run_car_images.py",
        folders,
        "pretrained",
        "some",
        "sheets",
        *OPTIONS,
        "--format",
        "png",
        "--compare",
        seconds=300,
    )
    assert ended.status == 1 and ended.err == b""
    lines = lines_of(ended)
    assert "torn exif.jpg: its EXIF has a damaged tag (the end of a cut table)" in lines
    assert "no exif.jpg: its EXIF is damaged and was left out" in lines
    results = folders / "sheets"
    assert (
        Image.open(results / "torn exif_car.png").size == (48, 64)
        and Image.open(results / "no exif_car.png").size == (64, 48)
        and (results / "torn exif_compare.png").exists()
    )
    for path in data.glob("*.jpg"):
        named = any(line.startswith(f"left out: {path.name}: ") for line in lines)
        assert (results / f"{path.stem}_car.png").exists() != named


def test_the_loader_names_harmed_pairs_and_keeps_the_others(folders: Path, long: bool) -> None:
    """Half of the pairs have a harmed JPG, half a harmed BMP."""
    file = io.BytesIO()
    photograph().save(file, "BMP")
    bmp, count = file.getvalue(), 2500 if long else 100
    for name in ("pairs", "good pairs"):
        (folders / name).mkdir()
        for number in range(5):
            photograph(number).save(folders / name / f"good {number}.bmp")
            photograph(number).save(folders / name / f"good {number}.jpg", quality=20)
    pairs = [(jpeg(), harm) for harm in examples(harmed(bmp), count)]
    pairs += [(harm, bmp) for harm in examples(harmed_jpeg(jpeg()), count)]
    for number, pair in enumerate(pairs):
        for data, suffix in zip(pair, ("jpg", "bmp"), strict=True):
            (folders / f"pairs/pair {number}.{suffix}").write_bytes(data)
    for name, status in (("good pairs", 0), ("pairs", 1)):
        ended = run(
            folders,
            "load_train_data.py",
            folders,
            name,
            f"records/{name}",
            "--all",
            "--patch-size",
            16,
            seconds=600,
        )
        assert ended.status == status and ended.err == b""
    lines = [line for line in lines_of(ended) if line.startswith("left out: pair ")]
    found = re.search(r"records/pairs: (\d+) of (\d+) images used", ended.out.decode())
    assert found and int(found[2]) == 2 * count + 5 and int(found[1]) > 5
    skipped = re.search(r"skipped, smaller than 16x16: (\d+)", ended.out.decode())
    assert int(found[1]) + (int(skipped[1]) if skipped else 0) + len(lines) == 2 * count + 5
    print(f"{2 * count} pairs: {int(found[1]) - 5} used, {len(lines)} named; peak {ended.peak:.0f} MiB")
    good, all_of_them = (
        {record for file in (folders / "records" / name).glob("*.tfrecords") for record in read_records(file)}
        for name in ("good pairs", "pairs")
    )
    assert len(good) == 5 * 12 and good < all_of_them
