"""Which image files a folder holds."""

from collections.abc import Sequence
from pathlib import Path

JPEG_SUFFIXES = (".jpg", ".jpeg")
LOSSLESS_SUFFIXES = (".bmp", ".png", ".tif", ".tiff", ".pgm", ".ppm")


def files(folder: Path, suffixes: Sequence[str]) -> list[Path]:
    """Return the paths of the files with these suffixes (any case), sorted by name; no hidden ones."""
    return [
        path
        for path in sorted(folder.iterdir())
        if path.suffix.lower() in suffixes and not path.name.startswith(".")
    ]


def by_stem(folder: Path, suffixes: Sequence[str]) -> dict[str, list[Path]]:
    """Return {stem: paths} of these files: two or more where names differ in the type alone."""
    found: dict[str, list[Path]] = {}
    for path in files(folder, suffixes):
        found.setdefault(path.stem, []).append(path)
    return found


def jpegs(folder: Path) -> list[Path]:
    """Return the JPEG paths of a folder, sorted."""
    return files(folder, JPEG_SUFFIXES)


def bmp_beside(jpg: Path) -> Path | None:
    """Return the path of the BMP beside a JPEG (any case of .bmp), or None."""
    for suffix in (".bmp", ".BMP", ".Bmp"):
        if (bmp := jpg.with_suffix(suffix)).exists():
            return bmp
    return None
