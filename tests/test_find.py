"""car/find.py: what is taken of folders, trees and lists, and what is passed over; in real folders."""

import os
from collections import Counter
from pathlib import Path

import pytest

from car import find
from car.errors import UserError
from car.find import JPEG_SUFFIXES

TREE = (
    *("b.jpg", "Ä b.JPEG", "c.bmp", "c.jpg", "notes.txt", "clip.MP4", "clip2.mp4", "README", ".hidden.jpg"),
    *("2019/Urlaub am Meer/x.JPG", "2019/y.jfif", "2019/y.xmp", ".thumbnails/t.jpg", "leer/z.txt"),
)


def made(folder: Path, *names: str) -> Path:
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    return folder


def names_in(folder: Path, recursive: bool = False, results: Path | None = None) -> list[str]:
    found = find.in_folder(folder, JPEG_SUFFIXES, recursive, results)
    assert all(picture.path == folder / picture.name for picture in found.pictures)
    return [picture.name for picture in found.pictures]


def test_pictures_are_found_by_their_type_in_order(tmp_path: Path) -> None:
    made(tmp_path, "b.jpg", "a.JPEG", "C.Jpg", "d.png", ".hidden.jpg", "jpg", "f.jpg.txt", "A.jpg")
    assert names_in(tmp_path) == ["A.jpg", "C.Jpg", "a.JPEG", "b.jpg"]
    found = find.in_folder(tmp_path, find.suffixes_of(["png"]))
    assert [picture.name for picture in found.pictures] == ["A.jpg", "C.Jpg", "a.JPEG", "b.jpg", "d.png"]


@pytest.mark.parametrize("suffix", ["jpg", "jpeg", "jpe", "jfif", "jif", "jfi", "pjpeg", "pjp", "jpg_large"])
def test_every_suffix_of_jpeg_is_taken(tmp_path: Path, suffix: str) -> None:
    made(tmp_path, f"a.{suffix}", f"b.{suffix.upper()}", f"c.{suffix}x")
    assert names_in(tmp_path) == [f"a.{suffix}", f"b.{suffix.upper()}"]


def test_a_folder_and_what_is_passed_over_in_it(tmp_path: Path) -> None:
    found = find.in_folder(made(tmp_path, *TREE), JPEG_SUFFIXES)
    assert [picture.name for picture in found.pictures] == ["b.jpg", "c.jpg", "Ä b.JPEG"]
    # c.bmp is the clean picture of c.jpg.
    assert found.passed == Counter({".txt": 1, ".mp4": 2, "without a type": 1, "hidden": 2})
    assert found.describe() == [
        "passed over: 2 .mp4, 1 .txt, 2 hidden, 1 without a type",
        "2 more pictures lie in the subfolder 2019, passed over: --recursive takes them",
    ]


def test_a_tree_keeps_its_names(tmp_path: Path) -> None:
    found = find.in_folder(made(tmp_path, *TREE), JPEG_SUFFIXES, recursive=True)
    names = ["2019/Urlaub am Meer/x.JPG", "2019/y.jfif", "b.jpg", "c.jpg", "Ä b.JPEG"]
    assert [picture.name for picture in found.pictures] == names
    assert [picture.stem for picture in found.pictures][:2] == ["2019/Urlaub am Meer/x", "2019/y"]
    assert found.below == Counter() and found.unreadable == {}
    assert found.passed == Counter({".txt": 2, ".mp4": 2, ".xmp": 1, "without a type": 1, "hidden": 2})


def test_results_in_the_tree_are_not_taken_for_pictures(tmp_path: Path) -> None:
    made(tmp_path, "a.jpg", "out/a.jpg", "out/2019/a.jpg", "earlier/a.jpg", "earlier/b/c.jpg")
    (tmp_path / "earlier/.car_results.jsonl").touch()
    assert names_in(tmp_path, True, tmp_path / "out") == ["a.jpg"]
    found = find.in_folder(tmp_path, JPEG_SUFFIXES, True, tmp_path / "out")
    assert found.passed == Counter({"folder of results": 1})
    # A folder that was named is taken, whatever it is.
    assert names_in(tmp_path / "earlier", True) == ["a.jpg", "b/c.jpg"]


def test_links_to_folders_are_not_followed(tmp_path: Path) -> None:
    made(tmp_path, "tree/a.jpg", "elsewhere/b.jpg")
    (tmp_path / "tree/round").symlink_to(tmp_path / "tree")
    (tmp_path / "tree/other").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "tree/l.jpg").symlink_to(tmp_path / "elsewhere/b.jpg")
    found = find.in_folder(tmp_path / "tree", JPEG_SUFFIXES, recursive=True)
    assert [picture.name for picture in found.pictures] == ["a.jpg", "l.jpg"]
    assert found.passed == Counter({"link to a folder": 2})


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="rights do not stop this user")
def test_a_folder_without_rights_is_named(tmp_path: Path) -> None:
    made(tmp_path, "a.jpg", "closed/b.jpg")
    (tmp_path / "closed").chmod(0)
    try:
        found = find.in_folder(tmp_path, JPEG_SUFFIXES, recursive=True)
    finally:
        (tmp_path / "closed").chmod(0o700)
    assert found.unreadable == {"closed": "cannot be read: Permission denied"}


# ---- one picture, and lists ----------------------------------------------------------------


def of(data: Path, workdir: Path, *types: str) -> find.Found:
    return find.of(data, workdir, find.suffixes_of(types), False, workdir / "results")


def test_a_single_picture(tmp_path: Path) -> None:
    made(tmp_path, "a.JPG", "b.png", "c.jpg")
    assert of(tmp_path / "a.JPG", tmp_path).pictures == [(tmp_path / "a.JPG", "a.JPG")]
    (tmp_path / "photo").write_bytes(b"\xff\xd8\xff\xe0")
    assert of(tmp_path / "photo", tmp_path).pictures == [(tmp_path / "photo", "photo")]
    assert of(tmp_path / "b.png", tmp_path, "png").pictures == [(tmp_path / "b.png", "b.png")]
    with pytest.raises(UserError, match=r"b\.png is no JPEG; --input-types png takes it"):
        of(tmp_path / "b.png", tmp_path)


def test_a_list_of_paths(tmp_path: Path) -> None:
    made(tmp_path, "lists/sub/ä b.jpg", "lists/c.txt", "work/d.jpg", "far/e.jpg", "far/ f.JPG")
    text = ["sub/ä b.jpg", "", "d.jpg", str(tmp_path / "far/e.jpg"), "../far/ f.JPG", "./sub/ä b.jpg"]
    lines = [*text, "c.txt", "gone.jpg", "sub"]
    for coded in ("\n".join(lines).encode(), b"\xef\xbb\xbf" + "\r\n".join(lines).encode() + b"\r\n"):
        (tmp_path / "lists/list.txt").write_bytes(coded)
        found = of(tmp_path / "lists/list.txt", tmp_path / "work")
        # What lies in the list's folder, or in WORKDIR, keeps its place in the results.
        assert found.pictures == [
            (tmp_path / "lists/sub/ä b.jpg", "sub/ä b.jpg"),
            (tmp_path / "work/d.jpg", "d.jpg"),
            (tmp_path / "far/e.jpg", "e.jpg"),
            (tmp_path / "lists/../far/ f.JPG", " f.JPG"),
        ]
        assert found.passed == Counter({".txt": 1, "named twice": 1})
        assert found.unreadable == {"gone.jpg": "is not there", "sub": "is a folder; name it as DATA"}


def test_files_of_one_name_in_a_list(tmp_path: Path) -> None:
    """Each has a result of its own: as many folders go before the name as tell it apart."""
    made(tmp_path, "far/p/x/a.jpg", "far/q/x/a.jpg", "far/q/y/a.jpg", "far/b.jpg", "lists/x/b.jpg")
    paths = ["far/p/x/a.jpg", "far/q/x/a.jpg", "far/q/y/a.jpg", "far/b.jpg"]
    lines = [str(tmp_path / path) for path in paths] + ["x/b.jpg"]
    (tmp_path / "lists/list.txt").write_text("\n".join(lines))
    found = of(tmp_path / "lists/list.txt", tmp_path)
    names = [picture.name for picture in found.pictures]
    assert names == ["p/x/a.jpg", "q/x/a.jpg", "y/a.jpg", "b.jpg", "x/b.jpg"]


def test_a_file_that_is_no_list(tmp_path: Path) -> None:
    (tmp_path / "a.bin").write_bytes(b"a.jpg\0b.jpg")
    with pytest.raises(UserError, match=r"a\.bin is neither a picture that is taken nor a text file"):
        of(tmp_path / "a.bin", tmp_path)
    # PowerShell's `dir > list.txt` writes UTF-16.
    (tmp_path / "list.txt").write_bytes("a.jpg\n".encode("utf-16"))
    with pytest.raises(UserError, match="UTF-8"):
        of(tmp_path / "list.txt", tmp_path)


# ---- partners ------------------------------------------------------------------------------


def test_files_of_one_name_are_found_together(tmp_path: Path) -> None:
    made(tmp_path, "a.jpg", "b.jpeg", "b.jpg", "sub/a.jpg")
    by_stem = find.by_stem(find.in_folder(tmp_path, JPEG_SUFFIXES, recursive=True).pictures)
    assert {stem: [picture.name for picture in some] for stem, some in by_stem.items()} == {
        "a": ["a.jpg"],
        "b": ["b.jpeg", "b.jpg"],
        "sub/a": ["sub/a.jpg"],
    }


@pytest.mark.parametrize("suffix", [".bmp", ".BMP", ".Bmp", ".png", ".PNG", ".tif", ".TIFF"])
def test_the_clean_picture_beside_a_jpeg(tmp_path: Path, suffix: str) -> None:
    assert find.clean_beside(tmp_path / "a.b.jpg") is None
    made(tmp_path, f"a.b{suffix}", "a.bmp", "a.b.gif")
    assert find.clean_beside(tmp_path / "a.b.jpg") == tmp_path / f"a.b{suffix}"


def test_of_several_clean_pictures_the_bmp_is_taken_and_no_picture_that_is_corrected(tmp_path: Path) -> None:
    made(tmp_path, "a.tif", "a.png")
    assert find.clean_beside(tmp_path / "a.jpg") == tmp_path / "a.png"
    assert find.clean_beside(tmp_path / "a.jpg", find.suffixes_of(["png"])) == tmp_path / "a.tif"
    made(tmp_path, "a.BMP")
    assert find.clean_beside(tmp_path / "a.jpg") == tmp_path / "a.BMP"
