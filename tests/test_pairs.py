"""car/pairs.py: what belongs to what, what is made of one picture; in real files."""

import io
import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import ROOT
from PIL import Image
from reference import Array, lossless_jpeg

from car import pairs
from car.errors import BadImage
from car.pairs import Source

SAMPLES = ROOT / "samples"
NAMES = ["astronaut", "camera", "chelsea", "coffee", "hubble_deep_field"]
QUALITIES = dict(zip(NAMES, (10, 20, 10, 20, 30), strict=True))


def luma(name: str) -> Array:
    return np.asarray(Image.open(SAMPLES / name).convert("L"))


def through_jpeg(plane: Array, quality: int) -> Array:
    """By Pillow alone."""
    file = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(plane)).save(file, "JPEG", quality=quality)
    return np.asarray(Image.open(file))


def touch(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).touch()


# ---- finding -------------------------------------------------------------------------------


def test_the_samples_are_pairs() -> None:
    sources, lonely, twins, _ = pairs.find_pairs(SAMPLES)
    assert sources == [Source(name, SAMPLES / f"{name}.jpg", SAMPLES / f"{name}.bmp") for name in NAMES]
    assert lonely == twins == []


def test_pairs_whatever_the_case_and_those_without_a_partner(tmp_path: Path) -> None:
    touch(
        tmp_path,
        "b.JPG",
        "b.bmp",
        "a.jpeg",
        "a.BMP",
        "c.jpg",
        "d.bmp",
        "d.png",
        "e.txt",
        ".f.jpg",
        "f.bmp",
        "g.png",
    )
    sources, lonely, twins, passed = pairs.find_pairs(tmp_path)
    assert sources == [
        Source("a", tmp_path / "a.jpeg", tmp_path / "a.BMP"),
        Source("b", tmp_path / "b.JPG", tmp_path / "b.bmp"),
    ]
    assert sorted(lonely) == ["c.jpg", "d.bmp", "d.png", "f.bmp", "g.png"] and twins == []
    assert passed == ["passed over: 1 .txt, 1 hidden"]


def test_clean_images_are_lossless_before_jpeg(tmp_path: Path) -> None:
    touch(tmp_path, "z.jpg", "b.jpg", "b.PNG", "a.tiff", "c.pgm", "d.txt", ".e.bmp", "y.JPEG")
    chosen = {"a": "a.tiff", "b": "b.PNG", "c": "c.pgm", "y": "y.JPEG", "z": "z.jpg"}
    found = pairs.find_clean(tmp_path)
    assert found.sources == [Source(stem, None, tmp_path / name) for stem, name in chosen.items()]
    assert found.lonely == found.twins == []
    assert pairs.find_clean(SAMPLES).sources == [
        Source(name, None, SAMPLES / f"{name}.bmp") for name in NAMES
    ]


def test_files_of_one_name_are_left_out_and_the_rest_is_taken(tmp_path: Path) -> None:
    touch(tmp_path, "a.jpg", "a.jpeg", "a.bmp", "b.jpg", "b.bmp", "c.jpg", "c.BMP", "c.bmp")
    touch(tmp_path, "d.jpg", "d.JPEG", "e.jpg", "e.png", "e.tif")
    pair = Source("b", tmp_path / "b.jpg", tmp_path / "b.bmp")
    found = pairs.find_pairs(tmp_path)
    assert found.sources == [pair, Source("e", tmp_path / "e.jpg", tmp_path / "e.png")]
    assert sorted(found.lonely) == ["d.JPEG", "d.jpg"]
    assert sorted(found.twins) == ["a.jpeg + a.jpg + a.bmp", "c.jpg + c.BMP + c.bmp"]
    # As clean images: where one is lossless, JPEGs of its name do not matter.
    found = pairs.find_clean(tmp_path)
    assert found.sources == [
        Source("a", None, tmp_path / "a.bmp"),
        Source("b", None, tmp_path / "b.bmp"),
    ]
    assert found.lonely == []
    assert sorted(found.twins) == ["c.BMP + c.bmp", "d.JPEG + d.jpg", "e.png + e.tif"]


def test_partners_of_other_types_where_no_bmp_is(tmp_path: Path) -> None:
    touch(tmp_path, "a.jfif", "a.tif", "a.PNG", "b.jpe", "b.TIFF", "c.jpg_large", "c.bmp", "c.png", "d.jpg")
    touch(tmp_path, "d.tif", "d.tiff", "e.jpg", "e.webp")
    found = pairs.find_pairs(tmp_path)
    wanted = {"a.jfif": "a.PNG", "b.jpe": "b.TIFF", "c.jpg_large": "c.bmp"}
    assert found.sources == [
        Source(jpg[0], tmp_path / jpg, tmp_path / clean) for jpg, clean in wanted.items()
    ]
    assert found.lonely == ["e.jpg"] and found.twins == ["d.jpg + d.tif + d.tiff"]
    assert found.passed == ["passed over: 1 .webp"]


def test_trees_have_names_with_their_folders(tmp_path: Path) -> None:
    (tmp_path / "sub/deep").mkdir(parents=True)
    touch(tmp_path, "a.jpg", "a.bmp", "sub/a.jpg", "sub/a.png", "sub/deep/a.JPG", "sub/deep/b.bmp")
    found = pairs.find_pairs(tmp_path, recursive=True)
    assert found.sources == [
        Source("a", tmp_path / "a.jpg", tmp_path / "a.bmp"),
        Source("sub/a", tmp_path / "sub/a.jpg", tmp_path / "sub/a.png"),
    ]
    assert found.lonely == ["sub/deep/a.JPG", "sub/deep/b.bmp"] and not found.passed
    names = [source.name for source in pairs.find_clean(tmp_path, recursive=True).sources]
    assert names == ["a", "sub/a", "sub/deep/a", "sub/deep/b"]
    found = pairs.find_pairs(tmp_path)
    assert [source.name for source in found.sources] == ["a"]
    assert found.passed == ["4 more pictures lie in the subfolder sub, passed over: --recursive takes them"]


def test_a_pair_of_two_sizes_is_told_by_the_headers(tmp_path: Path) -> None:
    """Neither is decoded: this clean picture has no pixels at all in its file."""
    Image.new("L", (64, 64)).save(tmp_path / "a.jpg")
    head = struct.pack(">IIBBBBB", 22000, 22000, 16, 0, 0, 0, 0)
    chunks = [(b"IHDR", head), (b"IDAT", b""), (b"IEND", b"")]
    data = b"".join(
        struct.pack(">I", len(c)) + n + c + struct.pack(">I", zlib.crc32(n + c)) for n, c in chunks
    )
    (tmp_path / "a.bmp").write_bytes(b"\x89PNG\r\n\x1a\n" + data)
    with pytest.raises(BadImage, match=r"differs in size: JPG 64x64, clean picture 22000x22000$"):
        pairs.read_pair(tmp_path / "a.jpg", tmp_path / "a.bmp")


# ---- reading -------------------------------------------------------------------------------


@pytest.mark.parametrize("name", NAMES)
def test_the_luma_of_a_pair(name: str) -> None:
    decoded, clean, coarseness = pairs.read_pair(SAMPLES / f"{name}.jpg", SAMPLES / f"{name}.bmp")
    assert coarseness == pytest.approx(50 / QUALITIES[name], rel=0.01)
    coded = Image.open(SAMPLES / f"{name}.jpg")
    coded.draft("YCbCr", None)
    wanted = np.asarray(coded)
    np.testing.assert_array_equal(decoded, wanted if wanted.ndim == 2 else wanted[..., 0])
    np.testing.assert_array_equal(clean, luma(f"{name}.bmp"))
    assert decoded.dtype == clean.dtype == np.uint8


def save_pair(folder: Path, jpg: Array, clean: Array, **options: Any) -> tuple[Path, Path]:
    Image.fromarray(jpg).save(folder / "p.jpg", "JPEG", **{"quality": 50, **options})
    Image.fromarray(clean).save(folder / "p.bmp")
    return folder / "p.jpg", folder / "p.bmp"


def test_a_pair_that_does_not_belong_together_is_refused_unless_asked_for(tmp_path: Path) -> None:
    clean = luma("camera.bmp")[:160, 100:260]
    for other in (clean[:, ::-1], np.roll(clean, 1, axis=1), luma("coffee.bmp")[:160, 100:260], 255 - clean):
        paths = save_pair(tmp_path, np.ascontiguousarray(other), clean)
        with pytest.raises(BadImage) as refused:
            pairs.read_pair(*paths)
        said = str(refused.value)
        assert said.startswith("p.jpg: was not made from its clean image") and "--any-pair" in said
        decoded, same, _ = pairs.read_pair(*paths, any_pair=True)
        np.testing.assert_array_equal(decoded, through_jpeg(other, 50))
        np.testing.assert_array_equal(same, clean)


def blocks(contradicting: int, of: int) -> tuple[Array, Array]:
    """A JPG's plane and a clean one of 8x8 blocks with a step in each, this many at another height."""
    block = np.full((8, 8), 90, np.uint8)
    block[:, 4:] = 170
    jpg, clean = np.hstack([block] * of), np.hstack([block] * of)
    for number in range(contradicting):
        clean[:, 8 * number : 8 * number + 8] = block[:, ::-1]
    return jpg, clean


@pytest.mark.parametrize("contradicting, taken", [(0, True), (7, True), (8, True), (9, False), (60, False)])
def test_up_to_8_percent_may_contradict(tmp_path: Path, contradicting: int, taken: bool) -> None:
    paths = save_pair(tmp_path, *blocks(contradicting, 100), quality=90)
    if taken:
        pairs.read_pair(*paths)
        return
    with pytest.raises(BadImage, match=rf"p\.jpg.* {contradicting} % of what can be compared"):
        pairs.read_pair(*paths)


def test_pictures_of_two_sizes_are_refused_even_so(tmp_path: Path) -> None:
    clean = luma("camera.bmp")[:64, :80]
    paths = save_pair(tmp_path, clean, np.ascontiguousarray(clean.T))
    for any_pair in (False, True):
        with pytest.raises(BadImage, match=r"p\.jpg: .*JPG 80x64, clean picture 64x80"):
            pairs.read_pair(*paths, any_pair)


TURNED: dict[
    int, Callable[[Array], Array]
] = {  # by EXIF's orientation: the upright picture, from the coded one
    1: lambda p: p,
    2: lambda p: p[:, ::-1],
    3: lambda p: p[::-1, ::-1],
    4: lambda p: p[::-1],
    5: lambda p: p.T,
    6: lambda p: p[::-1].T,
    7: lambda p: p[::-1, ::-1].T,
    8: lambda p: p.T[::-1],
}


@pytest.mark.parametrize("orientation", TURNED)
def test_a_turned_jpg_and_its_upright_clean_picture_belong_together(tmp_path: Path, orientation: int) -> None:
    """The picture's sides are no multiples of 8: the coded grid begins at another corner than the upright one."""
    coded = luma("camera.bmp")[100:201, 150:293]
    turn = TURNED[orientation]
    exif = Image.Exif()
    exif[0x0112] = orientation
    paths = save_pair(tmp_path, coded, np.ascontiguousarray(turn(coded)), exif=exif)
    decoded, clean, _ = pairs.read_pair(*paths)
    np.testing.assert_array_equal(decoded, turn(through_jpeg(coded, 50)))
    np.testing.assert_array_equal(clean, turn(coded))
    if orientation > 1:
        other = turn(coded)[::-1] if orientation != 4 else turn(coded)[:, ::-1]
        with pytest.raises(BadImage, match="not made from"):
            pairs.read_pair(*save_pair(tmp_path, coded, np.ascontiguousarray(other), exif=exif))


def test_of_a_jpg_that_codes_no_luma_nothing_is_said(tmp_path: Path) -> None:
    clean = np.asarray(Image.open(SAMPLES / "coffee.bmp"))[:96, 100:196]
    paths = save_pair(tmp_path, np.ascontiguousarray(clean[::-1]), clean, keep_rgb=True)
    decoded, _, coarseness = pairs.read_pair(*paths)
    assert coarseness is None
    np.testing.assert_array_equal(decoded, np.asarray(Image.open(paths[0]).convert("L")))


# ---- making --------------------------------------------------------------------------------


@pytest.mark.parametrize("quality", [1, 30, 100])
def test_compressed_in_memory_as_pillow_does(quality: int) -> None:
    plane = luma("coffee.bmp")[:101, :77]
    got = pairs.compress(plane, quality)
    assert got.dtype == np.uint8
    np.testing.assert_array_equal(got, through_jpeg(plane, quality))


def test_saved_before_and_cut_by_the_name() -> None:
    clean = luma("astronaut.bmp")[100:200, 150:290]
    seen, cuts = set(), set()
    for number in range(60):
        name = f"image {number} ä"
        once, cut = pairs.saved_before(clean, [40, 90], name)
        top, left = clean.shape[0] - cut.shape[0], clean.shape[1] - cut.shape[1]
        assert 1 <= top <= 7 and 1 <= left <= 7
        np.testing.assert_array_equal(cut, clean[top:, left:])
        of = [q for q in (40, 90) if np.array_equal(once, through_jpeg(clean, q)[top:, left:])]
        assert len(of) == 1
        seen.add(of[0])
        cuts |= {("top", top), ("left", left)}
        again = pairs.saved_before(clean, [40, 90], name)
        assert all(np.array_equal(a, b) for a, b in zip(again, (once, cut), strict=True))
    assert seen == {40, 90} and len(cuts) == 14


@pytest.mark.parametrize("before", [None, []])
def test_a_pair_for_each_quality(before: list[int] | None) -> None:
    clean = luma("chelsea.bmp")
    made = pairs.made_pairs(Source("chelsea", None, SAMPLES / "chelsea.bmp"), [20, 75], 1, before)
    assert len(made) == 2
    assert [pair.coarseness for pair in made] == pytest.approx([2.5, 0.5], abs=0.01)
    for (jpg, same, _), quality in zip(made, (20, 75), strict=True):
        np.testing.assert_array_equal(same, clean)
        np.testing.assert_array_equal(jpg, through_jpeg(clean, quality))


def test_as_many_more_of_the_picture_as_if_saved_before() -> None:
    clean = luma("camera.bmp")
    made = pairs.made_pairs(Source("camera", None, SAMPLES / "camera.bmp"), [20, 75], 1, [50, 60])
    assert len(made) == 4
    once, cut = pairs.saved_before(clean, [50, 60], "camera")
    assert [pair.coarseness for pair in made] == pytest.approx([2.5, 0.5] * 2, abs=0.01)
    for (jpg, truth, _), quality in zip(made[2:], (20, 75), strict=True):
        np.testing.assert_array_equal(truth, cut)
        np.testing.assert_array_equal(jpg, through_jpeg(once, quality))
    for (jpg, truth, _), quality in zip(made[:2], (20, 75), strict=True):
        np.testing.assert_array_equal(truth, clean)
        np.testing.assert_array_equal(jpg, through_jpeg(clean, quality))


def test_the_picture_made_smaller_first() -> None:
    """Every pixel the mean of shrink x shrink."""
    clean = luma("hubble_deep_field.bmp").astype(float)
    ((jpg, small, _),) = pairs.made_pairs(Source("h", None, SAMPLES / "hubble_deep_field.bmp"), [30], 2, None)
    wanted = clean.reshape(200, 2, 256, 2).mean(axis=(1, 3))
    assert small.shape == (200, 256) and np.abs(small - wanted).max() <= 0.5
    np.testing.assert_array_equal(jpg, through_jpeg(small, 30))


def test_a_clean_image_that_is_none_is_told(tmp_path: Path) -> None:
    (tmp_path / "x.png").write_bytes(b"nothing")
    with pytest.raises(BadImage, match=r"x\.png"):
        pairs.made_pairs(Source("x", None, tmp_path / "x.png"), [30], 1, None)


def test_a_lossless_jpeg_is_no_pair(tmp_path: Path) -> None:
    grey = np.arange(64, dtype=np.uint8).reshape(8, 8)
    (tmp_path / "a.jpg").write_bytes(lossless_jpeg(grey))
    Image.fromarray(grey).save(tmp_path / "a.bmp")
    with pytest.raises(BadImage, match=r"^a.jpg: lossless JPEG: nothing to learn from$"):
        pairs.read_pair(tmp_path / "a.jpg", tmp_path / "a.bmp")
