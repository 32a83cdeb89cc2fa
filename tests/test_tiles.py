"""car/tiles.py: what is cut and stitched covers all, once, with real neighbours."""

import itertools

import numpy as np
import pytest

from car.tiles import (
    MARGIN,
    SMALLEST_CORE,
    Tile,
    Tiling,
    cover,
    cut,
    isolated,
    lengths,
    mirror,
    patches,
    seamless,
    stitch,
)


def test_patches_row_by_row_and_only_full_ones() -> None:
    plane = np.arange(7 * 9, dtype=np.uint8).reshape(7, 9)
    got = patches(plane, 3, 2)
    wanted = [[plane[top : top + 3, left : left + 3] for left in (0, 2, 4, 6)] for top in (0, 2, 4)]
    assert got.dtype == np.uint8
    np.testing.assert_array_equal(got, wanted)
    assert np.shares_memory(got, plane)
    assert patches(plane, 7, 1).shape == (1, 3, 7, 7)  # as high as the picture
    assert patches(plane.T, 7, 4).shape == (1, 1, 7, 7)


@pytest.mark.parametrize("shape", [(7, 9), (9, 7), (7, 7), (1, 100)])
def test_no_patch_of_a_smaller_picture(shape: tuple[int, int]) -> None:
    got = patches(np.zeros(shape, np.uint8), 8, 2)
    assert got.shape == (0, 0, 8, 8) and got.dtype == np.uint8


@pytest.mark.parametrize("side", [16, 17, 25, 26, 36, 100, 256, 261, 512])
def test_cores_cover_all_and_none_too_much(side: int) -> None:
    of = lengths(side)
    assert of[0] == max(n for n in range(side + 1) if n % 10 == 6) and list(of) == sorted(of, reverse=True)
    assert all(n % 10 == 6 and n >= SMALLEST_CORE for n in of) and len(of) <= 3
    for length in [*range(1, 400), 511, 512, 513, 1000, 4096, 65_000]:
        tiling = seamless(length, 3 * length, side, 9)
        assert (tiling.height, tiling.width, tiling.halo) == (length, 3 * length, 9)
        for whole, cores in ((length, tiling.rows), (3 * length, tiling.columns)):
            assert set(cores) <= set(of) and list(cores) == sorted(cores, reverse=True)
            assert sum(cores) >= whole > sum(cores) - cores[-1]  # none lies outside
            assert cores.count(of[0]) >= whole // of[0] - 3


def test_the_lengths_of_cores_are_those_that_the_rule_promises() -> None:
    """As its docstring tells them: each shape of tile is compiled by itself."""
    assert lengths(256) == (256, 136, 76)
    assert {shape for n in range(1, 5000) for shape in cover(n, 256)} == {256, 136, 76}
    assert cover(512, 256) == (256, 256) and cover(100, 256) == (136,) and cover(330, 256) == (256, 76)
    assert cover(1224, 256) == (256, 256, 256, 256, 136, 76)


def test_a_cover_is_the_one_of_least_work() -> None:
    for length in range(1, 1100, 7):
        best = min(
            (sum(some) + MARGIN * len(some), some)
            for count in range(1, 16)
            for some in itertools.combinations_with_replacement((256, 136, 76), count)
            if sum(some) >= length
        )
        cores = cover(length, 256)
        assert sum(cores) + MARGIN * len(cores) == best[0], length


def test_tiles_row_by_row() -> None:
    assert Tiling(25, 40, (20, 10), (26, 16), 3).tiles == [
        (0, 0, 20, 26),
        (0, 26, 20, 16),
        (20, 0, 10, 26),
        (20, 26, 10, 16),
    ]
    assert isolated(9, 5, 4) == (9, 5, (4, 4, 4), (4, 4), 0)


@pytest.mark.parametrize("size", [(45, 61), (61, 45), (48, 32), (5, 70)])
def test_every_pixel_of_a_tile_is_the_picture_s_or_its_mirror_image(size: tuple[int, int]) -> None:
    height, width = size
    plane = np.random.default_rng(1).integers(0, 256, size, np.uint8)
    rows, columns = (16,) * -(-height // 16), (26,) * -(-width // 26)
    tiling = Tiling(height, width, rows, columns, 9)
    padded = mirror(plane, tiling)
    tiles = cut(padded, tiling.tiles, 9)
    assert tiles.shape == (len(rows) * len(columns), 16 + 18, 26 + 18)

    def place(index: int, length: int) -> int:
        index %= 2 * length  # there and back again
        return index if index < length else 2 * length - 1 - index

    for tile, (top, left, _, _) in zip(tiles, tiling.tiles, strict=True):
        tops = [place(row, height) for row in range(top - 9, top + 16 + 9)]
        lefts = [place(column, width) for column in range(left - 9, left + 26 + 9)]
        np.testing.assert_array_equal(tile, plane[tops][:, lefts])
    assert padded.shape == (-(-height // 16) * 16 + 18, -(-width // 26) * 26 + 18)


@pytest.mark.parametrize("halo", [0, 2])
def test_stitched_cores_are_the_picture_again(halo: int) -> None:
    plane = np.random.default_rng(2).integers(0, 256, (23, 37), np.uint8)
    tiling = Tiling(23, 37, (8, 8, 8), (16, 16, 16), halo)
    tiles = cut(mirror(plane, tiling), tiling.tiles, halo)
    cores = tiles[:, halo : halo + 8, halo : halo + 16].astype(np.float32)
    whole = np.full(plane.shape, -1, np.float32)
    stitch(whole[:, :], cores, tiling.tiles)
    np.testing.assert_array_equal(whole, plane)


def test_cut_and_stitch_do_a_part_of_the_tiles() -> None:
    plane = np.arange(6 * 6, dtype=np.uint8).reshape(6, 6)
    tiling = isolated(6, 6, 4)
    some = [Tile(0, 4, 4, 4), Tile(4, 0, 4, 4)]
    tiles = cut(mirror(plane, tiling), some, 0)
    np.testing.assert_array_equal(tiles[0, :, :2], plane[:4, 4:])
    np.testing.assert_array_equal(tiles[1, :2], plane[4:, :4])
    whole = np.zeros((6, 6), np.float32)
    stitch(whole, tiles.astype(np.float32), some)
    wanted = plane.astype(np.float32)
    wanted[:4, :4], wanted[4:, 4:] = 0, 0
    np.testing.assert_array_equal(whole, wanted)
    with pytest.raises(ValueError):
        stitch(whole, tiles.astype(np.float32), some[:1])
