"""car/images.py: real files of every kind that people have, against Pillow and formulas."""

import io
import os
import re
import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import ROOT
from PIL import Image, ImageCms
from PIL.JpegImagePlugin import JpegImageFile
from reference import CHROMA_50, LUMA_50, Array, cmyk_profile, doubled, lossless_jpeg

from car import coded, images, jpeg, levels
from car.errors import BadImage

SAMPLES = ROOT / "samples"
PROFILE = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


def photograph(width: int, height: int, mode: str = "RGB") -> Image.Image:
    """A part of the sample astronaut."""
    return Image.open(SAMPLES / "astronaut.bmp").crop((150, 60, 150 + width, 60 + height)).convert(mode)


def encoded(image: Image.Image, kind: str = "JPEG", **options: Any) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **({"quality": 50} if kind == "JPEG" else {}), **options)
    return file.getvalue()


def saved(folder: Path, name: str, image: Image.Image, **options: Any) -> Path:
    image.save(folder / name, **options)
    return folder / name


def turned(orientation: int) -> Image.Exif:
    exif = Image.Exif()
    exif[0x0112] = orientation
    return exif


def drafted(data: bytes, halved: bool = False) -> Array:
    """Y, Cb and Cr as libjpeg gives them."""
    image = JpegImageFile(io.BytesIO(data))
    image.draft("YCbCr", (image.width // 2, image.height // 2) if halved else None)
    return np.asarray(image)


def luma_by_formula(pixels: Array) -> Array:
    """JFIF's, rounded."""
    return pixels.astype(np.float64) @ [0.299, 0.587, 0.114]


def reason(path: Path, reader: Callable[..., object] = images.read_jpeg, *limit: int) -> str:
    with pytest.raises(BadImage) as raised:
        reader(path, *limit)
    said = str(raised.value)
    assert said.startswith(f"{path.name}: ") and said.count(path.name) == 1 and "\n" not in said
    return said.removeprefix(f"{path.name}: ")


# ---- JPEGs ---------------------------------------------------------------------------------


def planes_of(path: Path) -> tuple[coded.Plane, ...]:
    picture = images.read_jpeg(path)
    np.testing.assert_array_equal(picture.pixels, np.asarray(Image.open(path)))
    assert all(plane.samples.dtype == np.uint8 for plane in picture.planes)
    assert images.decode_jpeg(path.read_bytes()).pixels.tolist() == picture.pixels.tolist()
    return picture.planes


def assert_planes(planes: tuple[coded.Plane, ...], wanted: list[tuple[Array, Array | None]]) -> None:
    for plane, (samples, table) in zip(planes, wanted, strict=True):
        np.testing.assert_array_equal(plane.samples, samples)
        if table is None:
            assert plane.table is None
        else:
            assert plane.table is not None
            np.testing.assert_array_equal(plane.table, np.reshape(table, (8, 8)))


@pytest.mark.parametrize("size", [(48, 32), (33, 31), (17, 2), (2, 2)])
def test_chroma_of_half_size_comes_as_it_is_coded(tmp_path: Path, size: tuple[int, int]) -> None:
    path = saved(tmp_path, "a.jpg", photograph(*size), quality=50)  # 4:2:0
    data = path.read_bytes()
    luma, half = drafted(data)[..., 0], drafted(data, halved=True)
    assert half.shape[:2] == ((size[1] + 1) // 2, (size[0] + 1) // 2)
    planes = planes_of(path)
    assert_planes(planes, [(luma, LUMA_50), (half[..., 1], CHROMA_50), (half[..., 2], CHROMA_50)])
    # Interpolated they are what the decoder gives at the whole size.
    whole = doubled(planes[1].samples.astype(np.float64), size[1], size[0])
    assert min(size) < 3 or np.abs(whole - drafted(data)[..., 1]).max() < 1


def test_chroma_of_whole_size(tmp_path: Path) -> None:
    path = saved(tmp_path, "a.jpg", photograph(40, 33), quality=50, subsampling=0)
    whole = drafted(path.read_bytes())
    assert_planes(planes_of(path), [(whole[..., n], [LUMA_50, CHROMA_50, CHROMA_50][n]) for n in range(3)])


@pytest.mark.parametrize("size", [(40, 33), (41, 33), (5, 8)])
def test_chroma_that_the_decoder_doubled_across_is_had_back(tmp_path: Path, size: tuple[int, int]) -> None:
    """4:2:2: doubled again, by its definition, it is what the decoder gives, and it keeps its table."""
    path = saved(tmp_path, "a.jpg", photograph(*size), quality=50, subsampling=1)
    whole, planes = drafted(path.read_bytes()), planes_of(path)
    for number in (1, 2):
        plane = planes[number]
        assert plane.samples.shape == (size[1], (size[0] + 1) // 2)
        assert plane.table is not None and plane.table.reshape(-1).tolist() == CHROMA_50.tolist()
        again = doubled(plane.samples.astype(np.float64), size[1], size[0])
        assert np.abs(again - whole[..., number]).max() <= 1.25


def test_chroma_of_other_grids_keeps_its_table() -> None:
    """4:4:0, 4:1:1 and a quarter of the rows: a 4:4:4 file whose header says so; its blocks are then others."""
    data = bytearray(encoded(photograph(64, 64), subsampling=0))
    place = data.index(b"\xff\xc0") + 11
    for sampling, rows, columns in ((0x12, 32, 64), (0x41, 64, 16), (0x14, 16, 64)):
        data[place] = sampling
        whole, planes = drafted(bytes(data)), images.decode_jpeg(bytes(data)).planes
        for number in (1, 2):
            plane = planes[number]
            assert plane.samples.shape == (rows, columns) and plane.table is not None
            if sampling == 0x12:
                again = doubled(plane.samples.astype(np.float64), 64, 64)
                assert np.abs(again - whole[..., number]).max() <= 1.25
            else:
                again = plane.samples.repeat(64 // rows, axis=0).repeat(64 // columns, axis=1)
                np.testing.assert_array_equal(again, whole[..., number])


@pytest.mark.parametrize("size, subsampling", [((40, 1), 2), ((1, 40), 2)])
def test_chroma_that_the_decoder_does_not_give_as_coded_has_no_table(
    tmp_path: Path, size: tuple[int, int], subsampling: int
) -> None:
    path = saved(tmp_path, "a.jpg", photograph(*size), quality=50, subsampling=subsampling)
    whole = drafted(path.read_bytes())
    wanted: list[tuple[Array, Array | None]] = [
        (whole[..., 0], LUMA_50),
        (whole[..., 1], None),
        (whole[..., 2], None),
    ]
    assert_planes(planes_of(path), wanted)


def test_cb_and_cr_may_have_tables_of_their_own(tmp_path: Path) -> None:
    data = bytearray(encoded(photograph(40, 33)))
    data[data.index(b"\xff\xc0") + 18] = 0  # Cr goes by luma's
    (tmp_path / "a.jpg").write_bytes(data)
    tables = [plane.table for plane in planes_of(tmp_path / "a.jpg")]
    for table, wanted in zip(tables, (LUMA_50, CHROMA_50, LUMA_50), strict=True):
        assert table is not None and table.reshape(-1).tolist() == wanted.tolist()


def test_grey(tmp_path: Path) -> None:
    path = saved(tmp_path, "a.jpg", photograph(40, 33, "L"), quality=50)
    assert_planes(planes_of(path), [(np.asarray(Image.open(path)), LUMA_50)])


def test_luma_is_made_where_none_is_coded(tmp_path: Path) -> None:
    path = saved(tmp_path, "a.jpg", photograph(40, 33), quality=50, keep_rgb=True)
    (plane,) = planes_of(path)
    assert np.abs(plane.samples - luma_by_formula(np.asarray(Image.open(path)))).max() < 0.51
    assert plane.table is None


def test_orientation_and_metadata_are_read_and_the_grid_stays(tmp_path: Path) -> None:
    path = saved(tmp_path, "a.jpg", photograph(40, 24), exif=turned(6), icc_profile=PROFILE)
    picture = images.read_jpeg(path)
    assert picture.pixels.shape == (24, 40, 3) and picture.planes[0].samples.shape == (24, 40)
    assert (picture.about.orientation, picture.about.lost) == (6, ())
    assert picture.about.icc_profile == PROFILE and picture.about.exif


def test_cmyk_without_a_profile(tmp_path: Path) -> None:
    path = saved(tmp_path, "a.jpg", photograph(40, 24).convert("CMYK"), quality=90)
    picture = images.read_jpeg(path)
    np.testing.assert_array_equal(picture.pixels, np.asarray(Image.open(path).convert("RGB")))
    assert len(picture.planes) == 1 and picture.planes[0].table is None


def test_cmyk_goes_by_its_profile_which_is_then_used_up(tmp_path: Path) -> None:
    """By the profile cyan prints as Lab (50, -60, 50), a green, and black as black."""
    inks = Image.new("CMYK", (16, 16), (255, 0, 0, 0))
    inks.paste((0, 0, 0, 255), (0, 8, 16, 16))
    path = saved(tmp_path, "a.jpg", inks, quality=100, icc_profile=cmyk_profile())
    assert Image.open(path).info["icc_profile"]
    picture = images.read_jpeg(path)
    assert picture.about.icc_profile is None
    red, green, blue = picture.pixels[2, 2].astype(int)
    assert green > red + 60 and green > blue + 60 and abs(green - 143) < 25  # Lab (50, -60, 50) in sRGB
    assert picture.pixels[14, 2].max() < 12
    np.testing.assert_array_equal(images.read_pixels(path), picture.pixels)


@pytest.mark.parametrize("profile", [b"no profile at all", PROFILE])
def test_cmyk_with_a_profile_that_cannot_be_used_is_read_as_without(tmp_path: Path, profile: bytes) -> None:
    path = saved(tmp_path, "a.jpg", photograph(40, 24).convert("CMYK"), quality=90, icc_profile=profile)
    picture = images.read_jpeg(path)
    np.testing.assert_array_equal(picture.pixels, np.asarray(Image.open(path).convert("RGB")))
    assert picture.about.icc_profile is None
    assert picture.about.noted == ("its ICC profile is none of CMYK, which was read as without one",)


def test_the_first_of_several_pictures(tmp_path: Path) -> None:
    second = photograph(48, 32).transpose(Image.Transpose.ROTATE_180)
    path = saved(tmp_path, "a.jpg", photograph(48, 32), format="MPO", save_all=True, append_images=[second])
    assert Image.open(path).n_frames == 2  # type: ignore[attr-defined]
    first = np.asarray(photograph(48, 32)).astype(int)
    picture = images.read_jpeg(path)
    assert np.abs(picture.pixels - first).mean() < 8 and len(picture.planes) == 3
    # And where the index of the pictures is damaged.
    data = bytearray(path.read_bytes())
    place = data.index(b"MPF\0") + 4
    data[place : place + 8] = b"\xff" * 8
    path.write_bytes(data)
    assert images.read_jpeg(path).pixels.tolist() == picture.pixels.tolist()


def test_a_resolution_in_damaged_exif_is_not_asked_for() -> None:
    """Image.open reads it where JFIF has none; FirstPicture opens the file all the same."""
    exif = Image.Exif()
    exif[0x011A], exif[0x0128] = 300.0, 2
    data = encoded(photograph(16, 16), exif=exif)
    data = data[:2] + data[20:]  # without the JFIF segment
    assert coded.FirstPicture(io.BytesIO(data)).info.get("dpi") is None
    assert images.decode_jpeg(data).about.exif


# ---- without an end ------------------------------------------------------------------------


ENDLESS = {
    "baseline": {},
    "progressive": {"progressive": True},
    "optimized": {"optimize": True, "quality": 95},
    "restarts": {"restart_marker_blocks": 8},  # of grey 7 restarts, after which 0 comes again
    "coarse": {"quality": 10},
}


@pytest.mark.parametrize("mode", ["L", "RGB"])
@pytest.mark.parametrize("options", ENDLESS.values(), ids=ENDLESS)
def test_a_jpeg_that_lacks_its_end_alone_is_read(tmp_path: Path, options: dict[str, Any], mode: str) -> None:
    """Cut anywhere before that it is refused: after a scan, between restarts, in the last code."""
    file, path = io.BytesIO(), tmp_path / "a.jpg"
    photograph(72, 56, mode).save(file, "JPEG", **{"quality": 50, **options})
    data = file.getvalue()
    whole = images.decode_jpeg(data)
    assert data.endswith(b"\xff\xd9") and whole.about.lost == ()
    for end in (data[:-2], data[:-1], data[:-2] + b"\xff\xff", data[:-2] + bytes(5)):
        path.write_bytes(end)
        picture = images.read_jpeg(path)
        np.testing.assert_array_equal(picture.pixels, whole.pixels)
        assert_planes(picture.planes, [(plane.samples, plane.table) for plane in whole.planes])
        assert picture.about.noted == (images.NO_END,)
        np.testing.assert_array_equal(images.read_pixels(path), whole.pixels)
        np.testing.assert_array_equal(images.read_luma(path), whole.planes[0].samples)
    scans = [found.start() for found in re.finditer(b"\xff\xda", data)]
    restarts = [found.start() for found in re.finditer(b"\xff[\xd0-\xd7]", data)]
    for place in (*scans, *restarts, *range(len(data) - 40, len(data) - 2)):
        path.write_bytes(data[:place])
        assert reason(path).startswith(("cannot be decoded: ", "its header is damaged"))


def test_a_lossless_jpeg_that_lacks_its_end(tmp_path: Path) -> None:
    pixels, path = np.asarray(photograph(40, 30)), tmp_path / "a.jpg"
    path.write_bytes(lossless_jpeg(pixels)[:-2])
    picture = images.read_jpeg(path)
    np.testing.assert_array_equal(picture.pixels, pixels)
    assert picture.about.noted == (images.NO_END,)
    path.write_bytes(lossless_jpeg(pixels)[:-3])
    assert reason(path).startswith("cannot be decoded: lossless JPEG")


# ---- what is refused -----------------------------------------------------------------------


def test_what_is_no_file_of_pixels(tmp_path: Path) -> None:
    path = tmp_path / "a.jpg"
    assert "cannot be read: No such file" in reason(path)
    path.mkdir()
    assert "is a folder" in reason(path)
    path.rmdir()
    os.mkfifo(path)  # reading it would wait for ever
    assert "is not a file" in reason(path)
    path.unlink()
    path.touch()
    assert "is empty" in reason(path)
    path.write_bytes(b"\xff\xd8")
    assert reason(path) == "is not a JPEG"


@pytest.mark.parametrize("kind", ["PNG", "BMP", "TIFF", "PPM"])
def test_what_a_foreign_file_is_gets_told(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "a.jpg"
    path.write_bytes(encoded(photograph(8, 8), kind))
    assert reason(path) == f"is not a JPEG but {kind}"
    for start, name in (
        (b"GIF89a", "GIF"),
        (b"RIFF\0\0\0\0WEBPVP8 ", "WebP"),
        (b"\0\0\0\x20ftypavif", "AVIF"),
        (b"\0\0\0\x20ftypheic", "HEIC"),
        (b"\0\0\0\x0cjP  ", "JPEG 2000"),
        (b"<!DOCTYPE html>", "a web page (HTML)"),
        (b"%PDF-1.4", "PDF"),
    ):
        path.write_bytes(start)
        assert reason(path) == f"is not a JPEG but {name}"
    path.write_bytes(b"P7\n")
    assert reason(path) == "is not a JPEG"


def test_damaged_headers_and_pixels(tmp_path: Path) -> None:
    path, data = tmp_path / "a.jpg", encoded(photograph(48, 32))
    path.write_bytes(data[:30])
    assert reason(path).startswith("its header is damaged")
    path.write_bytes(data[:-80])
    said = reason(path)
    assert said.startswith("cannot be decoded: ") and len(said) > 24
    with pytest.raises(OSError):
        images.decode_jpeg(data[:-80])
    path = tmp_path / "a.png"
    path.write_bytes(encoded(photograph(48, 32), "PNG")[:20])
    assert reason(path, images.read_pixels).startswith("its header is damaged")
    path.write_bytes(encoded(photograph(48, 32), "PNG")[:900])
    assert reason(path, images.read_luma).startswith("cannot be decoded: ")
    path.write_bytes(b"GIF89a")
    assert reason(path, images.read_luma) == "is not an image of a known type but GIF"


@pytest.mark.parametrize(
    "marker, bits, components, words",
    [
        (0xC0, 12, 1, "12 bits a sample: not supported"),
        (0xC3, 16, 1, "16 bits a sample: not supported"),
        (0xC0, 8, 2, "2 components: not supported"),
        (0xC5, 8, 1, "is a JPEG of a rare kind, hierarchical: not supported"),
        (0xDE, 8, 1, "is a JPEG of a rare kind, hierarchical: not supported"),
        (0xCD, 8, 1, "is a JPEG of a rare kind, hierarchical with arithmetic coding: not supported"),
        (0xCB, 8, 1, "is a JPEG of a rare kind, lossless with arithmetic coding: not supported"),
    ],
)
def test_rare_kinds_of_jpeg_are_named(
    tmp_path: Path, marker: int, bits: int, components: int, words: str
) -> None:
    data = bytearray(encoded(photograph(16, 8, "L")))
    frame = data.index(b"\xff\xc0")
    data[frame + 1], data[frame + 4], data[frame + 9] = marker, bits, components
    (tmp_path / "a.jpg").write_bytes(data)
    assert reason(tmp_path / "a.jpg") == words
    assert reason(tmp_path / "a.jpg", images.read_luma) == words


@pytest.mark.parametrize("start", [b"\xff\xe0\0\7JFIF\0", b"\xff\xc0\0\4\x08\0", b"\xff\xdb\0"])
def test_damaged_headers_are_said_in_words(tmp_path: Path, start: bytes) -> None:
    """An APP0 that is too short, a frame without its size, a cut: Pillow speaks of buffers there."""
    (tmp_path / "a.jpg").write_bytes(b"\xff\xd8" + start)
    assert reason(tmp_path / "a.jpg") == "its header is damaged or cut"


@pytest.mark.parametrize("mode", ["L", "RGB"])
def test_lossless_jpegs(tmp_path: Path, mode: str) -> None:
    pixels = np.asarray(photograph(40, 30, mode))
    (tmp_path / "a.jpg").write_bytes(lossless_jpeg(pixels))
    picture = images.read_jpeg(tmp_path / "a.jpg")
    np.testing.assert_array_equal(picture.pixels, pixels)
    assert picture.planes == ()
    luma = images.read_coded_luma(tmp_path / "a.jpg")
    assert luma.lossless and luma.table is None
    np.testing.assert_array_equal(luma.samples, levels.luma_of(pixels))
    (tmp_path / "a.jpg").write_bytes(lossless_jpeg(pixels)[:-200])
    assert "cannot be decoded: lossless JPEG" in reason(tmp_path / "a.jpg")


def test_a_fault_without_a_text_is_named_by_its_kind(tmp_path: Path) -> None:
    with (
        pytest.raises(BadImage, match=r"^a.jpg: cannot be decoded: EOFError\(\)$"),
        images.reading("a.jpg"),
    ):
        raise EOFError


def test_the_limit_of_pixels(tmp_path: Path) -> None:
    for name, reader in (
        ("a.jpg", images.read_jpeg),
        ("a.png", images.read_pixels),
        ("a.jpg", images.read_luma),
    ):
        path = saved(tmp_path, name, photograph(40, 30))
        reader(path, 1200)
        assert "40x30 is over the limit of 1199 pixels" in reason(path, reader, 1199)
    with pytest.raises(BadImage, match="--max-pixels"):
        images.decode_jpeg(encoded(photograph(40, 30)), 1199)
    assert images.decode_jpeg(encoded(photograph(40, 30)), 1200).pixels.shape == (30, 40, 3)


def test_a_file_larger_than_its_pixels_can_be_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "a.jpg"
    path.write_bytes(encoded(photograph(8, 8)).ljust(8 * 1000, b"\0"))
    assert images.read_jpeg(path, 1000).pixels.shape == (8, 8, 3)
    assert "has 8000 bytes, more than 999 pixels need" in reason(path, images.read_jpeg, 999)


def test_a_picture_without_pixels() -> None:
    """Where Pillow, as some do, opens one."""
    for size in ((0, 8), (8, 0)):
        with pytest.raises(BadImage, match=f"says {size[0]}x{size[1]}: no pixels"):
            images._check_size(Image.new("L", size), 0)
    images._check_size(Image.new("L", (1, 1)), 1)


def stretched(data: bytes, width: int, height: int) -> bytes:
    """A JPEG whose header says another size."""
    place = data.index(b"\xff\xc0") + 5
    return data[:place] + struct.pack(">HH", height, width) + data[place + 4 :]


def test_a_size_that_the_bytes_cannot_hold(tmp_path: Path) -> None:
    """The limit is 1000 pixels a byte."""
    path, data = tmp_path / "a.jpg", encoded(photograph(8, 8))
    data = data.ljust(700, b"\0")
    path.write_bytes(stretched(data, 1000, 701))
    assert reason(path) == "says 1000x701, which 700 bytes cannot hold"
    path.write_bytes(stretched(data, 1000, 700))
    assert images.read_jpeg(path).pixels.shape == (700, 1000, 3)  # libjpeg fills up what is missing
    plain = encoded(Image.new("RGB", (2048, 2048), "red"), optimize=True)
    assert images.decode_jpeg(plain).pixels.shape == (2048, 2048, 3)  # the emptiest that there is


def test_scans_are_counted_as_the_decoder_finds_them() -> None:
    one, many = encoded(photograph(40, 30)), encoded(photograph(40, 30), progressive=True)
    assert (jpeg.scans_of(one), jpeg.scans_of(many)) == (1, 10)
    assert jpeg.scans_of(encoded(photograph(40, 30, "L"), progressive=True)) == 6
    hidden = encoded(photograph(16, 16), comment=b"\xff\xda" * 50)
    assert hidden.count(b"\xff\xda") == 51 and jpeg.scans_of(hidden) == 1
    assert jpeg.scans_of(one + b"\0\2\xff\xda\0\2") == 1  # behind the end
    assert jpeg.scans_of(b"\xff\xd8\xff\xda\0\0\xff\xda\0\2\xff\x01\xff\xd0\xff\0\xff\xff\xda\0\2") == 3
    assert jpeg.scans_of(b"\xff\xd8\xff\xfe\0\4\xff\xda\xff\xda\0\4\xff\xda\xff\xda") == 2
    assert jpeg.scans_of(b"") == 0


def with_scans(count: int, **options: Any) -> bytes:
    """A grey progressive JPEG with its last scan repeated until there are so many."""
    data = encoded(photograph(16, 16, "L"), progressive=True, **options)
    starts = [found.start() for found in re.finditer(b"\xff\xda", data)]
    last = data[starts[-1] : -2]
    return data[:-2] + last * (count - len(starts)) + data[-2:]


def test_too_many_scans(tmp_path: Path) -> None:
    path = tmp_path / "a.jpg"
    path.write_bytes(with_scans(101))
    assert reason(path) == "has over 100 scans"
    images.decode_jpeg(with_scans(100))
    images.decode_jpeg(with_scans(101, comment=b"\xff\xda"))  # one of which is in the comment
    hidden = encoded(photograph(16, 16), comment=b"\xff\xda" * 150)
    assert images.decode_jpeg(hidden).pixels.shape == (16, 16, 3)


# ---- any image -----------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["a.bmp", "a.png", "a.tif", "a.TIFF", "a.ppm", "a.PNG"])
def test_lossless_types_come_as_they_are(tmp_path: Path, name: str) -> None:
    image = photograph(31, 20)
    path = saved(tmp_path, name, image)
    np.testing.assert_array_equal(images.read_pixels(path), np.asarray(image))
    luma = images.read_luma(path)
    assert luma.dtype == np.uint8 and np.abs(luma - luma_by_formula(np.asarray(image))).max() < 0.51
    coded_luma = images.read_coded_luma(path)
    assert coded_luma.table is None and coded_luma.orientation == 1
    np.testing.assert_array_equal(coded_luma.samples, luma)


@pytest.mark.parametrize("order, big", [("<", False), (">", False), ("<", True)])  # Pillow has not the fourth
def test_tiffs_of_both_orders_and_sizes(tmp_path: Path, order: str, big: bool) -> None:
    path = tmp_path / "a.tif"
    entries = [(256, 2), (257, 2), (258, 8), (259, 1), (262, 1), (273, 4000), (277, 1), (278, 2), (279, 4)]
    head = (b"II" if order == "<" else b"MM") + (
        struct.pack(order + "HHHQQ", 43, 8, 0, 16, len(entries))
        if big
        else struct.pack(order + "HIH", 42, 8, len(entries))
    )
    for tag, value in entries:
        head += struct.pack(order + ("HHQQ" if big else "HHII"), tag, 16 if big else 4, 1, value)
    path.write_bytes((head + bytes(8)).ljust(4000, b"\0") + bytes([1, 2, 3, 250]))
    assert images.read_pixels(path).tolist() == [[1, 2], [3, 250]]


@pytest.mark.parametrize(
    "data, wanted",
    [
        (b"P1 3 1\n1 0 1\n", [[0, 255, 0]]),
        (b"P2 3 1 255\n1 20 255\n", [[1, 20, 255]]),
        (b"P3 1 1 255\n1 20 255\n", [[[1, 20, 255]]]),
        (b"P4 3 1\n\xa0", [[0, 255, 0]]),
        (b"P5 3 1 255\n\1\2\3", [[1, 2, 3]]),
        (b"P6 1 1 255\n\1\2\3", [[[1, 2, 3]]]),
    ],
    ids=range(1, 7),
)
def test_portable_maps(tmp_path: Path, data: bytes, wanted: Any) -> None:
    (tmp_path / "a.pgm").write_bytes(data)
    assert images.read_pixels(tmp_path / "a.pgm").tolist() == wanted


@pytest.mark.parametrize("mode, plain", [("L", "L"), ("LA", "L"), ("1", "L"), ("RGBA", "RGB"), ("P", "RGB")])
def test_every_mode_becomes_grey_or_rgb(tmp_path: Path, mode: str, plain: str) -> None:
    image = photograph(20, 10).convert(mode)
    path = saved(tmp_path, "a.png", image)
    pixels = images.read_pixels(path)
    assert pixels.shape == ((10, 20) if plain == "L" else (10, 20, 3)) and pixels.dtype == np.uint8
    np.testing.assert_array_equal(pixels, np.asarray(image.convert(plain)))


def test_grey_of_16_bits_is_scaled(tmp_path: Path) -> None:
    sixteen = np.array([[0, 128, 129, 385, 386, 65406, 65407, 65535]], np.uint16)
    wanted = [[0, 0, 1, 1, 2, 254, 255, 255]]  # to the nearest; 257 is 1
    path = saved(tmp_path, "a.png", Image.fromarray(sixteen))
    assert images.read_pixels(path).tolist() == wanted == images.read_luma(path).tolist()
    assert images.read_pixels(path).dtype == np.uint8
    path = saved(tmp_path, "a.tif", Image.fromarray(sixteen.astype(np.int32)))
    assert images.read_pixels(path).tolist() == wanted


@pytest.mark.parametrize("level", [-1, 65536])
def test_levels_that_are_no_16_bits(tmp_path: Path, level: int) -> None:
    path = saved(tmp_path, "a.tif", Image.fromarray(np.array([[0, level]], np.int32)))
    assert "outside 0..65535" in reason(path, images.read_pixels)


def test_floating_point_is_refused(tmp_path: Path) -> None:
    path = saved(tmp_path, "a.tif", Image.fromarray(np.ones((2, 2), np.float32)))
    assert "floating-point" in reason(path, images.read_pixels)


def test_the_suffix_says_what_is_read(tmp_path: Path) -> None:
    (tmp_path / "a.JPEG").write_bytes(encoded(photograph(8, 8)))
    assert images.read_pixels(tmp_path / "a.JPEG").shape == (8, 8, 3)
    (tmp_path / "a.png").write_bytes(encoded(photograph(8, 8)))
    assert "not an image of a known type" in reason(tmp_path / "a.png", images.read_pixels)
    (tmp_path / "a.jpg").write_bytes(encoded(photograph(8, 8), "BMP"))
    assert "not a JPEG but BMP" in reason(tmp_path / "a.jpg", images.read_luma)


@pytest.mark.parametrize("name", ["a.jpg", "a.png"])
def test_pixels_and_luma_are_upright_and_coded_luma_is_not(tmp_path: Path, name: str) -> None:
    path = saved(tmp_path, name, photograph(24, 16), exif=turned(6))
    pixels = np.asarray(Image.open(path))
    np.testing.assert_array_equal(images.read_pixels(path), np.rot90(pixels, -1))
    found = images.read_coded_luma(path)
    assert found.orientation == 6 and found.samples.shape == (16, 24)
    np.testing.assert_array_equal(images.read_luma(path), np.rot90(found.samples, -1))
    assert np.abs(found.samples - luma_by_formula(pixels)).max() < 2


def test_luma_of_a_jpeg_is_the_plane_that_it_codes(tmp_path: Path) -> None:
    for name, options in (("a.jpg", {}), ("b.jpg", {"subsampling": 1})):
        path = saved(tmp_path, name, photograph(33, 25), quality=50, **options)
        found = images.read_coded_luma(path)
        np.testing.assert_array_equal(found.samples, drafted(path.read_bytes())[..., 0])
        assert found.table is not None and found.table.reshape(-1).tolist() == LUMA_50.tolist()
        assert (luma_by_formula(np.asarray(Image.open(path))).round() != found.samples).any()
    path = saved(tmp_path, "c.jpg", photograph(33, 25), quality=50, keep_rgb=True)
    found = images.read_coded_luma(path)
    assert found.table is None
    assert np.abs(found.samples - luma_by_formula(np.asarray(Image.open(path)))).max() < 0.51
    path = saved(tmp_path, "d.jpg", photograph(33, 25).convert("CMYK"), quality=50)
    found = images.read_coded_luma(path)
    assert found.table is None
    rgb = np.asarray(Image.open(path).convert("RGB"))
    assert np.abs(found.samples - luma_by_formula(rgb)).max() < 0.51


def test_a_pair_of_two_sizes_is_named() -> None:
    images.check_same_size(Path("folder/a.jpg"), (5, 7), (5, 7))
    for other in ((7, 5), (5, 8), (4, 7)):
        with pytest.raises(BadImage) as raised:
            images.check_same_size(Path("folder/a.jpg"), (5, 7), other)
        said = f"the pair differs in size: JPG 7x5, clean picture {other[1]}x{other[0]}"
        assert str(raised.value) == f"a.jpg: {said}"


@pytest.mark.parametrize("name", ["a.jpg", "a.png", "a.tif", "a.bmp"])
def test_the_size_is_told_by_the_header_upright(tmp_path: Path, name: str) -> None:
    options = {} if name == "a.bmp" else {"exif": turned(6)}
    path = saved(tmp_path, name, photograph(40, 24), **options)
    assert images.size_of(path) == ((40, 24) if options else (24, 40)) == images.read_pixels(path).shape[:2]
    path.write_bytes(path.read_bytes()[:-100])
    assert images.size_of(path) == ((40, 24) if options else (24, 40))
    assert "over the limit" in reason(path, images.size_of, 959)


# ---- pixels --------------------------------------------------------------------------------


def test_luma_by_the_formula() -> None:
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, (50, 60, 3)).astype(np.uint8)
    luma = levels.luma_of(pixels)
    assert luma.dtype == np.uint8 and np.abs(luma - luma_by_formula(pixels)).max() < 0.51
    grey = pixels[..., 0]
    assert levels.luma_of(grey) is grey


def test_pixels_as_a_jpeg() -> None:
    for image in (photograph(40, 30), photograph(40, 30, "L")):
        data = images.jpeg_bytes(np.asarray(image), 50)
        coded_again = JpegImageFile(io.BytesIO(data))
        assert coded_again.quantization[0] == LUMA_50.tolist() and coded_again.mode == image.mode
        assert np.abs(np.asarray(coded_again).astype(int) - np.asarray(image)).mean() < 8
        assert [component[1:3] for component in coded_again.layer] == (
            [(2, 2), (1, 1), (1, 1)] if image.mode == "RGB" else [(1, 1)]
        )


# ---- the depth of 16 bits --------------------------------------------------------------------


def colour_of_16_bits(sixteen: Array) -> bytes:
    """An RGB PNG of 16 bits a sample, which Pillow cannot write: uint16 [H, W, 3]."""
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in sixteen)
    size = struct.pack(">IIBBBBB", sixteen.shape[1], sixteen.shape[0], 16, 2, 0, 0, 0)
    chunks = ((b"IHDR", size), (b"IDAT", zlib.compress(rows)), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
        for name, data in chunks
    )


@pytest.mark.parametrize("name", ["a.png", "a.tif"])
def test_12_bits_of_16_are_found_or_told(tmp_path: Path, name: str) -> None:
    sixteen = np.array([[0, 8, 9, 2048, 4094, 4095]], np.uint16)
    path, found = saved(tmp_path, name, Image.fromarray(sixteen)), levels.Depth()
    assert images.read_pixels(path, depth=found).tolist() == [[0, 0, 1, 128, 255, 255]]
    assert images.read_luma(path).tolist() == [[0, 0, 1, 128, 255, 255]]
    assert found.describe() == "1 of 1 images use 12 of 16 bits: scaled by that (--bits)"
    told = levels.Depth(16)
    assert images.read_pixels(path, depth=told).tolist() == [[0, 0, 0, 8, 16, 16]]
    assert images.read_pixels(path, depth=levels.Depth(14)).tolist() == [[0, 0, 0, 32, 64, 64]]
    assert told.describe() == ""
    with pytest.raises(BadImage, match=r"has grey level 4095, which 11 bits do not hold \(--bits\)"):
        images.read_pixels(path, depth=levels.Depth(11))
    sixteen[0, 0] = 4096
    path = saved(tmp_path, name, Image.fromarray(sixteen))
    assert images.read_pixels(path, depth=found).tolist() == [[16, 0, 0, 8, 16, 16]]
    assert found.describe().startswith("1 of 2 images")


@pytest.mark.parametrize("depth", [None, 9, 16])
def test_a_map_tells_its_own_depth(tmp_path: Path, depth: int | None) -> None:
    """The second one is dark: 255 of 4095 is 4081 of 65535, which is no 12 bits."""
    for sixteen, wanted in (([0, 2048, 4095], [0, 128, 255]), ([0, 16, 255], [0, 1, 16])):
        data = b"P5 3 1 4095\n" + np.array(sixteen, ">u2").tobytes()
        (tmp_path / "a.pgm").write_bytes(data)
        assert images.read_pixels(tmp_path / "a.pgm", depth=levels.Depth(depth)).tolist() == [wanted]
