"""car/segments.py: which segments of a JPEG stay, and what stands behind its picture."""

import io
import struct

import pytest
from PIL import Image
from PIL.JpegImagePlugin import JpegImageFile
from reference import directory, tiff
from test_metadata import segment

from car import jpeg, segments

HDR = "http://ns.adobe.com/hdr-gain-map/1.0/"
CONTAINER = "http://ns.google.com/photos/1.0/container/"
CAMERA = "http://ns.google.com/photos/1.0/camera/"


def packet(attributes: str = "", elements: str = "", spaces: str = "") -> bytes:
    return (
        '<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?><x:xmpmeta xmlns:x="adobe:ns:meta/">'
        '<rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
        f'<rdf:Description rdf:about="" xmlns:dc="http://purl.org/dc/elements/1.1/"{spaces}'
        f' dc:format="image/jpeg"{attributes}><dc:rights>J\u00fcrgen</dc:rights>{elements}'
        '</rdf:Description></rdf:RDF></x:xmpmeta><?xpacket end="w"?>'
    ).encode()


SPACES = f' xmlns:hdrgm="{HDR}" xmlns:C=\'{CONTAINER}\' xmlns:Cam="{CAMERA}"'
ITEMS = (
    "<C:Directory><rdf:Seq><rdf:li rdf:parseType='Resource'><C:Item Semantic='Primary'/></rdf:li>"
    "<rdf:li><C:Item Semantic='GainMap' Length='999'/></rdf:li></rdf:Seq></C:Directory>"
)
ANNOUNCING = packet(
    ' hdrgm:Version="1.0" Cam:MotionPhoto=\'1\' Cam:BurstID="7" Cam:MotionPhotoVersion = "1"', ITEMS, SPACES
)
ALONE = packet(' Cam:BurstID="7"', "", SPACES)


def grey(**options: object) -> bytes:
    file = io.BytesIO()
    Image.new("L", (16, 16), 90).save(file, "JPEG", **options)
    return file.getvalue()


def with_segments(*added: bytes) -> bytes:
    data = grey()
    return data[:20] + b"".join(added) + data[20:]


def index_of(pictures: int, order: str = "<") -> bytes:
    """A multi-picture index that tells this number."""
    tags = [(0xB000, 7, 4, b"0100"), (0xB001, 4, 1, struct.pack(order + "I", pictures))]
    return segment(0xE2, b"MPF\0" + tiff(order, directory(order, 8, tags)))


# ---- XMP -----------------------------------------------------------------------------------


def test_xmp_stays_but_for_what_it_announces() -> None:
    assert segments.alone(ANNOUNCING) == ALONE
    plain = packet(' dc:source="hdrgm:Version"')
    assert segments.alone(plain) == plain and segments.alone(b"") == b""


@pytest.mark.parametrize(
    "elements",
    ["<hdrgm:Version>1.0</hdrgm:Version>", "<hdrgm:Version/>", "<hdrgm:Version rdf:parseType='Literal' />"],
)
def test_fields_written_as_elements(elements: str) -> None:
    assert segments.alone(packet("", elements, SPACES)) == packet("", "", SPACES)


def test_xmp_that_cannot_be_mended_goes_whole() -> None:
    assert segments.alone(packet("", "<hdrgm:Version>1.0", SPACES)) == b""
    assert segments.alone(packet("", "<rdf:li>hdrgm:Version</rdf:li>", SPACES)) == b""


# ---- which stay ----------------------------------------------------------------------------


def test_segments_stay_byte_for_byte_and_in_order() -> None:
    staying = [
        segment(0xFE, b"first comment"),
        segment(0xE1, b"Exif\0\0II*\0 damaged"),
        segment(0xE1, segments.XMP_START + packet()),
        segment(0xE1, segments.MORE_XMP_START + b"x" * 65_000),
        segment(0xE2, b"ICC_PROFILE\0\2\2part"),
        segment(0xE2, b"ICC_PROFILE\0\1\2part"),
        segment(0xED, b"Photoshop 3.0\0" + b"8BIM"),
        segment(0xEE, b"not that of another"),
        segment(0xEF, b""),
        segment(0xFE, b""),
    ]
    going = [
        index_of(2),
        segment(0xE2, segments.GAIN_MAP_START + b"\0\0\0\0"),
        segment(0xEE, b"Adobe\0\x64\0\0\0\0\1"),
    ]
    data = with_segments(*staying[:4], *going, *staying[4:])
    assert segments.kept(data, is_cmyk=False) == data[2:20] + b"".join(staying)
    assert segments.kept(data, is_cmyk=True) == data[2:20] + b"".join(staying[:4] + staying[6:])


def test_announcing_xmp_is_kept_without_that_or_goes() -> None:
    data = with_segments(segment(0xE1, segments.XMP_START + ANNOUNCING), segment(0xFE, b"c"))
    kept = segment(0xE1, segments.XMP_START + ALONE) + segment(0xFE, b"c")
    assert segments.kept(data, False) == data[2:20] + kept
    broken = packet("", "<hdrgm:Version>1.0", SPACES)
    data = with_segments(segment(0xE1, segments.XMP_START + broken), segment(0xFE, b"c"))
    assert segments.kept(data, False) == data[2:20] + segment(0xFE, b"c")
    assert segments.behind(data) == ("XMP that announces it",)
    data = with_segments(segment(0xE1, segments.XMP_START))  # empty, and announces nothing
    assert segments.kept(data, False) == data[2:20] + segment(0xE1, segments.XMP_START)
    assert segments.behind(data) == ()


def test_segments_put_into_another_jpeg() -> None:
    put = segments.put(grey(), segment(0xFE, b"mine") + segment(0xEF, b"x"))
    image = JpegImageFile(io.BytesIO(put))
    assert image.applist == [("COM", b"mine"), ("APP15", b"x")] and image.getpixel((3, 3)) == 90


# ---- what stands behind --------------------------------------------------------------------


@pytest.mark.parametrize(
    "before, behind, told",
    [
        ([], b"", ()),
        ([], b"\0\0\r\n\xff", ()),
        ([], b"trailer", ("data of an unknown kind behind the picture",)),
        ([index_of(2)], grey(), ("1 further picture (a multi-picture file)",)),
        ([index_of(3, ">")], grey() * 2, ("2 further pictures (a multi-picture file)",)),
        ([index_of(3)], b"", ()),  # cut off by another program: nothing is lost here
        ([index_of(1)], b"", ()),
        ([index_of(2**32 - 1)], grey(), ("1 further picture (a multi-picture file)",)),
        ([segment(0xE2, b"MPF\0II*\0\xff\xff\xff\xff")], grey(), ("data of an unknown kind behind the picture",)),
        ([segment(0xE2, b"MPF\0")], b"", ()),
        ([index_of(2)], grey(comment=HDR.encode()), ("a gain map",)),
        ([index_of(3)], grey() + grey(comment=b"urn:com:apple:photo:2020:aux:hdrgainmap"),
         ("1 further picture (a multi-picture file)", "a gain map")),
        ([], b"\0\0\0\x18ftypmp42....", ("a video",)),
    ],
)  # fmt: skip
def test_what_is_behind_the_picture(before: list[bytes], behind: bytes, told: tuple[str, ...]) -> None:
    data = with_segments(*before)
    assert jpeg.end_of(data + behind) == len(data)
    assert segments.behind(data + behind) == told
