"""car/chroma.py, and the Corrector's chroma beside luma: with plain functions of numpy in the nets' places."""

import io
from typing import Any

import numpy as np
import pytest
from conftest import ROOT
from PIL import Image
from reference import Array

from car import chroma, images, levels, tiles
from car.choice import Choice
from car.correct import NO_GAINS, Corrector, Net
from car.images import Decoded

RADIUS = 6


def decoded(width: int, height: int, subsampling: str | int = "4:2:0", tables: bool = False) -> Decoded:
    """A part of the sample astronaut as a JPEG, decoded; without tables nothing limits what nets change."""
    picture = Image.open(ROOT / "samples/astronaut.bmp").crop((150, 60, 150 + width, 60 + height))
    file = io.BytesIO()
    picture.convert("RGB").save(file, "JPEG", quality=40, subsampling=subsampling)
    found = images.decode_jpeg(file.getvalue())
    if tables:
        return found
    return found._replace(planes=tuple(plane._replace(table=None) for plane in found.planes))


def lighter(tiles: Array, contrast: float) -> Array:
    return tiles[:, 9:-9, 9:-9].astype(np.float32) + np.float32(3)


def by_luma(tiles: Array, contrast: float) -> Array:
    """Cb by the luma at the upper left of its cell, Cr by that at the lower right of the cell to its right."""
    core = tiles[:, 6:-6, 6:-6].astype(np.float32)
    beside = tiles[:, 6:-6, 7:-5].astype(np.float32)
    return np.stack([core[..., 2] / 16, beside[..., 5] / 32 - core[..., 1] / 64], -1)


def corrector(forward: Any = by_luma, **options: Any) -> Corrector:
    return Corrector({None: Net(lighter, NO_GAINS, chroma=forward)}, ignore_history=True, **options)


def cells(luma: Array, shape: tuple[int, ...]) -> Array:
    """Luma as 2x2 samples for each of chroma, with the edge repeated: [h, 2, w, 2]."""
    rest = [(0, 2 * part - whole) for whole, part in zip(luma.shape, shape, strict=True)]
    return np.pad(luma, rest, "edge").reshape(shape[0], 2, shape[1], 2).astype(float)


# ---- what the net sees ---------------------------------------------------------------------


def test_what_a_sample_of_chroma_covers() -> None:
    assert chroma.covers((10, 20), (5, 10)) == (2, 2) and chroma.covers((9, 19), (5, 10)) == (2, 2)
    assert chroma.covers((10, 20), (10, 10)) == (1, 2) and chroma.covers((10, 20), (10, 5)) == (1, 4)
    assert chroma.covers((10, 20), (10, 7)) is None  # 3 across


def test_phases_of_each_grid() -> None:
    luma = np.arange(32, dtype=np.uint8).reshape(1, 4, 8)
    assert chroma.phases(luma, (2, 2))[0, 1, 3].tolist() == [22, 23, 30, 31]
    assert chroma.phases(luma, (1, 1))[0, 2, 5].tolist() == [21] * 4
    assert chroma.phases(luma, (1, 2))[0, 1, 2].tolist() == [12, 13, 12, 13]
    assert chroma.phases(luma, (2, 1))[0, 1, 2].tolist() == [18, 18, 26, 26]
    assert chroma.phases(luma, (1, 4))[0, 3, 1].tolist() == [29, 31, 29, 31]  # means of 28 and 29, 30 and 31
    assert chroma.phases(luma, (4, 2))[0, 0, 0].tolist() == [4, 5, 20, 21]


def test_a_grid_that_is_not_known_is_refused() -> None:
    planes = [np.zeros(shape, np.uint8) for shape in ((8, 9), (8, 3), (8, 3))]
    with pytest.raises(ValueError, match=r"\(8, 3\) beside luma of \(8, 9\)"):
        chroma.Mirrored(planes, tiles.Tiling(8, 3, (8,), (3,), RADIUS))


def test_edges_are_mirrored_sample_by_sample() -> None:
    luma = np.arange(7 * 9, dtype=np.uint8).reshape(7, 9)
    cb, cr = np.arange(20, dtype=np.uint8).reshape(4, 5), np.arange(20, 40, dtype=np.uint8).reshape(4, 5)
    made = chroma.Mirrored([luma, cb, cr], tiles.Tiling(4, 5, (4,), (5,), 2)).cut([tiles.Tile(0, 0, 4, 5)])[0]
    assert made.shape == (8, 9, 6)
    assert made[2, 2].tolist() == [0, 20, 0, 1, 9, 10]  # the first of the planes
    assert made[1, 2].tolist() == [0, 20, 9, 10, 0, 1]  # above it, upside down
    assert made[2, 1].tolist() == [0, 20, 1, 0, 10, 9]
    assert made[5, 6].tolist() == [19, 39, 62, 62, 62, 62]  # the last cell: its edge repeated


# ---- the Corrector -------------------------------------------------------------------------


@pytest.mark.parametrize("side", [16, 37, 256])
@pytest.mark.parametrize("size", [(150, 133), (75, 90), (41, 16)])
def test_chroma_by_the_corrected_luma_without_seams(side: int, size: tuple[int, int]) -> None:
    picture = decoded(*size)
    luma, cb, cr = (plane.samples.astype(float) for plane in picture.planes)
    made = corrector(core_side=side).through_nets(picture)
    of_luma = cells(np.clip(luma + 3, 0, 255), cb.shape)
    right = np.concatenate([of_luma[:, :, 1:], of_luma[:, :, -1:, ::-1]], 2)
    wanted = of_luma[:, 0, :, 0] / 16, right[:, 1, :, 1] / 32 - cr / 64
    for change, decoded_plane, expected in zip(made[1:], (cb, cr), wanted, strict=True):
        found = levels.in_levels(change.change)
        np.testing.assert_allclose(
            found, np.clip(decoded_plane + expected, 0, 255) - decoded_plane, atol=3e-3
        )
    assert made[1].choice == made[2].choice == Choice(None, gains=False)


@pytest.mark.parametrize("subsampling", ["4:4:4", "4:2:2"])
def test_chroma_of_other_grids(subsampling: str) -> None:
    picture = decoded(60, 44, subsampling)
    luma, cb, _ = (plane.samples.astype(float) for plane in picture.planes)
    made = levels.in_levels(corrector().through_nets(picture)[1].change)
    first = np.clip(luma + 3, 0, 255)[:, :: luma.shape[1] // cb.shape[1]]
    np.testing.assert_allclose(made, np.clip(cb + first / 16, 0, 255) - cb, atol=3e-3)


def test_the_mean_of_eight_ways() -> None:
    """Of the four of a cell each is the upper left one in two ways."""
    picture = decoded(50, 34)
    luma, cb, _ = (plane.samples.astype(float) for plane in picture.planes)
    made = levels.in_levels(corrector(ensemble=True).through_nets(picture)[1].change)
    mean = cells(np.clip(luma + 3, 0, 255), cb.shape).mean(axis=(1, 3))
    np.testing.assert_allclose(made, np.clip(cb + mean / 16, 0, 255) - cb, atol=5e-3)


def test_each_plane_is_kept_to_its_own_table() -> None:
    def wild(tiles: Array, contrast: float) -> Array:
        return np.broadcast_to(np.array([40, -40], np.float32), (*tiles[:, 6:-6, 6:-6].shape[:3], 2))

    picture = decoded(64, 64, tables=True)
    made = corrector(wild).through_nets(picture)
    for plane, (change, _) in zip(picture.planes[1:], made[1:], strict=True):
        assert plane.table is not None
        # Of a level throughout no more than 0.35 of the first step, an eighth of it in each pixel.
        assert 0 < np.abs(levels.in_levels(change)).max() < 0.36 * plane.table[0, 0] / 8 + 0.1
    whole = corrector(wild).finish(picture, made)
    assert [one.mean_change > 0 for one in whole.planes] == [True, True, True]


def test_the_work_done_is_told() -> None:
    told: list[float] = []
    corrector().through_nets(decoded(700, 500), told.append)
    assert told == sorted(told) and told[-1] == 1
    assert any(abs(share - 2 / 3) < 1e-9 for share in told)  # where luma is done


def alone(tiles: Array, contrast: float) -> Array:
    raise AssertionError("chroma goes through the other net")


def test_when_each_plane_goes_alone() -> None:
    """A set without such a net; a neutral Cr; Cb and Cr of tables for which other weights are chosen."""
    picture = decoded(64, 48)
    without = Corrector({None: Net(lighter, NO_GAINS)}, ignore_history=True).through_nets(picture)
    assert (levels.in_levels(without[1].change) == 3).all()
    luma, cb, cr = picture.planes
    neutral = cr._replace(samples=np.full_like(cr.samples, 128))
    made = corrector(alone).through_nets(picture._replace(planes=(luma, cb, neutral)))
    assert (levels.in_levels(made[1].change) == 3).all() and (made[2].change == 0).all()
    fine, coarse = np.full((8, 8), 40, np.float32), np.full((8, 8), 90, np.float32)
    bank = {factor: Net(lighter, NO_GAINS, chroma=alone) for factor in (None, 0.5, 1.0)}
    other = picture._replace(planes=(luma, cb._replace(table=fine), cr._replace(table=coarse)))
    made = Corrector(bank, ignore_history=True).through_nets(other)
    assert [plane.choice.factor for plane in made[1:]] == [0.5, 1.0]


def test_luma_alone() -> None:
    corrected = corrector(alone, luma_only=True).correct(ROOT / "samples/coffee.jpg")
    assert len(corrected.planes) == 1
