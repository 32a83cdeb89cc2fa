"""Files of every making through the Corrector and the saving: what is promised of any of them.

What must come is read here from the file's bytes, with no code of the suite: its segments, its tables, its
orientation.
"""

import functools
import io
import re
import struct
import tempfile
import zlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
from conftest import ROOT
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image, ImageCms
from PIL.JpegImagePlugin import JpegImageFile
from reference import (
    CHROMA_50,
    COSINES,
    LUMA_50,
    Array,
    Tag,
    coarseness,
    directory,
    doubled,
    lossless_jpeg,
    mirrored,
    tiff,
)

import model_car
from car import folder, levels, output
from car.correct import Corrector
from car.errors import BadImage
from car.find import Picture
from car.jobs import Job
from car.journal import Journal

Draw = Callable[[st.SearchStrategy[Any]], Any]

EXIF, XMP = b"Exif\0\0", b"http://ns.adobe.com/xap/1.0/\0"
MORE_XMP = b"http://ns.adobe.com/xmp/extension/\0"
ORIENTATION, EXIF_IFD, SHORT, LONG = 0x0112, 0x8769, 3, 4
PROFILE = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
GREY_PROFILE = PROFILE[:16] + b"GRAY" + PROFILE[20:]  # all that is looked at is its header


# ---- pictures ------------------------------------------------------------------------------


@functools.cache
def sample(name: str) -> Array:
    return np.asarray(Image.open(ROOT / f"samples/{name}.bmp").convert("RGB"))


def pixels_of(kind: str, height: int, width: int, rng: np.random.Generator) -> Array:
    """RGB [H, W, 3] of some kind of content."""
    if kind == "noise":
        return rng.integers(0, 256, (height, width, 3)).astype(np.uint8)
    if kind == "near black or white":  # many blocks touch 0 or 255
        noise = rng.normal(rng.choice([6, 248]), 6, (height, width, 3))
        return np.clip(noise, 0, 255).astype(np.uint8)
    if kind == "flat":
        return np.full((height, width, 3), rng.integers(0, 256, 3), np.uint8)
    if kind == "gradient":
        slopes = rng.uniform(-4, 4, (2, 3))
        ramp = np.mgrid[:height, :width].transpose(1, 2, 0) @ slopes + rng.integers(0, 256, 3)
        return np.clip(ramp, 0, 255).astype(np.uint8)
    if kind == "half black, half white":
        half = np.zeros((height, width, 3), np.uint8)
        half[:, rng.integers(0, width + 1) :] = 255
        return half
    if kind == "checkerboard":
        return np.repeat(255 * (np.indices((height, width)).sum(axis=0) % 2)[..., None], 3, 2).astype(
            np.uint8
        )
    picture = sample(kind)
    top, left = (
        rng.integers(0, whole - part) for whole, part in zip(picture.shape, (height, width), strict=False)
    )
    return picture[top : top + height, left : left + width]


CONTENTS = (
    *("noise", "near black or white", "flat", "gradient", "half black, half white", "checkerboard"),
    *("astronaut", "coffee", "chelsea"),
)
SIDES = st.one_of(st.integers(1, 20), st.integers(1, 96))
LUMA_SAMPLINGS = (0x12, 0x41, 0x14, 0x42, 0x24, 0x21, 0x22, 0x31, 0x13)


@st.composite
def coded(draw: Draw) -> bytes:
    """A JPEG as Pillow writes one, or a lossless one, or one whose header names another sampling."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    pixels = pixels_of(draw(st.sampled_from(CONTENTS)), draw(SIDES), draw(SIDES), rng)
    mode = draw(st.sampled_from(["RGB"] * 6 + ["L"] * 4 + ["CMYK", "names", "lossless"]))
    if mode == "lossless":
        return lossless_jpeg(pixels if draw(st.booleans()) else pixels[..., 1])
    options: dict[str, Any] = {"quality": draw(st.integers(1, 100))}
    if draw(st.booleans()):
        most = draw(st.sampled_from([1, 3, 20, 60, 255, 2000]))
        options = {"qtables": rng.integers(1, most + 1, (draw(st.integers(1, 2)), 64)).tolist()}
    if mode == "names":
        options["keep_rgb"] = True
    elif mode == "RGB":
        options["subsampling"] = draw(st.integers(0, 2))
    for option in ("progressive", "optimize"):
        options[option] = draw(st.booleans())
    options["restart_marker_blocks"] = draw(st.sampled_from([0, 0, 1, 2, 5]))
    if draw(st.booleans()):
        options["dpi"] = draw(st.integers(0, 700)), draw(st.integers(0, 700))
    file, image = io.BytesIO(), Image.fromarray(pixels)
    image.convert("RGB" if mode == "names" else mode).save(file, "JPEG", **options)
    data = file.getvalue()
    if mode == "RGB" and options["subsampling"] == 0 and draw(st.booleans()):
        return other_sampling(data, draw)
    return data


def other_sampling(data: bytes, draw: Draw) -> bytes:
    """The header of a 4:4:4 file says another one: its blocks then lie elsewhere, or are some too few."""
    patched = bytearray(data)
    place = next(place for marker, place, _ in placed_segments(data) if 0xC0 <= marker <= 0xC2)
    patched[place + 9] = draw(st.sampled_from(LUMA_SAMPLINGS))
    if draw(st.integers(0, 3)) == 0:
        patched[place + 12] = draw(st.sampled_from([0x12, 0x21, 0x22]))
    return bytes(patched)


# ---- what lies beside the pixels -----------------------------------------------------------


class Beside(NamedTuple):
    """EXIF as a file holds it, and what a PNG must hold of it, where that can be told."""

    tiff: bytes
    kept: bytes | None = None  # as a whole
    good: dict[int, bytes] | None = None  # by tag, the values of those that stay where others are damaged


@st.composite
def exifs(draw: Draw) -> Beside:
    """EXIF whole, with damaged tags, or harmed anywhere."""
    sign, value = draw(st.sampled_from("<>")), draw(st.integers(0, 9))
    kind = draw(st.sampled_from([SHORT] * 4 + [LONG] * 2 + [1, 2, 7]))
    tags: list[Tag] = [
        (tag, 7, len(data), data)
        for tag in draw(st.sets(st.sampled_from([0x010F, 0x0131, 0xC000, 0xC001])))
        for data in [draw(st.binary(max_size=40))]
    ]
    bad: list[Tag] = [
        (tag, draw(st.sampled_from([2, 3, 5])), draw(st.integers(5, 60)), draw(st.integers(2**14, 2**32 - 1)))
        for tag in draw(st.sets(st.sampled_from([0x0132, 0x8298, 0xD000, 0xD001]), min_size=1, max_size=2))
    ]

    def whole(orientation: int, others: Sequence[Tag]) -> bytes:
        turning = struct.pack(sign + ("I" if kind == LONG else "H" if kind == SHORT else "B"), orientation)
        own: list[Tag] = [(ORIENTATION, kind, 1, turning)]
        before, after = others[: len(others) // 2], others[len(others) // 2 :]
        note: list[Tag] = [(0x927C, 7, 20, bytes(range(20)))]
        outer = directory(sign, 8, [*before, *own, *after, (EXIF_IFD, LONG, 1, 0)])
        outer = directory(sign, 8, [*before, *own, *after, (EXIF_IFD, LONG, 1, 8 + len(outer))])
        return tiff(sign, outer, directory(sign, 8 + len(outer), note))

    turns = kind in (SHORT, LONG) and 1 <= value <= 8
    harm = draw(st.sampled_from(["none"] * 3 + ["tags"] * 3 + ["cut", "bytes", "noise"]))
    exif = whole(value, tags)
    if harm == "none":
        return Beside(exif, whole(1 if turns else value, tags))
    if harm == "tags":
        good = {tag: held for tag, _, _, held in tags if isinstance(held, bytes)}
        return Beside(whole(value, draw(st.permutations(tags + bad))), good=good)
    if harm == "cut":
        return Beside(exif[: draw(st.integers(0, len(exif) - 1))])
    if harm == "noise":
        return Beside(
            draw(st.sampled_from([b"", b"II*\0", b"MM\0*\0\0\0\x08"])) + draw(st.binary(max_size=60))
        )
    harmed = bytearray(exif)
    for _ in range(draw(st.integers(1, 6))):
        harmed[draw(st.integers(0, len(harmed) - 1))] = draw(st.integers(0, 255))
    return Beside(bytes(harmed))


TEXTS = st.one_of(
    st.text(max_size=40).map(lambda text: text.encode("utf-8", "replace")), st.binary(max_size=40)
)


@st.composite
def others(draw: Draw) -> tuple[int, bytes]:
    """A segment that is none of EXIF: its marker and what it holds."""
    kind = draw(st.sampled_from(["random", "comment", "xmp", "xmp", "profile", "adobe", "started"]))
    if kind == "comment":
        return 0xFE, draw(TEXTS)
    if kind == "xmp":
        return 0xE1, draw(st.sampled_from([XMP, XMP, MORE_XMP])) + draw(TEXTS)
    if kind == "profile":
        profile = draw(st.sampled_from([PROFILE, GREY_PROFILE, PROFILE[:200], b"none"]))
        return 0xE2, b"ICC_PROFILE\0" + draw(st.sampled_from([b"\1\1"] * 3 + [b"\1\2"])) + profile
    if kind == "adobe":
        transform = draw(st.integers(0, 3))
        return 0xEE, b"Adobe\0\x64\0\0\0\0" + bytes([transform])
    start = b""
    if kind == "started":
        start = draw(
            st.sampled_from(
                [*[b"Photoshop 3.0\0", b"MPF\0"] * 3, EXIF, b"FPXR\0", b"JFIF\0", b"ICC_PROFILE\0"]
            )
        )
    return draw(st.integers(0xE1, 0xEF)), start + draw(st.binary(max_size=50))


class File(NamedTuple):
    """A JPEG, and what is known of its EXIF."""

    data: bytes
    exif: Beside | None


@st.composite
def files(draw: Draw) -> File:
    """A JPEG with segments before or behind its own first one."""
    data, exif = draw(coded()), draw(st.one_of(st.none(), exifs(), exifs(), exifs()))
    segments = draw(st.lists(others(), max_size=8))
    if exif:
        segments.insert(draw(st.integers(0, len(segments))), (0xE1, EXIF + exif.tiff))
    place = 2
    if data[2:4] == b"\xff\xe0" and draw(st.booleans()):
        place += 2 + int.from_bytes(data[4:6], "big")
    more = b"".join(bytes([0xFF, m]) + struct.pack(">H", len(d) + 2) + d for m, d in segments)
    return File(data[:place] + more + data[place:], exif)


# ---- what a file says, by its bytes --------------------------------------------------------


def placed_segments(data: bytes) -> Iterator[tuple[int, int, bytes]]:
    """(marker, place of its length, what it holds) of each segment before the first scan."""
    place = 2
    while data[place + 1] != 0xDA:
        length = int.from_bytes(data[place + 2 : place + 4], "big")
        yield data[place + 1], place + 2, data[place + 4 : place + 2 + length]
        place += 2 + length


class Header(NamedTuple):
    """What counts of a JPEG's header."""

    kind: int  # the frame's marker
    components: list[tuple[int, int, int, int]]  # id, sampling across and down, number of the table
    tables: dict[int, Array]  # [8, 8]
    codes_luma: bool
    segments: list[tuple[int, bytes]]

    def start_with(self, marker: int, start: bytes) -> list[bytes]:
        return [held[len(start) :] for m, held in self.segments if m == marker and held.startswith(start)]


def header_of(data: bytes) -> Header:
    segments = [(marker, held) for marker, _, held in placed_segments(data)]
    tables: dict[int, Array] = {}
    frame = next((m, held) for m, held in segments if m in (0xC0, 0xC1, 0xC2, 0xC3))
    for marker, held in segments:
        while marker == 0xDB and held:
            wide = 2 if held[0] >> 4 else 1
            steps = np.frombuffer(held[1 : 1 + 64 * wide], ">u2" if wide == 2 else "u1").astype(float)
            tables[held[0] & 15] = np.zeros((8, 8))
            tables[held[0] & 15][tuple(zigzag())] = steps
            held = held[1 + 64 * wide :]
    parts = [frame[1][place : place + 3] for place in range(6, len(frame[1]), 3)]
    components = [(part[0], part[1] >> 4, part[1] & 15, part[2]) for part in parts]
    return Header(frame[0], components, tables, is_ycbcr(segments, components), segments)


def zigzag() -> Array:
    """(row, column) of the 64 steps in a file's order (T.81, figure A.6): [2, 64]."""
    cells = [(u, v) for u in range(8) for v in range(8)]
    return np.array(sorted(cells, key=lambda c: (sum(c), c[0] if sum(c) % 2 else c[1]))).T


def is_ycbcr(segments: list[tuple[int, bytes]], components: list[tuple[int, int, int, int]]) -> bool:
    """Whether libjpeg takes a file for grey or YCbCr (jdapimin.c, default_decompress_parms)."""
    if len(components) != 3:
        return len(components) == 1
    if any(m == 0xE0 and held.startswith(b"JFIF\0") and len(held) >= 14 for m, held in segments):
        return True
    adobe = [held[11] for m, held in segments if m == 0xEE and held.startswith(b"Adobe") and len(held) >= 12]
    return adobe[-1] != 0 if adobe else bytes(component[0] for component in components) != b"RGB"


def orientation_of(exifs: list[bytes]) -> int:
    """1..8 as the first EXIF says; segments without a header go on with the one before."""
    tiff = b"".join(e for n, e in enumerate(exifs) if n == 0 or e[:4] not in (b"II*\0", b"MM\0*"))
    sign = {b"II*\0": "<", b"MM\0*": ">"}.get(tiff[:4], "")
    top = struct.unpack_from(f"{sign}I", tiff, 4)[0] if sign and len(tiff) >= 8 else 0
    if not 8 <= top <= len(tiff) - 2:
        return 1
    (count,) = struct.unpack_from(f"{sign}H", tiff, top)
    for place in range(top + 2, min(top + 2 + 12 * count, len(tiff) - 11), 12):
        tag, kind, values = struct.unpack_from(f"{sign}HHI", tiff, place)
        if tag == ORIENTATION and kind in (SHORT, LONG) and 1 <= values <= (2 if kind == SHORT else 1):
            (value,) = struct.unpack_from(sign + ("I" if kind == LONG else "H"), tiff, place + 8)
            if 1 <= value <= 8:
                return int(value)
    return 1


def values_of(tiff: bytes) -> Iterator[tuple[int, bytes]]:
    """The tags of the first directory, with the bytes of their values."""
    sign = "<" if tiff.startswith(b"II") else ">"
    (count,) = struct.unpack_from(f"{sign}H", tiff, 8)
    for place in range(10, 10 + 12 * count, 12):
        tag, kind, values, offset = struct.unpack_from(f"{sign}HHII", tiff, place)
        size = values * {2: 1, SHORT: 2, LONG: 4, 5: 8}.get(kind, 1)
        yield tag, tiff[offset : offset + size] if size > 4 else tiff[place + 8 : place + 8 + size]


def turned(pixels: Array, orientation: int) -> Array:
    """As a viewer shows them (EXIF 2.32, 4.6.4)."""
    if orientation >= 5:
        pixels = pixels.swapaxes(0, 1)
    if orientation in (3, 4, 7, 8):
        pixels = pixels[::-1]
    return pixels[:, ::-1] if orientation in (2, 3, 6, 7) else pixels


def decoded(data: bytes, mode: str | None = None) -> Array:
    """What Pillow decodes; APP1, by which it may fail to open a file, is not shown to it."""
    for marker, place, held in reversed(list(placed_segments(data))):
        if marker == 0xE1:
            data = data[: place - 2] + data[place + 2 + len(held) :]
    image: Image.Image = JpegImageFile(io.BytesIO(data))
    if mode:
        image.draft(mode, None)
    return np.asarray(image.convert("RGB") if image.mode == "CMYK" else image)


# ---- what is promised ----------------------------------------------------------------------


def check_kept(png: bytes, file: File, header: Header, grey: bool) -> None:
    """What the PNG of a result holds beside the pixels is what the file held."""
    chunks, place = list[tuple[bytes, bytes]](), 8
    while place < len(png):
        length, kind = struct.unpack_from(">I4s", png, place)
        chunks.append((kind, png[place + 8 : place + 8 + length]))
        place += 12 + length
    found = dict(chunks)

    exifs = header.start_with(0xE1, EXIF)
    if b"eXIf" in found:
        assert orientation_of([found[b"eXIf"]]) == 1
    if file.exif and exifs == [file.exif.tiff] and file.exif.kept is not None:
        assert found[b"eXIf"] == file.exif.kept
    if file.exif and exifs == [file.exif.tiff] and file.exif.good is not None:
        values = dict(values_of(found[b"eXIf"]))
        assert set(values) == {*file.exif.good, ORIENTATION, EXIF_IFD}
        assert file.exif.good.items() <= values.items() and bytes(range(20)) in found[b"eXIf"]
    assert exifs or b"eXIf" not in found

    profiles = header.start_with(0xE2, b"ICC_PROFILE\0")
    if len(header.components) < 4 and len(profiles) <= 1:
        fits = profiles == [b"\1\1" + (GREY_PROFILE if grey else PROFILE)]
        kept = found.get(b"iCCP", b"")
        assert bool(kept) == fits
        if fits:
            assert zlib.decompress(kept[kept.index(b"\0") + 2 :]) == profiles[0][2:]

    texts = {}
    for kind, held in chunks:
        name, _, text = held.partition(b"\0")
        if kind == b"iTXt":
            assert text.startswith(b"\0\0\0\0")
            texts[name] = text[4:].decode()
        elif kind == b"tEXt":
            texts[name] = text.decode("latin-1")
    comments = [comment.rstrip(b"\0") for comment in header.start_with(0xFE, b"")]
    assert texts.pop(b"Comment", "") == text_of(b"\n".join(c for c in comments if c and b"\0" not in c))
    xmp = (header.start_with(0xE1, XMP) or [b""])[0].rstrip(b"\0")
    good = b"\0" not in xmp and xmp.decode("utf-8", "replace").encode() == xmp
    assert texts.pop(b"XML:com.adobe.xmp", "") == (xmp.decode() if good else "") and not texts

    jfif = (header.start_with(0xE0, b"JFIF\0") or [bytes(9)])[0]
    unit, across, down = struct.unpack_from(">BHH", jfif, 2)
    if orientation_of(exifs) >= 5:
        across, down = down, across
    if unit == 1 and across and down:
        a_metre = struct.unpack(">IIB", found[b"pHYs"])
        assert abs(a_metre[0] - across / 0.0254) < 1 and abs(a_metre[1] - down / 0.0254) < 1
    else:
        assert b"pHYs" not in found


def check_segments(jpeg: bytes, header: Header) -> None:
    """A JPEG result has the segments of its source but for Adobe's, an index of pictures, a profile of CMYK."""
    result = header_of(jpeg)
    assert [sampling for _, *sampling, _ in result.components] == [[1, 1]] * len(result.components)
    kept = [
        (marker, held)
        for marker, held in header.segments
        if (0xE0 <= marker < 0xF0 or marker == 0xFE)
        and not (marker == 0xEE and held.startswith(b"Adobe"))
        and not (marker == 0xE2 and held.startswith(b"MPF\0"))
        and not (marker == 0xE2 and held.startswith(b"ICC_PROFILE\0") and len(header.components) == 4)
    ]
    assert [s for s in result.segments if 0xE0 <= s[0] < 0xF0 or s[0] == 0xFE] == kept


def text_of(comment: bytes) -> str:
    try:
        return comment.decode()
    except UnicodeDecodeError:
        return comment.decode("latin-1")


def check_reach(change: Array, samples: Array, table: Array) -> None:
    """No coefficient of a whole block moved by more than 0.35 of its step, or 0.3 where it touches 0 or 255.

    change, samples: [H, W]. A block that the picture's edge cuts is made whole by mirroring; of its change only
    the pixels within the picture are known: they move by no more than all coefficients together can.
    """
    samples = mirrored(samples)
    most_a_pixel = np.abs(COSINES.T) @ table @ np.abs(COSINES)
    height, width = change.shape
    for top in range(0, height, 8):
        for left in range(0, width, 8):
            block = slice(top, top + 8), slice(left, left + 8)
            own, lowest, highest = change[block].astype(float), samples[block].min(), samples[block].max()
            reach = 0.35 if lowest > 0 and highest < 255 else 0.3
            if highest == 0 or lowest == 255:
                reach = 0
            if own.shape == (8, 8):
                # A change is held to half of 1/256 grey level: of a whole block 8 times that.
                assert (np.abs(COSINES @ own @ COSINES.T) <= reach * table * 1.0001 + 8 / 512).all()
            tall, wide = own.shape
            assert (np.abs(own) <= reach * most_a_pixel[:tall, :wide] * 1.0001 + 0.01).all()


def at_size(plane: Array, shape: tuple[int, ...]) -> Array:
    """A plane of chroma at luma's shape, as libjpeg makes it."""
    down, across = (-(-whole // part) for whole, part in zip(shape, plane.shape, strict=True))
    if max(down, across) <= 2:
        return doubled(plane, *shape)
    return plane.repeat(down, axis=0).repeat(across, axis=1)[: shape[0], : shape[1]]


def check_pixels(pixels: Array, before: Array, changes: list[Array]) -> None:
    """The changes of the planes, and nothing else, are in the pixels [H, W] or [H, W, 3], rounded once."""
    luma, *chroma = changes
    wanted = before.astype(float) + (luma if before.ndim == 2 else luma[..., None])
    if chroma:
        blue, red = (at_size(plane.astype(float), luma.shape) for plane in chroma)
        wanted += np.stack([1.402 * red, -0.344136 * blue - 0.714136 * red, 1.772 * blue], axis=-1)
    assert np.abs(pixels - np.clip(wanted, 0, 255)).max() <= 0.5 + 0.01


def check_corrected(corrector: Corrector, path: Path, header: Header, before: Array) -> None:
    """At strength 1 nothing moves farther than the file allows."""
    picture = corrector.decode(path)
    made = corrector.through_nets(picture)
    samples = [plane.samples for plane in picture.planes]
    corrected = corrector.finish(picture, made)
    orientation = orientation_of(header.start_with(0xE1, EXIF))
    np.testing.assert_array_equal(corrected.before, turned(before, orientation))
    if header.kind == 0xC3:
        np.testing.assert_array_equal(corrected.pixels, corrected.before)
        return
    changes = [levels.in_levels(plane.change) for plane in made]  # finish made them the changes
    luma, *chroma = header.components
    is_coded = header.codes_luma and all(c[1] <= luma[1] and c[2] <= luma[2] for c in chroma)
    assert len(changes) == (len(header.components) if is_coded else 1)
    if is_coded:
        np.testing.assert_array_equal(samples[0], decoded(path.read_bytes(), "L"))
    for number, (change, plane, found) in enumerate(zip(changes, samples, corrected.planes, strict=True)):
        assert change.shape == plane.shape and (number > 0 or plane.shape == before.shape[:2])
        _, across, down, table = header.components[number]
        had = is_coded and (min(before.shape[:2]) > 4 or (across, down) == luma[1:3])
        had = had and not luma[1] % across and not luma[2] % down
        assert (found.coarseness is not None) >= had
        if found.coarseness is not None:
            steps = header.tables[table]
            if steps.min() < 255:
                standard = CHROMA_50 if number else LUMA_50
                assert found.coarseness == pytest.approx(coarseness(steps.reshape(-1), standard), rel=1e-3)
            check_reach(change, plane, steps)
        if had and number:
            whole = decoded(path.read_bytes(), "YCbCr")[..., number]
            assert np.abs(at_size(plane.astype(float), whole.shape) - whole).max() <= 1.25
    back = turned(corrected.pixels, {6: 8, 8: 6}.get(orientation, orientation))
    check_pixels(back, before, changes)


def check_file(file: File, form: str, corrector: Corrector, plain: Corrector, work: Path) -> bool:
    """All that is promised of a file. Returns whether it was read.

    If not, Pillow cannot decode it either.
    """
    path, header = work / "data/a.jpg", header_of(file.data)
    for name in ("data", "results"):
        (work / name).mkdir()
    path.write_bytes(file.data)
    job, picture = Job(path.parent, work / "results", format=form), Picture(path, path.name)
    journal = Journal(job.results, 1, 1, folder.settings_of(plain, ""))
    ((_, future),) = folder.in_order(job, journal, plain, [picture], lambda share: None)
    try:
        before = decoded(file.data)
    except Exception:
        before = None
    try:
        future.result()
    except BadImage as reason:
        assert re.fullmatch(r"a\.jpg: .{10,}", str(reason)) and "Error" not in str(reason)
        assert before is None
        with pytest.raises(BadImage):
            corrector.correct(path)
        assert not job.result(picture).exists()
        return False
    assert before is not None
    result = job.result(picture).read_bytes()
    if form == "jpg" and len(header.components) < 4:
        assert result == file.data  # not a byte, as no pixel, is changed
    elif form == "jpg":
        check_segments(result, header)
    else:
        upright = turned(before, orientation_of(header.start_with(0xE1, EXIF)))
        np.testing.assert_array_equal(np.asarray(Image.open(job.result(picture))), upright)
    if form == "jpg":
        again, corrected = io.BytesIO(), corrector.correct(path)
        output.write(again, corrected.pixels, corrected.about, form)
        check_segments(again.getvalue(), header)
    if form == "png":
        check_kept(job.result(picture).read_bytes(), file, header, before.ndim == 2)
    check_corrected(corrector, path, header, before)
    return True


def test_what_is_promised_holds_for_files_of_every_making(long: bool) -> None:
    corrector = model_car.load_corrector(conv="direct")  # quicker to compile
    plain = Corrector(corrector.nets, strength=0.0)
    read = {True: 0, False: 0}

    def check(file: File, form: str) -> None:
        with tempfile.TemporaryDirectory() as work:
            read[check_file(file, form, corrector, plain, Path(work))] += 1

    options = settings(
        max_examples=5000 if long else 100,
        derandomize=not long,
        database=None,
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )
    options(given(files(), st.sampled_from(["png", "png", "bmp", "jpg", "tiff"]))(check))()
    print(f"{sum(read.values())} files: {read[True]} as promised, {read[False]} refused")
    assert read[True] > 10 * read[False]
