"""car/metadata.py: what is found beside the pixels, kept as it is, and lost."""

import io
import struct
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageCms
from PIL.PngImagePlugin import PngImageFile
from reference import Tag, cmyk_profile, directory, tiff

from car import metadata
from car.coded import FirstPicture
from car.ifd import ORIENTATION
from car.metadata import Metadata

RGB_PROFILE = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
MAKER, SOFTWARE, ARTIST, MAKER_NOTE, EXIF_IFD, GPS_IFD = 0x010F, 0x0131, 0x013B, 0x927C, 0x8769, 0x8825
ASCII, SHORT, LONG, UNDEFINED = 2, 3, 4, 7

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


# ---- files, byte by byte -------------------------------------------------------------------


def grey_profile() -> bytes:
    """The sRGB profile with another colour space in its header: all that is looked at."""
    return RGB_PROFILE[:16] + b"GRAY" + RGB_PROFILE[20:]


def turn(order: str, value: int, kind: int = SHORT) -> Tag:
    return ORIENTATION, kind, 1, struct.pack(order + ("H" if kind == SHORT else "I"), value)


def text(tag: int, value: bytes) -> Tag:
    return tag, ASCII, len(value), value


def segment(marker: int, data: bytes) -> bytes:
    return bytes([0xFF, marker]) + struct.pack(">H", len(data) + 2) + data


def opened(*segments: bytes, mode: str = "RGB", **options: Any) -> FirstPicture:
    """A JPEG with these segments, as the suite opens one."""
    file = io.BytesIO()
    Image.new(mode, (16, 8)).save(file, "JPEG", **options)
    data = file.getvalue()
    return FirstPicture(io.BytesIO(data[:20] + b"".join(segments) + data[20:]))  # behind the JFIF segment


def with_exif(data: bytes, **options: Any) -> Metadata:
    return metadata.read(opened(segment(0xE1, b"Exif\0\0" + data), **options))


def parsed(exif: bytes, inner: int | None = None) -> dict[int, Any]:
    """What Pillow finds in EXIF that has no fault: it warns of none (a warning is an error in these tests)."""
    found = Image.Exif()
    found.load(exif)
    return dict(found if inner is None else found.get_ifd(inner))


# ---- turning -------------------------------------------------------------------------------


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


# ---- EXIF ----------------------------------------------------------------------------------

pytestmark = pytest.mark.filterwarnings("error")
ORDERS = pytest.mark.parametrize("order", "<>")


@ORDERS
@pytest.mark.parametrize("kind", [SHORT, LONG])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_only_the_value_of_the_orientation_changes(order: str, kind: int, orientation: int) -> None:
    maker, artist = text(MAKER, b"Maker\0"), text(ARTIST, "J\u00fcrgen\0".encode("latin-1") + b"\xc3\xbc\0")
    before, after = (
        tiff(order, directory(order, 8, [maker, turn(order, value, kind), artist]))
        for value in (orientation, 1)
    )
    assert with_exif(before) == Metadata(orientation, b"Exif\0\0" + after)


@pytest.mark.parametrize("orientation", [0, 9, 65535])
def test_an_orientation_that_is_none_turns_nothing(orientation: int) -> None:
    data = tiff("<", directory("<", 8, [turn("<", orientation)]))
    assert with_exif(data) == Metadata(1, b"Exif\0\0" + data)
    text_of_it = tiff("<", directory("<", 8, [(ORIENTATION, ASCII, 2, b"6\0")]))
    assert with_exif(text_of_it) == Metadata(1, b"Exif\0\0" + text_of_it)


def test_the_orientation_of_the_thumbnail_is_not_the_picture_s() -> None:
    first = directory("<", 8, [text(MAKER, b"Maker\0")], following=32)
    data = tiff("<", first, directory("<", 32, [turn("<", 6)]))
    assert len(tiff("<", first)) == 32 and with_exif(data) == Metadata(1, b"Exif\0\0" + data)


def test_two_values_of_one_orientation() -> None:
    data = tiff(">", directory(">", 8, [(ORIENTATION, SHORT, 2, b"\0\6\0\x08")]))
    found = with_exif(data)
    assert found.orientation == 6 and found.exif == b"Exif\0\0" + data.replace(b"\0\6\0\x08", b"\0\1\0\x08")


def nested(order: str, inner: list[Tag], pointer: int = EXIF_IFD, **options: Any) -> bytes:
    """An IFD0 with the maker, orientation 6 and a place of another directory, and that."""
    tags: list[Tag] = [text(MAKER, b"Maker\0"), turn(order, 6), (pointer, LONG, 1, 8 + 2 + 36 + 4 + 6)]
    return tiff(order, directory(order, 8, tags), directory(order, 56, inner, **options))


@ORDERS
@pytest.mark.parametrize("tag, name", [(SOFTWARE, "Software"), (0x0131 + 1, "DateTime"), (0xABCD, "0xabcd")])
@pytest.mark.parametrize("count, offset", [(500, 60_000), (60, 40), (0xFFFFFFFF, 0xFFFFFFFF)])
def test_a_tag_past_the_end_goes_and_the_others_stay(
    order: str, tag: int, name: str, count: int, offset: int
) -> None:
    good: list[Tag] = [text(MAKER, b"Maker\0"), turn(order, 6)]
    data = tiff(order, directory(order, 8, [*good, (tag, ASCII, count, offset), text(0xC000, b"the last\0")]))
    found = with_exif(data)
    assert found.orientation == 6 and found.lost == (f"its EXIF has a damaged tag ({name})",)
    assert parsed(found.exif) == {MAKER: "Maker", ORIENTATION: 1, 0xC000: "the last"}
    assert (
        len(found.exif) == 6 + len(data) and found.exif[-15:] == b"Maker\0the last\0"
    )  # values stay in place


@ORDERS
def test_a_damaged_tag_of_an_inner_directory(order: str) -> None:
    data = nested(order, [text(0x9003, b"2020:01:02 03:04:05\0"), (MAKER_NOTE, UNDEFINED, 5000, 60_000)])
    found = with_exif(data)
    assert found.orientation == 6 and found.lost == ("its EXIF has a damaged tag (MakerNote)",)
    assert parsed(found.exif) == {MAKER: "Maker", ORIENTATION: 1, EXIF_IFD: 56}
    assert parsed(found.exif, EXIF_IFD) == {0x9003: "2020:01:02 03:04:05"}
    gps = nested(order, [(2, 5, 3, 60_000), (1, ASCII, 2, b"N\0")], GPS_IFD)
    found = with_exif(gps)
    assert found.lost == ("its EXIF has a damaged tag (GPSLatitude)",)
    assert parsed(found.exif, GPS_IFD) == {1: "N"}


@pytest.mark.parametrize("pointer, name", [(EXIF_IFD, "ExifOffset"), (GPS_IFD, "GPSInfo")])
def test_a_place_of_a_directory_past_the_end(pointer: int, name: str) -> None:
    for place in (60_000, 0, 7):
        data = tiff("<", directory("<", 8, [turn("<", 8), (pointer, LONG, 1, place)]))
        found = with_exif(data)
        assert (found.orientation, found.lost) == (8, (f"its EXIF has a damaged tag ({name})",))
        assert parsed(found.exif) == {ORIENTATION: 1}


@ORDERS
def test_a_place_of_a_directory_within_other_values_harms_none(order: str) -> None:
    note = b"a text that is no directory, and is long enough to be one of one tag or two"
    tags: list[Tag] = [turn(order, 6), (GPS_IFD, LONG, 1, 60), (0xC000, UNDEFINED, len(note), note)]
    data = tiff(order, directory(order, 8, tags))
    found = with_exif(data)
    assert found.orientation == 6 and found.lost == ("its EXIF has a damaged tag (GPSInfo)",)
    assert parsed(found.exif) == {ORIENTATION: 1, 0xC000: note}


def test_a_makernote_stays_where_it_is() -> None:
    note = bytes(range(200))
    data = nested("<", [(MAKER_NOTE, UNDEFINED, len(note), note)])
    found = with_exif(data)
    assert found.exif.index(note) == 6 + data.index(note) and not found.lost
    assert [a != b for a, b in zip(found.exif[6:], data, strict=True)].count(True) == 1


def test_a_thumbnail_past_the_end() -> None:
    for place, size, whole in ((62, 6, True), (62, 7, False), (60_000, 1, False)):
        first = directory("<", 8, [turn("<", 6)], following=26)
        second = directory(
            "<", 26, [(0x0103, SHORT, 1, 6), (0x0201, LONG, 1, place), (0x0202, LONG, 1, size)]
        )
        data = tiff("<", first, second[:-4] + b"\0\0\0\0")
        assert len(data) == 68
        found = with_exif(data)
        assert found.orientation == 6 and bool(found.lost) is not whole
        assert (found.exif[-4:] == bytes(4)) and (b"\1\2\4\0" in found.exif) is whole
    data = tiff("<", directory("<", 8, [turn("<", 6)], following=60_000))
    found = with_exif(data)
    assert found.lost == ("its EXIF has a damaged tag (thumbnail)",) and parsed(found.exif) == {
        ORIENTATION: 1
    }


@ORDERS
def test_exif_cut_anywhere_behind_the_orientation_turns(order: str) -> None:
    tags: list[Tag] = [turn(order, 6), text(SOFTWARE, b"Software\0"), text(ARTIST, b"An artist\0")]
    whole = tiff(order, directory(order, 8, tags))
    for size in range(22, len(whole)):
        found = with_exif(whole[:size])
        assert found.orientation == 6 and parsed(found.exif).items() <= parsed(
            b"Exif\0\0" + whole
        ).items() | {(ORIENTATION, 1)}
        assert parsed(found.exif)[ORIENTATION] == 1 and len(found.lost) == (0 if size >= len(whole) else 1)
    for size in range(22):
        assert with_exif(whole[:size]) == Metadata(lost=("its EXIF is damaged and was left out",)), size


def test_a_cut_table_that_begins_with_rubbish_turns() -> None:
    data = tiff(
        "<", directory("<", 8, [(MAKER, 0x5555, 6, 60), turn("<", 6), text(ARTIST, b"An artist\0")], cut=20)
    )
    assert with_exif(data) == Metadata(6, lost=("its EXIF is damaged and was left out",))


def test_a_count_of_tags_that_is_wrong() -> None:
    """The table ends where the first value begins."""
    data = bytearray(tiff(">", directory(">", 8, [text(MAKER, b"Maker\0"), turn(">", 6)])))
    data[8:10] = b"\0\x63"
    found = with_exif(bytes(data))
    assert found.orientation == 6 and len(found.lost) == 1
    assert parsed(found.exif) == {MAKER: "Maker", ORIENTATION: 1}


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"II*\0",
        b"not a header at all",
        tiff("<", b"\xff\xff\x0f\x01"),
        b"MM\0*\0\0\xff\0",
        tiff("<", b"\0"),
    ],
)
def test_exif_that_cannot_be_read_is_left_out(data: bytes) -> None:
    found = with_exif(data, icc_profile=RGB_PROFILE)
    assert found == Metadata(icc_profile=RGB_PROFILE, lost=("its EXIF is damaged and was left out",))


def test_directories_that_lead_to_each_other_end() -> None:
    tags: list[Tag] = [
        turn("<", 6),
        *[(EXIF_IFD, LONG, 1, 8)] * 4000,
        (GPS_IFD, LONG, 1, 8),
        (0xC000, 2, 99, 1 << 31),
    ]
    assert with_exif(tiff("<", directory("<", 8, tags, following=8))).orientation == 6


def test_many_damaged_tags_are_not_all_named() -> None:
    tags: list[Tag] = [turn("<", 3), *[(0xC000 + number, ASCII, 9, 60_000) for number in range(7)]]
    (said,) = with_exif(tiff("<", directory("<", 8, tags))).lost
    assert said == "its EXIF has damaged tags: 7 (0xc000, 0xc001, 0xc002, 0xc003, 0xc004, ...)"


def test_exif_in_several_segments() -> None:
    data = tiff("<", directory("<", 8, [turn("<", 6), text(MAKER, b"M" * 100)]))
    parts = [segment(0xE1, b"Exif\0\0" + part) for part in (data[:60], data[60:])]
    found = metadata.read(opened(*parts))
    assert found.orientation == 6 and not found.lost and len(found.exif) == 6 + len(data)
    other = tiff("<", directory("<", 8, [turn("<", 3)]))
    two = metadata.read(opened(*parts, segment(0xE1, b"Exif\0\0" + other)))
    assert two.exif == found.exif and two.lost == ("of several EXIFs the first was taken",)


def test_random_bytes_of_exif_raise_nothing() -> None:
    rng = np.random.default_rng(0)
    good = nested(">", [(MAKER_NOTE, UNDEFINED, 30, bytes(30)), (0xA005, LONG, 1, 56)], following=20)
    for _ in range(3000):
        data = bytearray(good)
        for place in rng.integers(8, len(good), 4):
            data[place] = rng.integers(256)
        found = with_exif(bytes(data))
        assert found.orientation in range(1, 9)
        again = metadata.read(opened(segment(0xE1, found.exif))) if found.exif else found
        assert again.orientation == 1 or not found.exif


def test_the_orientation_of_no_jpeg() -> None:
    file = io.BytesIO()
    Image.new("L", (3, 3)).save(file, "PNG", exif=b"Exif\0\0" + tiff("<", directory("<", 8, [turn("<", 6)])))
    assert metadata.read(PngImageFile(io.BytesIO(file.getvalue()))) == Metadata(6)
    file = io.BytesIO()
    Image.new("L", (3, 3)).save(file, "PNG", exif=b"Exif\0\0rubbish of some length")
    assert metadata.read(PngImageFile(io.BytesIO(file.getvalue()))) == Metadata(1)
    assert metadata.read(Image.new("L", (3, 3))) == Metadata()


# ---- the rest ------------------------------------------------------------------------------

XMP = '<x:xmpmeta xmlns:x="adobe:ns:meta/">J\u00fcrgen</x:xmpmeta>'.encode()
IPTC = b"8BIM\x04\x04\0\0\0\0\0\x0c\x1c\x02\x05\0\x07A title"


def xmp_segment(data: bytes) -> bytes:
    return segment(0xE1, b"http://ns.adobe.com/xap/1.0/\0" + data)


def test_nothing_to_keep() -> None:
    assert metadata.read(opened()) == Metadata() == Metadata(1, b"", None, b"", b"", b"", None, ())


def test_all_that_is_beside_the_pixels() -> None:
    photoshop = segment(0xED, b"Photoshop 3.0\0" + IPTC)
    image = opened(xmp_segment(XMP), photoshop, comment=b"a comment", dpi=(300, 150), icc_profile=RGB_PROFILE)
    found = metadata.read(image)
    assert found == Metadata(1, b"", RGB_PROFILE, XMP, IPTC, b"a comment", (300, 150), ())


def test_xmp_of_several_packets_and_damaged_xmp() -> None:
    extended = segment(0xE1, b"http://ns.adobe.com/xmp/extension/\0" + b"0" * 32 + bytes(8) + b"more")
    for more in (extended, xmp_segment(b"another")):
        found = metadata.read(opened(xmp_segment(XMP + b"\0"), more))
        assert (found.xmp, found.lost) == (XMP, ("of several XMP packets the first was taken",))
    for bad in (b"J\xfcrgen", b"a\0b"):
        found = metadata.read(opened(xmp_segment(bad)))
        assert (found.xmp, found.lost) == (b"", ("its XMP is damaged and was left out",))


def test_further_xmp_without_its_first_packet_is_no_xmp() -> None:
    for more in (b"0" * 32 + bytes(8) + b"more", b"0" * 40 + b"more"):
        found = metadata.read(opened(segment(0xE1, b"http://ns.adobe.com/xmp/extension/\0" + more)))
        assert (found.xmp, found.lost) == (b"", ("its XMP is damaged and was left out",))


def test_photoshop_blocks_without_iptc() -> None:
    other = IPTC.replace(b"\x04\x04", b"\x03\xed")
    assert metadata.read(opened(segment(0xED, b"Photoshop 3.0\0" + other))) == Metadata()


def test_comments() -> None:
    found = metadata.read(opened(segment(0xFE, b"one\0"), segment(0xFE, b""), segment(0xFE, b"two")))
    assert (found.comment, found.lost) == (b"one\ntwo", ())
    found = metadata.read(opened(segment(0xFE, b"a\0b"), segment(0xFE, b"two")))
    assert (found.comment, found.lost) == (b"two", ("its comment is no text and was left out",))


def test_density() -> None:
    def jfif(unit: int, across: int, down: int) -> Metadata:
        data = segment(0xE0, struct.pack(">5sHBHHBB", b"JFIF", 0x0101, unit, across, down, 0, 0))
        return metadata.read(opened(data))

    assert jfif(1, 300, 200).density == (300, 200)
    assert jfif(2, 100, 118).density == pytest.approx((254, 299.72))
    for unit, across, down in ((0, 2, 1), (1, 0, 300), (1, 300, 0), (2, 0, 0), (7, 1, 1)):
        assert jfif(unit, across, down) == Metadata()


@pytest.mark.parametrize(
    "mode, profile, fault",
    [
        ("RGB", RGB_PROFILE, ""),
        ("L", grey_profile(), ""),
        ("RGB", b"rubbish" * 20, "is damaged and"),
        ("L", RGB_PROFILE[:100], "is damaged and"),
        ("L", RGB_PROFILE, "is for RGB, the picture is grey: it"),
        ("RGB", grey_profile(), "is for GRAY, the picture is in colour: it"),
        ("RGB", cmyk_profile(), "is for CMYK, the picture is in colour: it"),
    ],
    ids=[
        "RGB",
        "grey",
        "rubbish",
        "cut",
        "RGB of grey",
        "grey of RGB",
        "CMYK of RGB",
    ],  # a profile has a date
)
def test_a_profile_must_fit_the_picture(mode: str, profile: bytes, fault: str) -> None:
    found = metadata.read(opened(mode=mode, icc_profile=profile))
    assert found.icc_profile == (None if fault else profile)
    assert found.lost == ((f"its ICC profile {fault} was left out",) if fault else ())


def test_the_profile_of_cmyk_is_used_up_by_the_reading() -> None:
    assert metadata.read(opened(mode="CMYK", icc_profile=cmyk_profile())) == Metadata(from_cmyk=True)
    for profile in (b"rubbish" * 20, RGB_PROFILE):
        found = metadata.read(opened(mode="CMYK", icc_profile=profile))
        assert found.noted == ("its ICC profile is none of CMYK, which was read as without one",)


def test_a_profile_of_which_a_part_is_missing() -> None:
    found = metadata.read(opened(segment(0xE2, b"ICC_PROFILE\0\1\2" + RGB_PROFILE)))
    assert (found.icc_profile, found.lost) == (None, ("its ICC profile is damaged and was left out",))


@pytest.mark.parametrize(
    "written", ['tiff:Orientation="%d"', "tiff:Orientation = '%d'", "<tiff:Orientation>%d</tiff:"]
)
@pytest.mark.parametrize("orientation", [1, 3, 6])
def test_what_is_told_of_the_old_grid_is_turned_too(written: str, orientation: int) -> None:
    packet = "a %s b tiff:Orientations='6'"
    exif = segment(0xE1, b"Exif\0\0" + tiff("<", directory("<", 8, [turn("<", orientation)])))
    found = metadata.read(opened(exif, xmp_segment((packet % written % 6).encode()), dpi=(72, 144)))
    assert found.xmp == (packet % written % (6 if orientation == 1 else 1)).encode()
    assert found.density == ((144, 72) if orientation == 6 else (72, 144))


# ---- what formats hold ---------------------------------------------------------------------


@pytest.mark.parametrize(
    "fields, form, said",
    [
        (
            ["exif", "icc_profile"],
            "bmp",
            "BMP holds no EXIF or ICC profile; --format png, jpg, tiff or webp keeps them",
        ),
        (["comment"], "bmp", "BMP holds no comment; --format png, jpg or tiff keeps it"),
        (["exif", "xmp", "iptc"], "bmp", "BMP holds no EXIF, XMP or IPTC; --format jpg or tiff keeps them"),
        (["iptc"], "png", "PNG holds no IPTC; --format jpg or tiff keeps it"),
    ],
)
def test_what_is_said_of_what_is_left(fields: list[str], form: str, said: str) -> None:
    assert metadata.describe_left(fields, form) == said
