"""Pictures of other types than JPEG: car/foreign.py, and images.read_picture, which asks it."""

import io
import random
import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import ROOT, run
from PIL import Image, ImageCms
from PIL.PngImagePlugin import PngInfo
from reference import Array, Tag, cmyk_profile, directory, tiff
from test_images import colour_of_16_bits

from car import find, foreign, ifd, images, levels, metadata, output
from car.correct import NO_GAINS, Corrector, Net
from car.errors import BadImage

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning:PIL")  # as the scripts do
ALL = tuple(find.OTHER_TYPES)
PROFILE = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
ORIENTATION, MAKER, ARTIST, EXIF_IFD, GPS_IFD, MAKER_NOTE = 0x0112, 0x010F, 0x013B, 0x8769, 0x8825, 0x927C
ASCII, SHORT, LONG, RATIONAL, UNDEFINED = 2, 3, 4, 5, 7
NAME = "Jürgen".encode()


def photograph(width: int, height: int, mode: str = "RGB") -> Image.Image:
    return Image.open(ROOT / "samples/astronaut.bmp").crop((150, 60, 150 + width, 60 + height)).convert(mode)


def with_alpha(mode: str) -> Image.Image:
    image = photograph(40, 24, mode)
    image.putalpha(Image.linear_gradient("L").resize(image.size))
    return image


def encoded(image: Image.Image, kind: str, **options: Any) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **({"lossless": True, "exact": True} if kind == "WEBP" else {}), **options)
    return file.getvalue()


def decoded(data: bytes, *types: str) -> images.Decoded:
    return images.decode_picture(data, types or ALL)


def exif_of(**turned: Any) -> Image.Exif:
    exif = Image.Exif()
    exif[ORIENTATION], exif[ARTIST] = 6, NAME
    return exif


def parsed(exif: bytes, inner: int | None = None) -> dict[int, Any]:
    found = Image.Exif()
    found.load(exif)
    return dict(found if inner is None else found.get_ifd(inner))


# ---- pixels --------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["PNG", "WEBP", "TIFF", "BMP"])
@pytest.mark.parametrize("mode", ["RGB", "P", "L", "1"])
def test_pixels_come_as_they_are(kind: str, mode: str) -> None:
    image = photograph(40, 24, mode)
    picture = decoded(encoded(image, kind), kind.lower())
    is_grey = mode in ("L", "1") and kind != "WEBP"  # which has none
    np.testing.assert_array_equal(picture.pixels, np.asarray(image.convert("L" if is_grey else "RGB")))
    luma = [(levels.luma_of(picture.pixels).tolist(), None)]
    luma = [] if mode == "1" and is_grey else luma  # black and white alone are not corrected
    assert [(plane.samples.tolist(), plane.table) for plane in picture.planes] == luma
    assert (picture.alpha, picture.white, picture.about.lost) == (None, 255, ())


@pytest.mark.parametrize("kind", ["PNG", "WEBP", "TIFF"])
@pytest.mark.parametrize("mode", ["RGB", "L"])
def test_transparency_is_kept_beside_the_pixels(kind: str, mode: str) -> None:
    image = with_alpha(mode)
    picture = decoded(encoded(image, kind))
    opaque = np.asarray(image.convert(mode))
    if kind == "WEBP" and mode == "L":
        opaque = opaque[..., np.newaxis].repeat(3, axis=2)
    np.testing.assert_array_equal(picture.pixels, opaque)
    np.testing.assert_array_equal(picture.alpha, np.asarray(image.getchannel("A")))


def test_transparency_of_a_palette_and_of_one_colour() -> None:
    palette = Image.fromarray(np.array([[0, 1, 2]], np.uint8), "P")
    palette.putpalette([10, 20, 30, 40, 50, 60, 70, 80, 90])
    picture = decoded(encoded(palette, "PNG", transparency=bytes([0, 99, 255])))
    assert picture.pixels.tolist() == [[[10, 20, 30], [40, 50, 60], [70, 80, 90]]]
    assert picture.alpha is not None and picture.alpha.tolist() == [[0, 99, 255]]
    grey = Image.fromarray(np.array([[5, 6]], np.uint8))
    picture = decoded(encoded(grey, "PNG", transparency=6))
    assert picture.alpha is not None and picture.alpha.tolist() == [[255, 0]]
    assert decoded(encoded(photograph(9, 9).convert("RGBA"), "PNG")).alpha is None  # all opaque


def plain_tiff(order: str, samples: Array) -> bytes:
    """A TIFF of 16 bits a sample, not compressed: uint16 [H, W, 3 or 4]."""
    height, width, colours = samples.shape

    def number(tag: int, value: int) -> Tag:
        return tag, 4, 1, struct.pack(order + "I", value)

    def whole(place: int) -> bytes:
        tags = [
            number(256, width),
            number(257, height),
            (258, 3, colours, struct.pack(f"{order}H", 16) * colours),
        ]
        tags += [(259, 3, 1, struct.pack(f"{order}H", 1)), (262, 3, 1, struct.pack(f"{order}H", 2))]
        tags += [number(273, place), (277, 3, 1, struct.pack(f"{order}H", colours)), number(278, height)]
        tags += [number(279, samples.nbytes)]
        tags += [(338, 3, 1, struct.pack(f"{order}H", 2))] if colours == 4 else []
        return tiff(order, directory(order, 8, tags))

    return whole(len(whole(0))) + samples.astype(f"{order}u2").tobytes()


@pytest.mark.parametrize("form", ["png", "<", ">", "<deflated", ">deflated"])
@pytest.mark.parametrize("colours", [3, 4])
def test_colour_of_16_bits_stays_so(form: str, colours: int) -> None:
    sixteen = np.random.default_rng(0).integers(0, 65536, (20, 30, colours)).astype(np.uint16)
    if form in ("<", ">"):
        data = plain_tiff(form, sixteen)
    elif form == "png" and colours == 3:
        data = colour_of_16_bits(sixteen)
    else:  # by our own writer, which tests/test_output.py holds against the specifications
        order, file = "<" if form == "png" else form[0], io.BytesIO()
        exif = b"Exif\0\0" + tiff(order, directory(order, 8, [(ARTIST, ASCII, 2, b"n\0")]))
        output.write(file, sixteen, metadata.Metadata(exif=exif), "png" if form == "png" else "tiff")
        data = file.getvalue()
    picture = decoded(data)
    np.testing.assert_array_equal(picture.pixels, sixteen[..., :3])
    assert picture.pixels.dtype == np.uint16 and picture.white == 65535
    if colours == 4:
        np.testing.assert_array_equal(picture.alpha, sixteen[..., 3] >> 8)
        assert picture.about.noted == ("of its transparency 8 of 16 bits were read",)
    else:
        assert picture.alpha is None and picture.about.noted == ()
    luma = levels.luma_of(np.rint(sixteen[..., :3] / 257).astype(np.uint8))
    np.testing.assert_array_equal(picture.planes[0].samples, luma)


def test_grey_of_16_bits_with_transparency_is_read_as_8() -> None:
    sixteen = np.random.default_rng(0).integers(4096, 65536, (4, 5, 2)).astype(np.uint16)
    file = io.BytesIO()
    output.write(file, sixteen, metadata.Metadata(), "png")
    picture = decoded(file.getvalue())
    assert (picture.pixels == sixteen[..., :1] >> 8).all() and picture.white == 255  # Pillow makes it colour
    assert picture.about.noted[0] == "its 16 bits were read as 8"


def test_colours_that_are_multiplied_by_their_opacity() -> None:
    """A TIFF can say that they are (associated alpha); a viewer divides them by it."""
    file = io.BytesIO()
    output.write(
        *(file, np.full((2, 2, 3), (100, 50, 25), np.uint8), metadata.Metadata(), "tiff"),
        alpha=np.full((2, 2), 128, np.uint8),
    )
    before, after = (struct.pack("<HHII", 338, SHORT, 1, value) for value in (2, 1))
    assert file.getvalue().count(before) == 1
    picture = decoded(file.getvalue().replace(before, after))
    assert picture.alpha is not None and picture.alpha.tolist() == [[128] * 2] * 2
    assert np.abs(picture.pixels - np.array([100, 50, 25]) * 255 / 128).max() <= 1


@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
def test_grey_of_16_bits_stays_so(kind: str) -> None:
    sixteen = np.array([[0, 128, 129, 65407, 65535]], np.uint16)
    picture = decoded(encoded(Image.fromarray(sixteen), kind))
    assert picture.pixels.dtype == np.uint16 and picture.pixels.tolist() == sixteen.tolist()
    assert picture.white == 65535 and picture.planes[0].samples.tolist() == [[0, 0, 1, 255, 255]]
    depth = levels.Depth()
    images.decode_picture(encoded(photograph(9, 9), kind), ALL, depth=depth)  # of 8 bits, which do not count
    picture = images.decode_picture(encoded(Image.fromarray(sixteen >> 4), kind), ALL, depth=depth)
    assert picture.white == 4095 and picture.planes[0].samples.tolist() == [[0, 0, 0, 255, 255]]
    assert picture.pixels.tolist() == (sixteen >> 4).tolist()
    assert depth.describe() == "1 of 1 images use 12 of 16 bits: scaled by that (--bits)"


def test_grey_of_16_bits_in_which_0_is_white() -> None:
    """A TIFF can say so; of 8 bits Pillow minds it."""
    data = made_tiff("<", [])
    data = data[:4000] + struct.pack("<4H", 0, 1000, 60000, 65535)
    for tag, old, new in ((258, 8, 16), (262, 1, 0), (279, 4, 8)):
        kind = LONG if tag == 279 else SHORT
        before, after = (struct.pack("<HHII", tag, kind, 1, value) for value in (old, new))
        assert data.count(before) == 1
        data = data.replace(before, after)
    picture = decoded(data)
    assert picture.pixels.tolist() == [[65535, 64535], [5535, 0]] and picture.pixels.dtype == np.uint16


def test_cmyk_by_its_profile_and_floating_point() -> None:
    inks = photograph(40, 24).convert("CMYK")
    picture = decoded(encoded(inks, "TIFF"))
    np.testing.assert_array_equal(picture.pixels, np.asarray(inks.convert("RGB")))
    picture = decoded(encoded(inks, "TIFF", icc_profile=cmyk_profile()))
    assert (picture.pixels != np.asarray(inks.convert("RGB"))).any() and picture.about.icc_profile is None
    with pytest.raises(BadImage, match="floating-point"):
        decoded(encoded(Image.fromarray(np.ones((2, 2), np.float32)), "TIFF"))


@pytest.mark.parametrize("kind", ["PNG", "WEBP", "TIFF"])
def test_of_several_pictures_the_first(kind: str) -> None:
    first, second = photograph(40, 24), photograph(40, 24).transpose(Image.Transpose.ROTATE_180)
    picture = decoded(encoded(first, kind, save_all=True, append_images=[second]))
    np.testing.assert_array_equal(picture.pixels, np.asarray(first))
    assert picture.about.behind == ("further pictures (pages or frames)",)


# ---- what a file is ------------------------------------------------------------------------


def test_the_bytes_say_what_a_picture_is(tmp_path: Path) -> None:
    """A JPEG is corrected as one whatever its name; a PNG only where PNGs are taken, whatever its name."""
    path, image = tmp_path / "a.png", photograph(40, 24)
    path.write_bytes(encoded(image, "JPEG"))
    assert len(images.read_picture(path, ["png"]).planes) == 3
    path = tmp_path / "a.jpg"
    path.write_bytes(encoded(image, "PNG"))
    assert images.read_picture(path, ["bmp", "png"]).pixels.tolist() == np.asarray(image).tolist()
    for types in ((), ("bmp", "tiff", "webp")):
        with pytest.raises(BadImage, match=r"^a.jpg: is not a JPEG but PNG \(--input-types png takes it\)$"):
            images.read_picture(path, types)
    path.write_bytes(b"GIF89a")
    with pytest.raises(BadImage, match=r"^a.jpg: is not a JPEG but GIF$"):
        images.read_picture(path, ALL)


@pytest.mark.parametrize("kind", ["PNG", "WEBP", "TIFF", "BMP"])
def test_the_limit_of_pixels(kind: str) -> None:
    data = encoded(photograph(40, 30), kind)
    assert images.decode_picture(data, ALL, 1200).pixels.shape == (30, 40, 3)
    with pytest.raises(BadImage, match="40x30 is over the limit of 1199 pixels"):
        images.decode_picture(data, ALL, 1199)


def test_pillows_own_limit_is_lifted_by_scripts_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    data = encoded(photograph(40, 30), "TIFF")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 500)
    with images.reading(), pytest.raises(Image.DecompressionBombError):
        decoded(data)
    with pytest.raises(BadImage, match="more pixels than Pillow reads"), images.reading():
        decoded(data)
    images.lift_limit_of_pillow()
    assert decoded(data).pixels.shape == (30, 40, 3)


# ---- metadata ------------------------------------------------------------------------------


def test_metadata_of_a_png() -> None:
    texts = PngInfo()
    texts.add_itxt("XML:com.adobe.xmp", "<x:xmpmeta/>")
    texts.add_text("Comment", "Grüße")
    texts.add_text("Software", "a screen", zip=True)
    texts.add_itxt("Titel", "ō")
    options = {"pnginfo": texts, "dpi": (300, 200), "exif": exif_of(), "icc_profile": PROFILE}
    about = decoded(encoded(photograph(40, 24), "PNG", **options)).about
    assert about.orientation == 6 and parsed(about.exif)[ORIENTATION] == 1 and NAME in about.exif
    assert (about.icc_profile, about.xmp) == (PROFILE, b"<x:xmpmeta/>")
    assert about.comment.decode() == "Grüße" and about.texts == (("Software", "a screen"), ("Titel", "ō"))
    assert about.density == pytest.approx((200, 300), abs=0.02) and about.lost == ()  # turned too


def test_texts_stay_in_a_png_and_are_named_elsewhere() -> None:
    about = metadata.Metadata(comment=b"a", texts=(("Software", "a screen"), ("Titel", "ō")))
    found = decoded(written(about, "png")[1]).about
    assert (found.comment, found.texts) == (about.comment, about.texts)
    assert metadata.left_behind(about, "png") == () and metadata.left_behind(about, "tiff") == ("texts",)
    only = about._replace(comment=b"")
    assert decoded(written(only, "png")[1]).about == only


def chunked(png: bytes, *chunks: tuple[bytes, bytes]) -> bytes:
    """A PNG with further chunks behind its header."""
    whole = [struct.pack(">I", len(d)) + k + d + struct.pack(">I", zlib.crc32(k + d)) for k, d in chunks]
    return png[:33] + b"".join(whole) + png[33:]


def test_what_the_colours_of_a_png_mean() -> None:
    """Gamma and primaries stay in a PNG, and are named elsewhere; those of sRGB say nothing more."""
    plain = encoded(photograph(9, 9), "PNG")
    linear, wide = (b"gAMA", struct.pack(">I", 100_000)), (b"cHRM", bytes(range(32)))
    usual = (b"gAMA", foreign.SRGB_GAMMA), (b"cHRM", foreign.SRGB_PRIMARIES)
    about = decoded(chunked(plain, linear, wide)).about
    assert about.colours == (linear, wide)
    assert decoded(written(about, "png")[1]).about == about
    assert metadata.left_behind(about, "tiff") == ("colours",) and metadata.left_behind(about, "png") == ()
    assert decoded(chunked(plain, usual[0], wide)).about.colours == (usual[0], wide)
    for chunks in (usual, usual[:1], [(b"sRGB", b"\0"), linear]):
        assert decoded(chunked(plain, *chunks)).about.colours == ()
    profile = encoded(photograph(9, 9), "PNG", icc_profile=PROFILE)
    assert decoded(chunked(profile, linear)).about.colours == ()  # the profile goes before them


def test_exif_that_a_png_holds_as_text() -> None:
    """As ImageMagick writes it."""
    exif, texts = exif_of().tobytes(), PngInfo()
    texts.add_text("Raw profile type exif", f"\nexif\n{len(exif):8}\n{exif.hex()}\n", zip=True)
    about = decoded(encoded(photograph(40, 24), "PNG", pnginfo=texts)).about
    assert about.orientation == 6 and NAME in about.exif and about.comment == b""
    texts.add_text("Raw profile type exif", "\nexif\n9\nno digits\n")
    about = decoded(encoded(photograph(40, 24), "PNG", pnginfo=texts)).about
    assert (about.exif, about.lost) == (b"", ("its EXIF is damaged and was left out",))


def test_metadata_of_a_webp() -> None:
    options: dict[str, Any] = {"exif": exif_of(), "icc_profile": PROFILE, "xmp": b"<x:xmpmeta/>"}
    about = decoded(encoded(photograph(40, 24), "WEBP", **options)).about
    assert about.orientation == 6 and parsed(about.exif)[ORIENTATION] == 1 and NAME in about.exif
    assert (about.icc_profile, about.xmp, about.lost) == (PROFILE, b"<x:xmpmeta/>", ())


def test_metadata_of_a_bmp() -> None:
    about = decoded(encoded(photograph(40, 24), "BMP", dpi=(300, 300))).about
    assert about.density == pytest.approx((300, 300), abs=0.02)
    assert about._replace(density=None) == metadata.Metadata()


def made_tiff(order: str, further: list[Tag]) -> bytes:
    """A grey TIFF of 2x2 pixels with further tags; an inner directory is made of (tag, LONG, 1, [its tags])."""
    sizes: list[Tag] = [
        (256, SHORT, 1, struct.pack(order + "H", 2)),
        (257, SHORT, 1, struct.pack(order + "H", 2)),
    ]
    sizes += [(258, SHORT, 1, struct.pack(order + "H", 8)), (262, SHORT, 1, struct.pack(order + "H", 1))]
    sizes += [(278, SHORT, 1, struct.pack(order + "H", 2)), (279, LONG, 1, 4), (273, LONG, 1, 4000)]
    data, place = b"", 2000
    tags = sizes
    for tag, kind, count, value in further:
        if isinstance(value, list):
            inner = directory(order, place + len(data), value)
            value = place + len(data)
            data += inner
        tags.append((tag, kind, count, value))
    start = (b"II*\0" if order == "<" else b"MM\0*") + struct.pack(order + "I", 8)
    start += directory(order, 8, sorted(tags, key=lambda tag: tag[0]))
    assert len(start) <= place
    return (start.ljust(place, b"\0") + data).ljust(4000, b"\0") + bytes([1, 2, 3, 250])


@pytest.mark.parametrize("order", ["<", ">"])
def test_the_tags_of_a_tiff_become_exif(order: str) -> None:
    """Those that tell of the pixels stay away; values are kept byte for byte."""
    xmp = b"<x:xmpmeta tiff:Orientation='6'/>"
    note, iptc = bytes(range(1, 40)), b"\x1c\2\0\0\2\0\4\0"
    data = made_tiff(
        order,
        [
            (ORIENTATION, SHORT, 1, struct.pack(order + "H", 6)),
            (MAKER, ASCII, 2, b"M\0"),
            (ARTIST, ASCII, len(NAME), NAME),
            (700, 1, len(xmp), xmp),
            (282, RATIONAL, 1, struct.pack(order + "II", 300, 1)),
            (283, RATIONAL, 1, struct.pack(order + "II", 200, 1)),
            (33723, LONG, 2, iptc),  # as some write it
            (EXIF_IFD, LONG, 1, [(MAKER_NOTE, UNDEFINED, len(note), note)]),  # type: ignore[list-item]
            (GPS_IFD, LONG, 1, [(1, ASCII, 2, b"N\0")]),  # type: ignore[list-item]
        ],
    )
    picture = decoded(data)
    assert picture.pixels.tolist() == [[3, 1], [250, 2]]  # upright: Pillow has turned them
    about = picture.about
    assert (about.orientation, about.xmp, about.lost) == (1, xmp.replace(b"6", b"1"), ())
    assert about.density == (200, 300)  # turned too
    assert about.iptc == b"8BIM\4\4\0\0\0\0\0\x08" + iptc
    found = parsed(about.exif)
    assert set(found) == {MAKER, ARTIST, EXIF_IFD, GPS_IFD} and found[MAKER] == "M"
    assert NAME in about.exif and parsed(about.exif, EXIF_IFD) == {MAKER_NOTE: note}
    assert parsed(about.exif, GPS_IFD) == {1: "N"}
    assert about.exif[6:10] == data[:4]


def test_damaged_tags_of_a_tiff_are_left_out_and_said() -> None:
    far = (ARTIST, ASCII, 100, 3950)
    about = decoded(made_tiff("<", [far, (MAKER, ASCII, 2, b"M\0"), (EXIF_IFD, LONG, 1, 9999)])).about
    assert parsed(about.exif) == {MAKER: "M"}
    assert about.lost == ("its EXIF has a damaged directory (Exif)", "its EXIF has damaged tags: 1 (0x013b)")


@pytest.mark.parametrize("inner", [False, True])
def test_many_tags_with_the_same_values_are_refused(inner: bool) -> None:
    """Pillow 11 reads them all: 20,000 tags in 300 KB took 4 GB."""
    for count in (1, 2):
        tags: list[Tag] = [(40000 + number, UNDEFINED, 3000, 100) for number in range(count)]
        data = made_tiff("<", [(EXIF_IFD, LONG, 1, tags)] if inner else tags)  # type: ignore[list-item]
        if count == 1:
            assert len(decoded(data).about.exif) > 3000
    with pytest.raises(BadImage, match="its tags have more bytes than the file"):
        decoded(data)


def test_iptc_and_a_big_tiff() -> None:
    for blocks, wanted in ((b"8BIM\4\4abcdefgh", True), (b"8BIM\4\1abcdefgh", False)):
        about = decoded(made_tiff("<", [(34377, 1, len(blocks), blocks)])).about
        assert about.iptc == (blocks if wanted else b"") and about.exif == b""
    odd = decoded(made_tiff("<", [(33723, UNDEFINED, 5, b"\x1c\2\0\0\0")])).about.iptc
    assert odd == b"8BIM\4\4\0\0\0\0\0\5\x1c\2\0\0\0\0"
    entries = [(256, 2), (257, 2), (258, 8), (259, 1), (262, 1), (273, 4000), (277, 1), (278, 2), (279, 4)]
    big = b"II" + struct.pack("<HHHQQ", 43, 8, 0, 16, len(entries))
    big += b"".join(struct.pack("<HHQQ", tag, 16, 1, value) for tag, value in entries)
    big = big.ljust(4000, b"\0") + bytes([1, 2, 3, 250])
    assert decoded(big).pixels.tolist() == [[1, 2], [3, 250]]
    assert decoded(big).about.lost == ("EXIF and IPTC of a BigTIFF (for over 4 GiB) were left out",)


def test_the_density_of_a_tiff() -> None:
    assert decoded(encoded(photograph(9, 9), "TIFF", dpi=(300, 200))).about.density == (300, 200)
    assert decoded(encoded(photograph(9, 9), "TIFF", compression="tiff_lzw")).about.density is None


def test_a_damaged_profile_is_left_out() -> None:
    about = decoded(encoded(photograph(9, 9), "PNG", icc_profile=b"rubbish" * 20)).about
    assert (about.icc_profile, about.lost) == (None, ("its ICC profile is damaged and was left out",))


# ---- corrected -----------------------------------------------------------------------------


def plus_four(tiles: Array, contrast: float) -> Array:
    return tiles[:, 9:-9, 9:-9].astype(np.float32) + np.float32(4)


def test_the_net_of_no_header_corrects_luma_without_limits() -> None:
    nets = {None: Net(plus_four, NO_GAINS), 1.0: Net(plus_four, NO_GAINS)}
    corrector = Corrector(nets, input_types=ALL, ignore_history=True)
    image = with_alpha("RGB")
    corrected = corrector.correct(encoded(image, "PNG", exif=exif_of()))
    before = np.rot90(np.asarray(image.convert("RGB")), -1)
    np.testing.assert_array_equal(corrected.before, before)
    np.testing.assert_array_equal(corrected.pixels, np.minimum(before.astype(int) + 4, 255))
    np.testing.assert_array_equal(corrected.alpha, np.rot90(np.asarray(image.getchannel("A")), -1))
    assert [plane.choice.factor for plane in corrected.planes] == [None]
    with pytest.raises(BadImage, match="not a JPEG but PNG"):
        Corrector(corrector.nets).correct(encoded(image, "PNG"))


@pytest.mark.parametrize("kind", ["PNG", "WEBP", "TIFF", "BMP"])
def test_neutral_stays_neutral(kind: str) -> None:
    rng = np.random.default_rng(2)

    def noisy(tiles: Array, contrast: float) -> Array:
        return plus_four(tiles, contrast) + rng.normal(0, 9, (1, *np.subtract(tiles.shape[1:], 18))).astype(
            np.float32
        )

    corrector = Corrector({None: Net(noisy, NO_GAINS)}, input_types=ALL, ignore_history=True)
    pixels = corrector.correct(encoded(photograph(40, 24, "L").convert("RGB"), kind)).pixels
    assert (pixels == pixels[..., :1]).all() and pixels.std() > 9


@pytest.mark.parametrize("white", [65535, 4095])
def test_a_correction_of_16_bits_is_in_their_levels(white: int) -> None:
    rng = np.random.default_rng(1)
    sixteen = rng.integers(0, white + 1, (20, 30)).astype(np.uint16)
    sixteen[0, 0] = white
    corrector = Corrector({None: Net(plus_four, NO_GAINS)}, input_types=["png"], ignore_history=True)
    corrected = corrector.correct(encoded(Image.fromarray(sixteen), "PNG"))
    eight = np.rint(sixteen * (255 / white))
    wanted = np.minimum(sixteen + (np.minimum(eight + 4, 255) - eight) * (white / 255), white)
    assert corrected.pixels.dtype == np.uint16 and corrected.white == white
    assert np.abs(corrected.pixels - wanted).max() <= 0.51
    none = Corrector(corrector.nets, input_types=["png"], strength=0)
    assert none.correct(encoded(Image.fromarray(sixteen), "PNG")).pixels.tolist() == sixteen.tolist()


# ---- written -------------------------------------------------------------------------------


def written(about: metadata.Metadata, form: str, alpha: Array | None = None) -> tuple[Image.Image, bytes]:
    file = io.BytesIO()
    output.write(file, np.asarray(photograph(40, 24)), about, form, alpha=alpha)
    image = Image.open(io.BytesIO(file.getvalue()))
    image.load()
    return image, file.getvalue()


@pytest.mark.parametrize("form", ["png", "tiff", "webp"])
@pytest.mark.parametrize("mode", ["RGB", "L"])
def test_formats_that_hold_transparency(form: str, mode: str) -> None:
    image, file = with_alpha(mode), io.BytesIO()
    alpha = np.asarray(image.getchannel("A"))
    output.write(file, np.asarray(image.convert(mode)), metadata.Metadata(), form, alpha=alpha)
    found = Image.open(io.BytesIO(file.getvalue()))
    assert found.mode == (image.mode if form != "webp" else "RGBA")
    np.testing.assert_array_equal(np.asarray(found), np.asarray(image.convert(found.mode)))


@pytest.mark.parametrize("form", ["bmp", "jpg"])
def test_formats_that_do_not(form: str) -> None:
    assert written(metadata.Metadata(), form, np.zeros((24, 40), np.uint8))[0].mode == "RGB"
    said = metadata.describe_left(["exif", "transparency"], form)
    assert said == f"{form.upper()} holds no EXIF or transparency; --format png, tiff or webp keeps them"


def test_a_jpeg_of_what_was_none_gets_its_metadata() -> None:
    """Read again it is the same: upright, EXIF and profile of over 64 KiB in several segments."""
    exif = ifd.EXIF_START + b"II*\0\x08\0\0\0" + directory("<", 8, [(ARTIST, ASCII, 100_000, b"n" * 100_000)])
    profile = PROFILE + bytes(100_000)
    about = metadata.Metadata(
        *(6, exif, profile, b"<x:xmpmeta/>", b"8BIM\4\4\0\0\0\0\0\2\x1c\2", NAME, (300, 200))
    )
    image, data = written(about, "jpg")
    assert image.size == (40, 24)
    found = images.decode_jpeg(data).about
    assert found._replace(segments=None, icc_profile=profile) == about._replace(orientation=1)
    assert image.info["icc_profile"] == profile
    assert metadata.left_behind(about, "jpg") == ()
    long = about._replace(xmp=b"<x:xmpmeta/>".ljust(70_000))
    assert metadata.left_behind(long, "jpg") == ("xmp",)
    assert images.decode_jpeg(written(long, "jpg")[1]).about.xmp == b""


def test_from_the_shell(tmp_path: Path) -> None:
    """A tree of all types: each corrected, what it carries kept; what cannot be read is named."""
    folder = tmp_path / "data/sub"
    folder.mkdir(parents=True)
    (folder / "a.png").write_bytes(encoded(with_alpha("RGB"), "PNG", exif=exif_of()))
    (folder / "b.TIF").write_bytes(encoded(photograph(40, 24), "TIFF"))
    (folder / "c.webp").write_bytes(encoded(photograph(40, 24), "WEBP"))
    (folder / "d.bmp").write_bytes(encoded(photograph(40, 24, "L"), "BMP"))
    (folder / "e.png").write_bytes(encoded(photograph(40, 24), "JPEG", quality=20))
    (folder / "f.png").write_bytes(encoded(Image.fromarray(np.full((24, 40), 9999, np.uint16)), "PNG"))
    (folder / "g.png").write_bytes(encoded(photograph(40, 24), "PNG")[:300])
    sixteen = np.asarray(photograph(40, 24)).astype(np.uint16) * 200 + 77
    (folder / "h.png").write_bytes(colour_of_16_bits(sixteen))
    names = ("a", "b", "c", "d", "e", "f", "h")
    types = ("--input-types", "png", "tiff", "webp", "bmp", "--recursive", "--ignore-history")
    printed = run(
        "run_car_images.py", tmp_path, "pretrained", "data", "results", *types, "--format", "tiff", status=1
    )
    assert "8 of other types than JPEG: corrected by the log's own net" in printed.out
    assert "left out: sub/g.png: " in printed.out and "corrected 6 of 8 images" in printed.out
    assert "unchanged 1 (one grey level throughout), left out 1" in printed.out  # f.png
    results = {name: Image.open(tmp_path / f"results/sub/{name}_car.tiff") for name in names}
    assert [results[name].mode for name in names] == ["RGBA", "RGB", "RGB", "L", "RGB", "I;16", "RGB"]
    upright = with_alpha("RGB").transpose(Image.Transpose.ROTATE_270)
    assert (np.asarray(results["a"])[..., 3] == np.asarray(upright)[..., 3]).all()
    change = np.asarray(results["a"]).astype(int) - np.asarray(upright)
    assert 0 < np.abs(change).max() < 40 and results["a"].getexif()[ARTIST].encode("latin-1") == NAME
    assert np.asarray(results["b"]).tolist() == np.asarray(results["c"]).tolist()
    assert np.abs(np.asarray(results["f"]).astype(int) - 9999).max() < 257
    fine = images.read_picture(tmp_path / "results/sub/h_car.tiff", ("tiff",)).pixels.astype(int) - sixteen
    assert (
        257 < np.abs(fine).max() < 40 * 257 and len(np.unique(fine % 257)) > 200
    )  # not in whole grey levels


# ---- damaged files -------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["PNG", "WEBP", "TIFF", "BMP"])
def test_damaged_files_are_read_or_named(tmp_path: Path, kind: str) -> None:
    """A reason for each that cannot be read, never another error."""
    rng, path = random.Random(kind), tmp_path / "a"
    options: dict[str, Any] = {} if kind == "BMP" else {"exif": exif_of(), "icc_profile": PROFILE}
    if kind == "TIFF":
        options["compression"] = "tiff_adobe_deflate"
    whole, named = encoded(photograph(24, 16), kind, **options), 0
    for _ in range(150):
        data = bytearray(whole)
        if rng.random() < 0.3:
            del data[rng.randrange(8, len(data)) :]
        for _ in range(rng.choice((0, 1, 4))):
            data[rng.randrange(4, min(len(data), rng.choice((60, 10000))))] = rng.choice((0, 1, 127, 255))
        path.write_bytes(data)
        try:
            images.read_picture(path, ALL, max_pixels=10**6)
        except BadImage as reason:
            named += 1
            assert str(reason).startswith("a: ") and "decoder error" not in str(reason)
    assert 20 < named < 150


def test_a_read_of_what_pillow_knows_nothing_of() -> None:
    assert foreign.read(Image.new("L", (2, 2)), b"") == metadata.Metadata()  # type: ignore[arg-type]
