"""car/output.py: pictures and their metadata in each format, read back by Pillow and byte by byte."""

import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image
from PIL.PngImagePlugin import PngImageFile
from PIL.TiffImagePlugin import TiffImageFile
from reference import Array, directory, tiff
from test_metadata import ARTIST, IPTC, RGB_PROFILE, XMP, nested, parsed, segment, text, turn, with_exif

from car import images, jpeg, metadata, output
from car.errors import BadImage
from car.metadata import Metadata

EXIF = b"Exif\0\0" + tiff("<", directory("<", 8, [text(ARTIST, "J\u00fcrgen\0".encode())]))
ALL = Metadata(6, EXIF, RGB_PROFILE, XMP, IPTC, b"a comment", (300, 118 * 2.54), ("something",))
DESCRIPTION, SOFTWARE, X_DENSITY, MAKER_NOTE = 0x010E, 0x0131, 0x011A, 0x927C


def noise(*shape: int, dtype: type = np.uint8) -> Array:
    return np.random.default_rng(0).integers(0, np.iinfo(dtype).max + 1, shape).astype(dtype)


def written(pixels: Array, about: Metadata, form: str, quality: int = 95) -> bytes:
    file = io.BytesIO()
    output.write(file, pixels, about, form, quality)
    return file.getvalue()


def opened(data: bytes) -> Image.Image:
    image = Image.open(io.BytesIO(data))
    image.load()
    return image


# ---- all formats ---------------------------------------------------------------------------


@pytest.mark.parametrize("form", ["bmp", "png", "tiff", "webp"])
@pytest.mark.parametrize("shape", [(5, 7), (5, 7, 3), (1, 1), (300, 200, 3)])
def test_pixels_come_back_as_they_were(form: str, shape: tuple[int, ...]) -> None:
    pixels = noise(*shape)
    for about in (Metadata(), ALL):
        found = np.asarray(opened(written(pixels, about, form)))
        np.testing.assert_array_equal(found if found.ndim == pixels.ndim else found[..., 0], pixels)


@pytest.mark.parametrize("form, side", [("webp", 16_383), ("jpg", 65_500)])
def test_the_largest_sides(form: str, side: int) -> None:
    output.check_size(np.zeros((side, 1), np.uint8), form)
    for shape in ((side + 1, 1), (1, side + 1, 3)):
        with pytest.raises(BadImage, match=f"^{shape[1]}x{shape[0]} is too large for {form.upper()}"):
            output.check_size(np.zeros(shape, np.uint8), form)
        output.check_size(np.zeros(shape, np.uint8), "png")


def test_the_largest_tiff() -> None:
    most = np.broadcast_to(np.uint16(0), (60_000, 11_833, 3))
    output.check_size(most, "tiff")
    with pytest.raises(BadImage, match="11834x60100 can have over 4 GiB as TIFF"):
        output.check_size(np.broadcast_to(np.uint16(0), (60_100, 11_834, 3)), "tiff")


# ---- BMP, PNG, WebP ------------------------------------------------------------------------


def png(about: Metadata) -> tuple[PngImageFile, bytes]:
    data = written(noise(2, 3, 3), about, "png")
    image = PngImageFile(io.BytesIO(data))
    image.load()
    return image, data


def test_a_png_holds_all_but_iptc() -> None:
    image, data = png(ALL)
    assert b"eXIf" + EXIF[6:] in data and b"pHYs" + struct.pack(">IIB", 11811, 11800, 1) in data
    assert image.info["icc_profile"] == RGB_PROFILE and image.info["XML:com.adobe.xmp"].encode() == XMP
    assert b"iTXtXML:com.adobe.xmp\0\0\0\0\0" + XMP in data and b"tEXtComment\0a comment" in data
    assert metadata.left_behind(ALL, "png") == ("iptc",)
    plain = png(Metadata(6, lost=("something",)))[1]
    assert not any(kind in plain for kind in (b"eXIf", b"pHYs", b"iCCP", b"tEXt", b"iTXt"))
    assert metadata.left_behind(Metadata(6, lost=("something",)), "png") == ()


@pytest.mark.parametrize(
    "comment, shown",
    [(b"J\xfcrgen", "J\u00fcrgen"), ("J\u00fcrgen".encode(), "J\u00fcrgen"), ("\u6f22".encode(), "\u6f22")],
)
def test_a_comment_of_any_alphabet(comment: bytes, shown: str) -> None:
    assert png(Metadata(comment=comment))[0].text == {"Comment": shown}


def test_a_bmp_holds_the_density_alone() -> None:
    assert struct.unpack_from("<II", written(noise(2, 3), ALL, "bmp"), 38) == (11811, 11800)  # pixels a metre
    assert metadata.left_behind(ALL, "bmp") == ("exif", "icc_profile", "xmp", "iptc", "comment")


def test_a_webp_holds_exif_profile_and_xmp() -> None:
    data = written(noise(2, 3, 3), ALL, "webp")
    assert b"VP8L" in data and b"EXIF" + struct.pack("<I", len(EXIF) - 6) + EXIF[6:] in data
    info = opened(data).info
    assert info["icc_profile"] == RGB_PROFILE and info["xmp"] == XMP
    assert metadata.left_behind(ALL, "webp") == ("iptc", "comment", "density")


def chunks_of(data: bytes) -> list[tuple[bytes, bytes]]:
    """(kind, data) of a PNG's chunks."""
    place, chunks = 8, []
    while place < len(data):
        length, kind = struct.unpack_from(">I4s", data, place)
        held = data[place + 8 : place + 8 + length]
        assert data[place + 8 + length :][:4] == struct.pack(">I", zlib.crc32(kind + held))
        chunks.append((kind, held))
        place += 12 + length
    return chunks


@pytest.mark.parametrize("shape", [(5, 7), (300, 500, 3), (1, 1, 3)])
def test_a_png_of_16_bits_by_the_specification(shape: tuple[int, ...]) -> None:
    pixels = noise(*shape, dtype=np.uint16)
    data, of_8_bits = written(pixels, ALL, "png"), written(pixels.astype(np.uint8), ALL, "png")
    chunks, plain = chunks_of(data), chunks_of(of_8_bits)
    assert data[:8] == of_8_bits[:8] and chunks[0][1] == plain[0][1][:8] + b"\x10" + plain[0][1][9:]
    coded = zlib.decompress(b"".join(held for kind, held in chunks if kind == b"IDAT"))
    rows = np.frombuffer(coded, np.uint8).reshape(shape[0], -1)
    assert (rows[:, 0] == 2).all()
    samples = np.cumsum(rows[:, 1:], axis=0, dtype=np.uint8).view(">u2").reshape(shape)
    np.testing.assert_array_equal(samples, pixels)
    rest = [[chunk for chunk in some[1:] if chunk[0] != b"IDAT"] for some in (chunks, plain)]
    assert rest[0] == rest[1] and len(rest[0]) >= 6  # all metadata
    as_pillow_reads_it = pixels if len(shape) == 2 else pixels >> 8
    np.testing.assert_array_equal(np.asarray(opened(data)), as_pillow_reads_it)


# ---- TIFF ----------------------------------------------------------------------------------


def undone(data: bytes) -> Array:
    """The pixels of a TIFF of one directory, deflated with differences, by the specification."""
    sign = "<" if data.startswith(b"II") else ">"
    (place,) = struct.unpack_from(sign + "I", data, 4)
    (count,) = struct.unpack_from(sign + "H", data, place)
    tags: dict[int, list[int]] = {}
    for entry in range(place + 2, place + 2 + 12 * count, 12):
        tag, kind, values, offset = struct.unpack_from(sign + "HHII", data, entry)
        size = {3: 2, 4: 4}.get(kind, 0) * values
        where = offset if size > 4 else entry + 8
        tags[tag] = list(struct.unpack_from(f"{sign}{values}{'HI'[kind == 4]}", data, where)) if size else []
    assert data[place + 2 + 12 * count :] == bytes(4) and list(tags) == sorted(tags) and place % 2 == 0
    assert (tags[259], tags[317]) == ([8], [2]) and len(set(tags[258])) == 1
    strips = [zlib.decompress(data[at : at + n]) for at, n in zip(tags[273], tags[279], strict=True)]
    rows, dtype = tags[278][0], f"{sign}u{tags[258][0] // 8}"
    assert len(strips) == -(-tags[257][0] // rows)
    samples = np.frombuffer(b"".join(strips), dtype).reshape(tags[257][0], tags[256][0], tags[277][0])
    return np.cumsum(samples, axis=1, dtype=samples.dtype.newbyteorder("="))


@pytest.mark.parametrize("order", "<>")
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("shape", [(5, 7), (300, 500, 3)])
def test_tiff_by_the_specification(order: str, dtype: type, shape: tuple[int, ...]) -> None:
    about = Metadata(exif=b"Exif\0\0" + tiff(order, directory(order, 8, [text(ARTIST, b"J\xfcrgen\0")])))
    pixels = noise(*shape, dtype=dtype)
    data = written(pixels, about, "tiff")
    np.testing.assert_array_equal(undone(data).reshape(shape), pixels)
    found = np.asarray(opened(data))
    if dtype == np.uint16 and len(shape) == 3:
        pixels = (pixels >> 8).astype(np.uint8)  # all that Pillow reads of such a file
    np.testing.assert_array_equal(found, pixels)


@pytest.mark.parametrize("order", "<>")
def test_a_tiff_holds_all(order: str) -> None:
    note = (MAKER_NOTE, 7, 12, b"its own note")
    exif = with_exif(nested(order, [note])).exif
    image = opened(data := written(noise(4, 5, 3), ALL._replace(exif=exif), "tiff"))
    assert isinstance(image, TiffImageFile)
    assert data[8 : len(exif) - 6] == exif[14:]  # so the note lies where it lay
    assert image.getexif().get_ifd(0x8769)[MAKER_NOTE] == b"its own note"
    assert image.tag_v2[0x010F] == "Maker" and image.tag_v2[DESCRIPTION] == "a comment"
    assert image.info["icc_profile"] == RGB_PROFILE and image.info["xmp"] == XMP
    assert image.tag_v2[33723] == IPTC[12:] and image.tag_v2[34377] == IPTC
    assert image.info["dpi"] == (300, pytest.approx(299.72)) and image.size == (5, 4)
    assert metadata.left_behind(ALL, "tiff") == ()


def test_tags_of_the_old_pixels_go_and_the_description_is_kept_beside_the_comment() -> None:
    tags = [
        (0x0100, 4, 1, struct.pack("<I", 9999)),
        (0x0103, 3, 1, struct.pack("<H", 6)),
        text(DESCRIPTION, b"of the camera\0"),
        (X_DENSITY, 5, 1, struct.pack("<II", 72, 1)),
        text(SOFTWARE, b"me\0"),
        (0x0153, 7, 1, b"\0"),  # a format of samples that there is not
        (0x0211, 5, 3, struct.pack("<6I", 299, 1000, 587, 1000, 114, 1000)),
    ]
    about = Metadata(exif=b"Exif\0\0" + tiff("<", directory("<", 8, tags, following=8)), comment=b"mine")
    image = opened(written(noise(4, 5, 3), about, "tiff"))
    assert isinstance(image, TiffImageFile) and getattr(image, "n_frames", 1) == 1
    assert image.size == (5, 4) and image.tag_v2[SOFTWARE] == "me" and image.tag_v2[X_DENSITY] == 72
    assert image.tag_v2[DESCRIPTION] == "of the camera\0mine" and 0x0211 not in image.tag_v2
    short = Metadata(exif=b"Exif\0\0" + tiff("<", directory("<", 8, [text(DESCRIPTION, b"ab\0")])))
    for comment, shown in ((b"c", "ab\0c"), (b"", "ab")):
        image = opened(written(noise(4, 5), short._replace(comment=comment), "tiff"))
        assert isinstance(image, TiffImageFile) and image.tag_v2[DESCRIPTION] == shown


def test_iptc_is_found_among_the_blocks_of_photoshop() -> None:
    other = b"8BIM\x03\xed\x03abc" + struct.pack(">I", 2) + b"xy"
    assert metadata.iptc_of(other + IPTC) == IPTC[12:]
    named = b"8BIM\x04\x04\x02ab\0" + struct.pack(">I", 3) + b"xyz"
    assert metadata.iptc_of(named) == b"xyz"
    assert [metadata.iptc_of(some) for some in (b"", other, b"8BIM\x04\x04")] == [b""] * 3


def test_opacity_beside_16_bits() -> None:
    pixels, alpha = noise(4, 5, 3, dtype=np.uint16), noise(4, 5)
    file = io.BytesIO()
    output.write(file, pixels, Metadata(), "tiff", alpha=alpha)
    found = undone(file.getvalue())
    np.testing.assert_array_equal(found[..., :3], pixels)
    np.testing.assert_array_equal(found[..., 3], alpha.astype(int) * 257)
    file = io.BytesIO()
    output.write(file, pixels, Metadata(), "png", alpha=alpha)
    np.testing.assert_array_equal(np.asarray(opened(file.getvalue()))[..., 3], alpha)


# ---- JPEG ----------------------------------------------------------------------------------


def jpeg_with(exif: bytes, *others: bytes) -> bytes:
    file = io.BytesIO()
    Image.fromarray(noise(16, 24, 3)).save(file, "JPEG", quality=60, dpi=(72, 72))
    data = file.getvalue()
    return data[:20] + segment(0xE1, exif) + b"".join(others) + data[20:]


@pytest.mark.parametrize("orientation", [1, 6])
def test_a_jpeg_lies_as_it_was_coded_with_its_segments(orientation: int) -> None:
    exif = b"Exif\0\0" + tiff(">", directory(">", 8, [turn(">", orientation)]))
    others = [segment(0xFE, b"first"), segment(0xE2, b"ICC_PROFILE\0\1\1rubbish"), segment(0xFE, b"second")]
    data = jpeg_with(exif, *others)
    picture = images.decode_jpeg(data)
    upright = metadata.upright(picture.pixels, picture.about.orientation)
    again = written(upright, picture.about, "jpg", 100)
    length = 20 + len(segment(0xE1, exif)) + sum(map(len, others))
    assert again[:length] == data[:length] and again[length : length + 2] == b"\xff\xdb"
    image = opened(again)
    assert np.abs(np.asarray(image).astype(int) - picture.pixels).max() <= 3
    assert [component[1:3] for component in image.layer] == [(1, 1)] * 3  # type: ignore[attr-defined]
    assert parsed(again[24 : 24 + len(exif)])[0x0112] == orientation
    assert len(written(upright, picture.about, "jpg", 50)) < len(again)


@pytest.mark.parametrize(
    "source, quality",
    [
        (10, 95),
        (80, 95),
        (85, 96),
        (90, 98),
        (93, 98),
        (94, 99),
        (95, 99),
        (96, None),
        (98, None),
        (100, None),
    ],
)
def test_a_finer_file_is_saved_finer_and_a_very_fine_one_not_at_all(source: int, quality: int | None) -> None:
    table = jpeg.table_of_quality(source)
    assert output.jpeg_quality_for(jpeg.coarseness(table, 0)) == quality
    assert output.jpeg_quality_for(None) == 95
    assert [output.coarsest_quality_for(some) for some in (9.0, 5.0, 0.5, 0.1, 0.02)] == [1, 25, 93, 99, 100]


@pytest.mark.parametrize("jfif", [True, False])
def test_a_jpeg_of_cmyk_becomes_one_of_colour(jfif: bool) -> None:
    file = io.BytesIO()
    Image.new("CMYK", (16, 16), (0, 200, 200, 0)).save(file, "JPEG", quality=95)
    adobe = segment(0xEE, b"Adobe\0\x64\0\0\0\0\0")  # transform 0: not YCCK
    data = file.getvalue()
    assert b"\xff\xee" in data
    picture = images.decode_jpeg(data[:2] + segment(0xFE, b"kept") + adobe + data[2:])
    again = written(picture.pixels, picture.about, "jpg")
    assert again[2:10] == segment(0xFE, b"kept") and b"Adobe" not in again
    image = opened(again)
    assert image.mode == "RGB" and np.abs(np.asarray(image).astype(int) - picture.pixels).max() <= 3
