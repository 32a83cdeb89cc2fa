"""samples/drawn and make_drawn_pictures.py: each kind is what its name says, the same for the same seed."""

import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from conftest import ROOT, run
from PIL import Image
from reference import Array

sys.path.insert(0, str(ROOT / "samples"))

from drawn import kinds, patterns, texts, tools, unseen

SIDE = 96


def generator(seed: int) -> tools.Rng:
    return np.random.default_rng(seed)


def several(draw: Callable[[tools.Rng, int], Array], number: int = 20) -> list[Array]:
    return [draw(generator(seed), SIDE) for seed in range(number)]


def colours_in(picture: Array) -> Array:
    return np.unique(picture.reshape(-1, 3), axis=0)


@pytest.mark.parametrize("kind", unseen.KINDS)
def test_each_kind_for_tests(kind: str) -> None:
    """As below; none has the name of a kind that nets are trained on."""
    pictures = several(unseen.KINDS[kind])
    for picture in pictures:
        assert picture.shape == (SIDE, SIDE, 3) and picture.dtype == np.uint8
    assert len({picture.tobytes() for picture in pictures}) > 15
    assert sum(len(colours_in(picture)) > 1 for picture in pictures) > 15
    assert kind not in kinds.KINDS


@pytest.mark.parametrize("kind", kinds.KINDS)
def test_each_kind(kind: str) -> None:
    """RGB of the side asked for, never of one level, a part of them grey; the seed alone decides."""
    pictures = several(kinds.KINDS[kind])
    for picture in pictures:
        assert picture.shape == (SIDE, SIDE, 3) and picture.dtype == np.uint8
        assert len(colours_in(picture)) > 1
    grey = sum(bool((picture == picture[..., :1]).all()) for picture in pictures)
    assert 2 <= grey <= 20
    np.testing.assert_array_equal(kinds.KINDS[kind](generator(7), SIDE), pictures[7])
    assert len({picture.tobytes() for picture in pictures}) == 20


def test_colour_and_grey_occur_and_no_picture_twice() -> None:
    pictures = [kinds.draw(number, SIDE, seed=0)[1] for number in range(100)]
    assert 20 < sum(picture.ndim == 2 for picture in pictures) < 80
    assert len({picture.tobytes() for picture in pictures}) == 100


def test_paper_and_ink_can_be_told_apart() -> None:
    for seed in range(200):
        paper, ink = (
            np.array(colour) @ (0.299, 0.587, 0.114) for colour in tools.colours(generator(seed), 2)
        )
        assert abs(paper - ink) >= tools.LEAST_CONTRAST - 1


def test_a_checkerboard() -> None:
    board = patterns.squares(8, 2, 2, 0, 0)
    assert board[:4].tolist() == [[0, 0, 1, 1] * 2] * 2 + [[1, 1, 0, 0] * 2] * 2
    assert patterns.squares(6, 1.5, 6, 0, 0)[0].tolist() == [0, 0, 1, 0, 0, 1]
    assert patterns.squares(6, 2, 3, 1, 2)[:, 0].tolist() == [0, 1, 1, 1, 0, 0]


def test_checkerboards_have_two_colours() -> None:
    for picture in several(patterns.checkerboard):
        assert len(colours_in(picture)) == 2


def test_stripes() -> None:
    """Across the columns, whole and antialiased: of 4 pixels, 1.5 of them ink."""
    sharp, soft = (patterns.stripes(64, 0, 4, 0.375, soft) for soft in (False, True))
    assert sharp[9, :8].tolist() == [1, 1, 0, 0] * 2
    assert soft[9, :8].tolist() == [0.5, 1, 0, 0] * 2
    down = patterns.stripes(64, np.pi / 2, 3, 1 / 3, True)
    np.testing.assert_allclose(down[:6, 5], [0.5, 0.5, 0, 0.5, 0.5, 0], atol=1e-9)
    turned = patterns.stripes(256, 0.3, 5, 0.3, True)
    assert abs(turned.mean() - 0.3) < 0.01


def test_no_stripes_of_the_slopes_that_are_left_out() -> None:
    rng = generator(0)
    slopes = np.degrees([tools.any_angle(rng) for _ in range(2000)]) % 90
    for slope in (np.degrees(np.arctan(0.5)), np.degrees(np.arctan(2))):
        assert np.abs(slopes - slope).min() > 5.9
    assert np.isclose(slopes, 0).mean() > 0.1 and np.isclose(slopes, 45).mean() > 0.1


def test_bayers_matrix() -> None:
    assert patterns.bayer(1).tolist() == [[0, 2], [3, 1]]
    assert patterns.bayer(2)[0].tolist() == [0, 8, 2, 10]
    assert sorted(patterns.bayer(3).ravel()) == list(range(64))


@pytest.mark.parametrize("order", [1, 2, 3])
@pytest.mark.parametrize("levels", [2, 4])
def test_ordered_dither_keeps_the_mean(order: int, levels: int) -> None:
    """Of a flat grey, to half a step of the matrix; a field of black stays black, of white white."""
    for grey in (0.0, 60.0, 127.5, 201.0, 255.0):
        made = patterns.dithered(np.full((48, 40), grey), order, levels)
        assert set(np.unique(made)) <= set(np.linspace(0, 1, levels))
        assert abs(made.mean() - grey / 255) <= 0.51 / 4**order / (levels - 1)


def test_error_diffusion_has_few_colours() -> None:
    counts = [len(colours_in(picture)) for picture in several(patterns.diffusion, 40)]
    assert max(counts) <= 12 and counts.count(2) >= 12 and max(counts) > 3


def test_halftone_dots_grow_with_the_dark() -> None:
    inks = [
        patterns.dots(np.full((96, 96), grey), 0.4, 6.0, 3).mean()
        for grey in (0.0, 64.0, 128.0, 192.0, 254.0)
    ]
    assert inks[0] > 0.99 and inks[-1] < 0.05 and (np.diff(inks) < -0.1).all()
    assert set(np.unique(patterns.dots(np.full((96, 96), 90.0), 0.4, 6.0, 1))) == {0, 1}


def test_a_gradient_goes_from_end_to_end() -> None:
    place = np.linspace(0, 1, 511)
    fine = tools.shade(place, [(10, 200, 0), (250, 20, 0)], None).astype(int)
    assert fine[0].tolist() == [10, 200, 0] and fine[-1].tolist() == [250, 20, 0]
    assert set(np.diff(fine[:, 0])) == {0, 1} and (np.diff(fine[:, 1]) <= 0).all()
    bands = tools.shade(place, [(0, 0, 0), (100, 100, 100)], 5)
    assert np.unique(bands).tolist() == [0, 25, 50, 75, 100]
    assert np.bincount(bands[:, 0])[[0, 25, 50, 75, 100]].tolist() == [102, 102, 102, 102, 103]
    three = tools.shade(np.array([0, 0.25, 0.5, 1]), [(0, 0, 0), (200, 0, 0), (0, 0, 40)], None)
    assert three.tolist() == [[0, 0, 0], [100, 0, 0], [200, 0, 0], [0, 0, 40]]
    assert tools.between([(0, 0, 0), (200, 100, 50)], 0.5) == (100, 50, 25)


def test_dark_glows_are_dark_and_soft() -> None:
    pictures = several(patterns.glow)
    assert sum(picture.mean() < 30 for picture in pictures) > 10 and max(p.max() for p in pictures) > 40
    for picture in pictures:
        steps = np.abs(np.diff(picture.astype(int), axis=1))
        assert steps.max() <= 12 and picture.min() < 60


def test_flat_blocks_are_black_or_from_level_16_on() -> None:
    for picture in several(patterns.flats):
        assert ((picture == 0) | (picture >= 16)).all()
        assert (np.diff(picture.astype(int), axis=1) == 0).all(axis=-1).mean() > 0.4


def test_text_sharp_and_smooth() -> None:
    for sharp in (True, False):
        levels = np.unique(np.asarray(texts.page(generator(1), SIDE, 14, sharp)))
        assert (levels.tolist() == [0, 255]) == sharp
    coverage = texts.subpixels(generator(1), SIDE, 14)
    assert coverage.shape == (SIDE, SIDE, 3) and coverage.min() == 0 and 0.9 < coverage.max() <= 1 + 1e-9
    assert (coverage[..., 0] != coverage[..., 2]).mean() > 0.05


def test_no_page_is_blank() -> None:
    """Also the small turned ones, whose lines can be too short to reach into the picture."""
    for seed in range(200):
        assert len(colours_in(texts.text(generator(seed), 64))) > 1


def test_pixels_made_larger() -> None:
    small = np.array([[1, 2], [3, 4]], np.uint8)
    assert tools.enlarged(small, 2, 3).tolist() == [[1, 1, 2], [1, 1, 2], [3, 3, 4]]


# ---- the command ---------------------------------------------------------------------------


def test_the_command(tmp_path: Path) -> None:
    """Two runs write the same; the folder may be there and empty; --enlarge is undone by shrinking."""
    (tmp_path / "second").mkdir()
    options = ("--count", 43, "--size", 64, "--seed", 3)
    said = run("samples/make_drawn_pictures.py", tmp_path / "first", *options)
    assert "43 pictures of 20 kinds" in said.out
    run("samples/make_drawn_pictures.py", tmp_path / "second", *options, "--enlarge", 2)
    paths = sorted((tmp_path / "first").iterdir(), key=lambda path: path.stem[-4:])
    assert [path.stem[-4:] for path in paths] == [f"{number:04d}" for number in range(43)]
    assert [path.stem[:-5] for path in paths] == [*kinds.KINDS, *kinds.KINDS, *list(kinds.KINDS)[:3]]
    assert len(list(tmp_path.glob("second/*"))) == 43 and len(list(tmp_path.iterdir())) == 2
    for number, path in enumerate(paths):
        with Image.open(path) as image, Image.open(tmp_path / "second" / path.name) as large:
            assert image.size == (64, 64) and large.size == (128, 128) and image.mode == large.mode
            assert image.format == "PNG" and image.mode in ("L", "RGB")
            assert large.reduce(2).tobytes() == image.tobytes()
            np.testing.assert_array_equal(np.asarray(image), kinds.draw(number, 64, seed=3)[1])


def test_the_command_for_test_pictures(tmp_path: Path) -> None:
    said = run("samples/make_drawn_pictures.py", tmp_path / "new", "--unseen", "--count", 11, "--size", 64)
    assert "11 pictures of 10 kinds" in said.out
    names = sorted((path.stem for path in (tmp_path / "new").iterdir()), key=lambda name: name[-4:])
    assert [name[:-5] for name in names] == [*unseen.KINDS, next(iter(unseen.KINDS))]


def test_a_folder_that_holds_something_is_refused(tmp_path: Path) -> None:
    mine = tmp_path / "text_0000.png"
    mine.write_bytes(b"mine")
    said = run("samples/make_drawn_pictures.py", tmp_path, "--count", 1, status=1)
    assert "holds text_0000.png already" in said.err and mine.read_bytes() == b"mine"
    assert [path.name for path in tmp_path.iterdir()] == ["text_0000.png"]
    said = run("samples/make_drawn_pictures.py", mine, status=2)
    assert "is a file; a folder is needed" in said.err and mine.read_bytes() == b"mine"
    said = run("samples/make_drawn_pictures.py", tmp_path / "new", "--size", 63, status=2)
    assert "whole number of 64" in said.err and not (tmp_path / "new").exists()
