"""car/metadata.py: orientation, EXIF and profile."""

import io
import warnings
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageCms

from car import metadata
from car.images import FirstPicture

PROFILE = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
MAKER, MODEL = 0x010F, 0x0110

# What a viewer does by the EXIF standard: where the picture's first row and first column are to be seen.
TURNS: dict[int, Any] = {
    1: lambda p: p,
    2: lambda p: p[:, ::-1],  # top right
    3: lambda p: p[::-1, ::-1],  # bottom right
    4: lambda p: p[::-1],  # bottom left
    5: lambda p: p.swapaxes(0, 1),  # left top
    6: lambda p: p[::-1].swapaxes(0, 1),  # right top: a quarter clockwise
    7: lambda p: p[::-1, ::-1].swapaxes(0, 1),  # right bottom
    8: lambda p: p[:, ::-1].swapaxes(0, 1),  # left bottom: a quarter anticlockwise
}


def jpeg(exif: Image.Exif | bytes = b"", **options: Any) -> Image.Image:
    file = io.BytesIO()
    Image.new("RGB", (16, 8)).save(file, "JPEG", exif=exif, **options)
    return FirstPicture(
        io.BytesIO(file.getvalue())
    )  # as the suite opens one: Image.open reads the EXIF itself first


def exif_of(orientation: int | None, **more: str) -> Image.Exif:
    exif = Image.Exif()
    if orientation is not None:
        exif[metadata.ORIENTATION] = orientation
    if more:
        exif[MAKER] = more["maker"]
    return exif


def parsed(data: bytes) -> dict[int, Any]:
    exif = Image.Exif()
    exif.load(data)
    return dict(exif)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("colours", [(), (3,)])
def test_upright_and_back(orientation: int, colours: tuple[int, ...]) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (5, 7, *colours)).astype(np.uint8)
    turned = metadata.upright(pixels, orientation)
    assert turned.dtype == np.uint8
    np.testing.assert_array_equal(turned, TURNS[orientation](pixels))
    np.testing.assert_array_equal(metadata.turned_back(turned, orientation), pixels)


def test_a_quarter_turn_clockwise_by_hand() -> None:
    pixels = np.array([[1, 2, 3], [4, 5, 6]], np.uint8)
    assert metadata.upright(pixels, 6).tolist() == [[4, 1], [5, 2], [6, 3]]
    assert metadata.turned_back(np.array([[4, 1], [5, 2], [6, 3]], np.uint8), 6).tolist() == pixels.tolist()


@pytest.mark.parametrize("orientation", range(1, 9))
def test_orientation_is_read_and_the_exif_says_upright(orientation: int) -> None:
    found = metadata.read(jpeg(exif_of(orientation, maker="Maker"), icc_profile=PROFILE))
    assert found.orientation == orientation and not found.exif_lost and found.icc_profile == PROFILE
    assert parsed(found.exif) == {metadata.ORIENTATION: 1, MAKER: "Maker"}


def test_exif_without_an_orientation_gets_none() -> None:
    found = metadata.read(jpeg(exif_of(None, maker="Maker")))
    assert (found.orientation, found.exif_lost, found.icc_profile) == (1, False, None)
    assert parsed(found.exif) == {MAKER: "Maker"}


@pytest.mark.parametrize("orientation", [0, 9, 65535])
def test_an_orientation_that_is_none_turns_nothing(orientation: int) -> None:
    found = metadata.read(jpeg(exif_of(orientation)))
    assert found.orientation == 1 and parsed(found.exif) == {metadata.ORIENTATION: 1}


def test_nothing_to_keep() -> None:
    assert metadata.read(jpeg()) == metadata.Metadata(1, b"", False, None)
    assert metadata.read(Image.new("L", (3, 3))) == metadata.Metadata(1, b"", False, None)


def damaged() -> list[bytes]:
    """EXIF that does not parse, and EXIF of which Pillow drops a tag with a warning."""
    good = exif_of(6, maker="Maker of cameras").tobytes()
    cut = good[:-12]  # ends within the maker's name
    return [b"Exif\0\0II*\0\x08\0\0\0\xff\xff\x0f\x01", cut, b"Exif\0\0not a header at all"]


@pytest.mark.parametrize("number", range(3))
def test_damaged_exif_is_left_out_whole_and_told(number: int) -> None:
    image = jpeg(damaged()[number], icc_profile=PROFILE)
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        assert metadata.read(image) == metadata.Metadata(1, b"", True, PROFILE)
    assert [w for w in seen if "EXIF" in str(w.message)] == []


def test_a_warning_of_what_is_not_lost_changes_nothing() -> None:
    """The orientation is there twice: Pillow warns, and takes the first."""
    exif = bytearray(exif_of(6).tobytes())
    place = exif.index(b"\x01\x12\x00\x03") + 4
    exif[place : place + 8] = b"\0\0\0\2\0\x06\0\x08"
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        found = metadata.read(jpeg(bytes(exif)))
    assert (found.orientation, found.exif_lost) == (6, False)
    assert [w for w in seen if "too many entries" in str(w.message)]


def test_the_filters_of_warnings_are_as_before() -> None:
    before = list(warnings.filters)
    metadata.read(jpeg(exif_of(6)))
    assert list(warnings.filters) == before


def test_what_a_png_is_given() -> None:
    assert metadata.kept(metadata.Metadata(6, b"exif", False, b"icc")) == {
        "exif": b"exif",
        "icc_profile": b"icc",
    }
    assert metadata.kept(metadata.Metadata(1, b"", False, None)) == {}
    assert metadata.kept(metadata.Metadata(1, b"", True, b"icc")) == {"icc_profile": b"icc"}
    assert metadata.kept(metadata.Metadata(1, b"e", False, None)) == {"exif": b"e"}
