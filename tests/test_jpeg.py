"""car/jpeg.py: what a header tells, against Pillow, T.81's formulas and plain loops."""

import io
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from conftest import ROOT
from PIL import Image
from PIL.JpegImagePlugin import JpegImageFile
from reference import CHROMA_50, LUMA_50, Array, coarseness

from car import jpeg


def coded(mode: str, **options: Any) -> bytes:
    """A small JPEG of Pillow's."""
    file = io.BytesIO()
    Image.new(mode, (16, 16)).save(file, "JPEG", **{"quality": 50, **options})
    return file.getvalue()


def opened(data: bytes) -> JpegImageFile:
    return JpegImageFile(io.BytesIO(data))


def edited(data: bytes, marker: int, edit: Callable[[bytearray], None]) -> bytes:
    """A JPEG with the first segment of a marker changed in place: from its length on."""
    place = data.index(bytes([255, marker])) + 2
    segment = bytearray(data[place : place + int.from_bytes(data[place : place + 2], "big")])
    whole = len(segment)
    edit(segment)
    return data[:place] + bytes(segment) + data[place + whole :]


def luma(name: str) -> Array:
    return np.asarray(Image.open(ROOT / "samples" / name).convert("L"))


# ---- the header ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "data, wanted",
    [
        (coded("L"), True),
        (coded("RGB", subsampling=0), True),
        (coded("RGB", subsampling=1), True),
        (coded("RGB", subsampling=2), True),
        (coded("CMYK"), False),
        (coded("RGB", keep_rgb=True), False),
    ],
)
def test_what_codes_luma(data: bytes, wanted: bool) -> None:
    assert jpeg.coded_as_ycbcr(opened(data)) is wanted


FRAME = 0xC0  # the segment that names the components; 3 bytes each from the eighth on


def named(names: bytes) -> Callable[[bytearray], None]:
    def edit(frame: bytearray) -> None:
        frame[8::3] = names

    return edit


def sampled(*sampling: int) -> Callable[[bytearray], None]:
    def edit(frame: bytearray) -> None:
        frame[9::3] = bytes(sampling)

    return edit


JFIF = b"\xff\xe0\0\x10JFIF\0\1\1\0\0\1\0\1\0\0"
SHORT_JFIF = b"\xff\xe0\0\x0cJFIF\0\1\1\0\0\1"  # too short to be one


def adobe(transform: int) -> bytes:
    return b"\xff\xee\0\x0eAdobe\0\x64\0\0\0\0" + bytes([transform])


@pytest.mark.parametrize(
    "segments, names, wanted",
    [
        (b"", b"\1\2\3", True),
        (b"", b"YUV", True),
        (b"", b"RGB", False),
        (SHORT_JFIF, b"RGB", False),
        (JFIF, b"RGB", True),
        (adobe(0), b"\1\2\3", False),
        (adobe(1), b"RGB", True),
        (adobe(2), b"RGB", True),
        (adobe(1) + adobe(0), b"\1\2\3", False),
        (JFIF + adobe(0), b"\1\2\3", True),
        (adobe(0) + JFIF, b"RGB", True),
    ],
)
def test_jfif_goes_before_adobe_s_mark_and_that_before_the_names(
    segments: bytes, names: bytes, wanted: bool
) -> None:
    """As the decoder does it: of an orange one gets orange by YCbCr, and by RGB something blue."""
    file = io.BytesIO()
    Image.new("RGB", (16, 16), (200, 90, 30)).save(file, "JPEG", quality=95)
    data = file.getvalue()
    assert data[2:20] == JFIF

    def name_scan(scan: bytearray) -> None:
        scan[3:9:2] = names

    data = data[:2] + segments + edited(edited(data[20:], FRAME, named(names)), 0xDA, name_scan)
    red, _, blue = np.asarray(Image.open(io.BytesIO(data)))[8, 8]
    assert (red > blue) == wanted
    assert jpeg.coded_as_ycbcr(opened(data)) is wanted


@pytest.mark.parametrize(
    "sampling, wanted",
    [
        ((0x22, 0x11, 0x11), True),
        ((0x22, 0x22, 0x22), True),
        ((0x21, 0x12, 0x11), False),
        ((0x12, 0x21, 0x11), False),
        ((0x11, 0x11, 0x21), False),
        ((0x11, 0x12, 0x11), False),
        ((0x12, 0x11, 0x12), True),
    ],
)
def test_chroma_finer_than_luma_is_left_alone(sampling: tuple[int, ...], wanted: bool) -> None:
    assert jpeg.coded_as_ycbcr(opened(edited(coded("RGB"), FRAME, sampled(*sampling)))) is wanted


def test_the_table_of_each_component() -> None:
    image = opened(coded("RGB", quality=50))
    for component, wanted in enumerate((LUMA_50, CHROMA_50, CHROMA_50)):
        table = jpeg.table_of(image, component)
        assert table is not None and table.dtype == np.float32
        np.testing.assert_array_equal(table, wanted.reshape(8, 8))  # rows are vertical frequencies


def test_no_table_where_the_file_states_none_or_a_step_of_0() -> None:
    def other_table(frame: bytearray) -> None:
        frame[10::3] = bytes([0, 3, 0])  # Cb's

    def no_step(table: bytearray) -> None:
        table[3 + 40] = 0

    image = opened(edited(coded("RGB"), FRAME, other_table))
    assert jpeg.table_of(image, 1) is None and jpeg.table_of(image, 2) is not None
    image = opened(edited(coded("RGB"), 0xDB, no_step))
    assert jpeg.table_of(image, 0) is None and jpeg.table_of(image, 1) is not None


# ---- qualities -----------------------------------------------------------------------------


def test_tables_and_coarseness_of_all_qualities() -> None:
    for quality in range(1, 101):
        image = opened(coded("RGB", quality=quality))
        tables = [np.reshape(np.array(image.quantization[n], np.float32), (8, 8)) for n in (0, 1)]
        np.testing.assert_array_equal(jpeg.table_of_quality(quality), tables[0])
        for component, standard in enumerate((LUMA_50, CHROMA_50, CHROMA_50)):
            steps = tables[min(component, 1)].reshape(-1)
            wanted = coarseness(steps, standard) if min(steps) < 255 else max(steps / standard)
            assert jpeg.coarseness(tables[min(component, 1)], component) == pytest.approx(wanted)
    assert jpeg.table_of_quality(30).dtype == np.float32


@pytest.mark.parametrize(
    "quality, factor",
    [(1, 50), (10, 5), (40, 1.25), (49, 50 / 49), (50, 1), (51, 0.98), (95, 0.1), (99, 0.02), (100, 0.01)],
)
def test_the_factor_of_a_quality(quality: int, factor: float) -> None:
    assert jpeg.coarseness_of_quality(quality) == pytest.approx(factor)


def test_coarseness_of_steps_that_end_with_a_byte() -> None:
    table = np.full((8, 8), 255, np.float32)
    assert jpeg.coarseness(table, 0) == 25.5  # where the standard has its least, 10
    assert jpeg.coarseness(table, 1) == jpeg.coarseness(table, 2) == 15  # 17
    table[0, 0] = 32
    assert jpeg.coarseness(table, 0) == pytest.approx(2)  # the only one told
    table[0, 1] = 254
    assert jpeg.coarseness(table, 0) == pytest.approx((2 * 254 / 11) ** 0.5)


def test_tilt_is_how_much_coarser_a_table_is_at_low_frequencies_than_at_all() -> None:
    for quality in range(5, 96):
        assert jpeg.tilt(jpeg.table_of_quality(quality)) == pytest.approx(1, abs=0.05)
    low = [8 * u + v for u in range(8) for v in range(8) if u + v < 7]
    for step in (1, 16, 254):
        steps = np.full(64, step)
        wanted = coarseness(steps, LUMA_50, low) / coarseness(steps, LUMA_50)
        assert jpeg.tilt(steps.reshape(8, 8)) == pytest.approx(wanted) and wanted == pytest.approx(
            2.1, abs=0.05
        )
    steps = 2 * LUMA_50
    steps[0], steps[63] = 255, 255  # cut by a byte: told by neither
    assert jpeg.tilt(steps.reshape(8, 8)) == pytest.approx(1)
    assert jpeg.tilt(np.full((8, 8), 255)) == 1


# ---- blocks --------------------------------------------------------------------------------


def test_the_transform_is_that_of_the_standard() -> None:
    """T.81, A.3.3, written out; made anew, too: COSINES is there before a tool that tests the tests can change it."""
    np.testing.assert_array_equal(jpeg._cosines(), jpeg.COSINES)
    block = np.random.default_rng(0).uniform(-100, 100, (8, 8))
    got = (jpeg.COSINES @ block.reshape(-1)).reshape(8, 8)
    angles = [[math.cos((2 * x + 1) * u * math.pi / 16) for x in range(8)] for u in range(8)]
    for v in range(8):
        for u in range(8):
            total = sum(block[y, x] * angles[u][x] * angles[v][y] for y in range(8) for x in range(8))
            scale = (1 if u else math.sqrt(0.5)) * (1 if v else math.sqrt(0.5)) / 4
            assert got[v, u] == pytest.approx(scale * total, abs=1e-3)
    assert jpeg.COSINES.dtype == np.float32


def test_blocks_of_a_plane() -> None:
    plane = np.arange(16 * 24).reshape(16, 24).astype(np.float32)
    blocks = jpeg.blocks_of(plane)
    wanted = [plane[top : top + 8, left : left + 8].reshape(-1) for top in (0, 8) for left in (0, 8, 16)]
    np.testing.assert_array_equal(blocks, wanted)
    np.testing.assert_array_equal(jpeg.plane_of(blocks.astype(np.float32), (16, 24)), plane)


@pytest.mark.parametrize("shape", [(13, 3), (8, 17), (1, 8), (16, 16)])
def test_partial_blocks_are_mirrored_and_cut_off_again(shape: tuple[int, int]) -> None:
    plane = np.random.default_rng(0).integers(0, 256, shape).astype(np.float32)
    whole = jpeg.made_whole(plane)
    assert whole.shape == (math.ceil(shape[0] / 8) * 8, math.ceil(shape[1] / 8) * 8)
    rows, columns = ([*range(n), *range(n)[::-1]] * 8 for n in shape)
    np.testing.assert_array_equal(whole, plane[rows[: whole.shape[0]]][:, columns[: whole.shape[1]]])
    np.testing.assert_array_equal(jpeg.plane_of(jpeg.blocks_of(whole).astype(np.float32), shape), plane)


# ---- limits --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "lowest, highest, reach",
    [
        *((1, 254, 0.35), (1, 1, 0.35), (254, 254, 0.35), (100, 200, 0.35)),
        *((0, 254, 0.3), (0, 1, 0.3), (1, 255, 0.3), (254, 255, 0.3), (0, 255, 0.3)),
        *((0, 0, 0), (255, 255, 0)),
    ],
)
def test_how_far_a_coefficient_may_move(lowest: int, highest: int, reach: float) -> None:
    levels = np.array([lowest], np.uint8), np.array([highest], np.uint8)
    got = jpeg.reach_of(*levels)
    assert got.dtype == np.float32 and got == np.float32(reach)

    def chosen(condition: Array, yes: float, no: float) -> float:
        return yes if condition else no

    assert jpeg.reach_of(lowest, highest, chosen) == np.float32(reach)


def test_levels_beyond_a_byte_s_are_clipped_too() -> None:
    """Of planes in float, which are not cut to 0..255 first."""
    assert jpeg.reach_of(-0.5, 100.0) == np.float32(0.3) and jpeg.reach_of(0.0, 255.5) == np.float32(0.3)
    assert jpeg.reach_of(-2.0, -1.0) == 0 and jpeg.reach_of(256.0, 300.0) == 0


def share_by_loops(jpg: Array, clean: Array, table: Array) -> float:
    """share_contradicted block by block."""
    basis = [np.cos((2 * np.arange(8) + 1) * u * np.pi / 16) / (2 if u else 8**0.5) for u in range(8)]
    cosines, counted, contradicted = np.array(basis), 0, 0
    for top in range(0, jpg.shape[0] - 7, 8):
        for left in range(0, jpg.shape[1] - 7, 8):
            decoded, truth = (p[top : top + 8, left : left + 8].astype(float) for p in (jpg, clean))
            if decoded.min() == 0 or decoded.max() == 255:
                continue
            after, before = (cosines @ block @ cosines.T for block in (decoded, truth))
            large = np.maximum(abs(after), abs(before)) > 1.5 * table
            large[0, 0] = False
            if large.any():
                counted += 1
                contradicted += bool((abs(after - before) > table + 3).any())
    return contradicted / counted if counted else 0.0


@pytest.mark.parametrize("quality", [10, 30, 80, 95])
def test_a_jpeg_and_its_clean_picture_agree_and_a_moved_one_does_not(quality: int) -> None:
    clean = luma("astronaut.bmp")[:277, 60:201]
    file = io.BytesIO()
    Image.fromarray(clean).save(file, "JPEG", quality=quality)
    decoded, table = np.asarray(Image.open(file)), jpeg.table_of_quality(quality)
    assert jpeg.share_contradicted(decoded, clean, table) == 0
    table = table + np.float32(
        0.013
    )  # no differences that are exactly a step, which rounding puts on either side
    for moved in (np.roll(clean, 1, 0), np.roll(clean, 1, 1), clean // 2, 255 - clean):
        share = jpeg.share_contradicted(decoded, moved, table)
        assert share == pytest.approx(share_by_loops(decoded, moved, table)) and share > 0.08


def block_of(v: int, u: int, size: float, mean: float = 128) -> Array:
    """A block that holds nothing but a cosine, rounded to grey levels."""
    basis = np.array([np.cos((2 * np.arange(8) + 1) * f * np.pi / 16) / (2 if f else 8**0.5) for f in (v, u)])
    return np.rint(mean + size * np.outer(basis[0], basis[1])).astype(np.uint8)


def test_which_blocks_count_and_which_contradict() -> None:
    table, flat = np.full((8, 8), 40, np.float32), np.full((8, 8), 128, np.uint8)
    table[0, 0] = 4
    cases = [
        (block_of(0, 1, 80), block_of(0, 1, 45), True, False),  # moved by less than a step
        (block_of(0, 1, 80), block_of(0, 1, 30), True, True),  # by more than a step and the rounding
        (block_of(7, 7, 80), block_of(7, 7, 30), True, True),
        (block_of(2, 0, 80), block_of(2, 0, 38.5), True, False),  # by a step and half of the rounding
        (flat, block_of(1, 1, 65), True, True),  # the JPG has lost what it cannot lose
        (block_of(1, 1, 65), flat, True, True),
        (block_of(1, 1, 55), flat, False, False),  # one step could have emptied it
        (flat, flat + 100, False, False),  # the mean alone does not count
        (block_of(0, 1, 80), block_of(0, 1, 80, 140), True, True),  # but contradicts where others count
        (block_of(0, 1, 65, 14), block_of(0, 1, 0, 14), True, True),
    ]
    for decoded, truth, counts, contradicts in cases:
        # Beside one block that counts and agrees.
        sure = block_of(3, 3, 90)
        share = jpeg.share_contradicted(np.hstack([decoded, sure]), np.hstack([truth, sure]), table)
        assert share == (0.5 if contradicts else 0), (counts, contradicts)
        alone = jpeg.share_contradicted(decoded, truth, table)
        assert alone == (1 if contradicts else 0)
        # Beside one that counts and contradicts.
        other = np.hstack([truth, block_of(3, 3, 20)])
        share = jpeg.share_contradicted(np.hstack([decoded, sure]), other, table)
        assert share == ((1 if contradicts else 0.5) if counts else 1)


@pytest.mark.parametrize("level, share", [(0, 0), (1, 1), (254, 1), (255, 0)])
def test_what_the_decoder_may_have_clipped_does_not_count(level: int, share: int) -> None:
    decoded = block_of(0, 1, 100)
    decoded[3, 3] = level
    assert (
        jpeg.share_contradicted(decoded, np.full((8, 8), 128, np.uint8), np.full((8, 8), 20, np.float32))
        == share
    )


def test_partial_blocks_and_no_blocks() -> None:
    table = np.full((8, 8), 1, np.float32)
    jpg, clean = np.full((15, 23), 100, np.uint8), np.full((15, 23), 100, np.uint8)
    jpg[8:, :], jpg[:, 16:] = 7, 7  # beyond the last whole blocks
    assert jpeg.share_contradicted(jpg, clean, table) == 0
    jpg[:8:2, 8:16] += 50
    assert jpeg.share_contradicted(jpg, clean, table) == 1
    assert jpeg.share_contradicted(jpg[:7], clean[:7], table) == 0


def test_the_quality_of_a_table() -> None:
    """Exactly, of every table that libjpeg writes; two of the coarsest are the same."""
    for quality in range(1, 101):
        table = jpeg.table_of_quality(quality)
        found, is_standard = jpeg.quality_of(table)
        assert is_standard and (jpeg.table_of_quality(found) == table).all() and abs(found - quality) <= 1
        assert quality < 3 or found == quality
        assert jpeg.quality_of_coarseness(jpeg.coarseness_of_quality(quality)) == quality
    for quality in (5, 30, 50, 75, 92, 96, 100):
        written = jpeg.table_of(opened(coded("RGB", quality=quality)), 0)
        assert written is not None and jpeg.quality_of(written) == (quality, True)


def test_about_the_quality_of_another_table() -> None:
    """Of one between two qualities, and of flat ones: by hand, the geometric mean of 32 / standard is 0.64."""
    between = jpeg.table_of_quality(60)
    between[0, 0] += 1
    assert jpeg.quality_of(between) == (60, False)
    logs = np.log(32 / jpeg.LUMA_TABLE).mean()
    quality, is_standard = jpeg.quality_of(np.full((8, 8), 32, np.float32))
    assert not is_standard and abs(quality - 50 * (2 - np.exp(logs))) < 1
