"""car/tiles.py: what is cut and stitched covers all, once, with real neighbours."""

import itertools

import numpy as np
import pytest

from car.tiles import SMALLEST_CORE, Tiling, cut, isolated, mirror, patches, seamless, stitch


def test_patches_row_by_row_and_only_full_ones() -> None:
    plane = np.arange(7 * 9, dtype=np.uint8).reshape(7, 9)
    got = patches(plane, 3, 2)
    wanted = [plane[top : top + 3, left : left + 3] for top in (0, 2, 4) for left in (0, 2, 4, 6)]
    assert got.dtype == np.uint8
    np.testing.assert_array_equal(got, wanted)
    assert patches(plane, 7, 1).shape == (3, 7, 7)  # as high as the picture
    assert patches(plane.T, 7, 4).shape == (1, 7, 7)


@pytest.mark.parametrize("shape", [(7, 9), (9, 7), (7, 7), (1, 100)])
def test_no_patch_of_a_smaller_picture(shape: tuple[int, int]) -> None:
    got = patches(np.zeros(shape, np.uint8), 8, 2)
    assert got.shape == (0, 8, 8) and got.dtype == np.uint8


def core_of(length: int, side: int) -> int:
    """The length of a core by seamless's rule, counted out."""
    longest = max(n for n in range(side + 1) if n % 10 == 6)
    pieces = next(n for n in itertools.count(1) if n * longest >= length)
    even = next(n for n in itertools.count(1) if n * pieces >= length)
    step = 20 if pieces > 1 else 60
    return min(longest, next(n for n in itertools.count(even) if n % step == 16))


@pytest.mark.parametrize("side", [16, 17, 25, 26, 35, 100, 256, 261])
def test_cores_are_few_and_even_and_of_few_lengths(side: int) -> None:
    for length in [*range(1, 300), 511, 512, 513, 1000, 4096]:
        tiling = seamless(length, 3 * length, side, 9)
        assert tiling == (length, 3 * length, core_of(length, side), core_of(3 * length, side), 9)
        assert {type(value) for value in tiling} == {int}
        assert core_of(length, side) <= side and core_of(length, side) % 10 == 6


def test_the_lengths_that_the_rule_promises() -> None:
    """As _even's docstring tells them: each shape of tile is compiled by itself."""
    whole = {seamless(length, 1, 256, 9).core_height for length in range(1, 257)}
    assert whole == {16, 76, 136, 196, 256}
    pieces = {seamless(length, 1, 256, 9).core_height for length in range(257, 5000)}
    assert pieces == {136, 156, 176, 196, 216, 236, 256}
    assert SMALLEST_CORE == 16 and seamless(40, 50, SMALLEST_CORE, 9) == (40, 50, 16, 16, 9)


def test_corners_row_by_row() -> None:
    assert Tiling(25, 40, 10, 16, 3).corners == [(top, left) for top in (0, 10, 20) for left in (0, 16, 32)]
    assert Tiling(20, 16, 10, 16, 3).corners == [(0, 0), (10, 0)]
    assert isolated(9, 5, 4) == (9, 5, 4, 4, 0)


@pytest.mark.parametrize("size", [(45, 61), (61, 45), (48, 32), (5, 70)])
def test_every_pixel_of_a_tile_is_the_picture_s_or_its_mirror_image(size: tuple[int, int]) -> None:
    height, width = size
    plane = np.random.default_rng(1).integers(0, 256, size, np.uint8)
    tiling = Tiling(height, width, 16, 26, 9)
    padded = mirror(plane, tiling)
    tiles = cut(padded, tiling, tiling.corners)
    assert tiles.shape == (-(-height // 16) * -(-width // 26), 16 + 18, 26 + 18)

    def place(index: int, length: int) -> int:
        index %= 2 * length  # there and back again
        return index if index < length else 2 * length - 1 - index

    for tile, (top, left) in zip(tiles, tiling.corners, strict=True):
        rows = [place(row, height) for row in range(top - 9, top + 16 + 9)]
        columns = [place(column, width) for column in range(left - 9, left + 26 + 9)]
        np.testing.assert_array_equal(tile, plane[rows][:, columns])
    assert padded.shape == (-(-height // 16) * 16 + 18, -(-width // 26) * 26 + 18)


@pytest.mark.parametrize("halo", [0, 2])
def test_stitched_cores_are_the_picture_again(halo: int) -> None:
    plane = np.random.default_rng(2).integers(0, 256, (23, 37), np.uint8)
    tiling = Tiling(23, 37, 8, 16, halo)
    tiles = cut(mirror(plane, tiling), tiling, tiling.corners)
    cores = tiles[:, halo : halo + 8, halo : halo + 16].astype(np.float32)
    whole = np.full(plane.shape, -1, np.float32)
    stitch(whole[:, :], cores, tiling.corners)
    np.testing.assert_array_equal(whole, plane)


def test_cut_and_stitch_do_a_part_of_the_tiles() -> None:
    plane = np.arange(6 * 6, dtype=np.uint8).reshape(6, 6)
    tiling = Tiling(6, 6, 4, 4, 0)
    some = [(0, 4), (4, 0)]
    tiles = cut(mirror(plane, tiling), tiling, some)
    np.testing.assert_array_equal(tiles[0, :, :2], plane[:4, 4:])
    np.testing.assert_array_equal(tiles[1, :2], plane[4:, :4])
    whole = np.zeros((6, 6), np.float32)
    stitch(whole, tiles.astype(np.float32), some)
    wanted = plane.astype(np.float32)
    wanted[:4, :4], wanted[4:, 4:] = 0, 0
    np.testing.assert_array_equal(whole, wanted)
    with pytest.raises(ValueError):
        stitch(whole, tiles.astype(np.float32), [(0, 0)])
