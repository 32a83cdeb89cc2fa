"""car/correct.py: the Corrector with plain functions of numpy in the net's place."""

import io
import threading
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import ROOT
from PIL import Image
from reference import CHROMA_50, LUMA_50, Array, doubled, limited, lossless_jpeg

from car import correct, images
from car.choice import Choice
from car.correct import NO_GAINS, Corrector, Net
from car.errors import BadImage
from car.metadata import Metadata
from car.tiles import seamless

HALO = 9
OWN = Choice(None)


def photograph(width: int, height: int, mode: str = "RGB") -> Image.Image:
    """A part of the sample astronaut."""
    return Image.open(ROOT / "samples/astronaut.bmp").crop((150, 60, 150 + width, 60 + height)).convert(mode)


def coded(image: Image.Image, **options: Any) -> bytes:
    file = io.BytesIO()
    image.save(file, "JPEG", **{"quality": 50, **options})
    return file.getvalue()


def pixels_of(data: bytes) -> Array:
    return np.asarray(Image.open(io.BytesIO(data)))


def drafted(data: bytes, halved: bool = False) -> Array:
    """Y, Cb and Cr as libjpeg gives them."""
    image = Image.open(io.BytesIO(data))
    image.draft("YCbCr", (image.width // 2, image.height // 2) if halved else None)
    return np.asarray(image)


# ---- nets ----------------------------------------------------------------------------------


def box(tiles: Array, contrast: float) -> Array:
    """The mean over the 19x19 window around each pixel: exact in float64, the same wherever a tile begins."""
    sums = np.pad(tiles.astype(np.float64), ((0, 0), (1, 0), (1, 0))).cumsum(1).cumsum(2)
    side = 2 * HALO + 1
    means = sums[:, side:, side:] - sums[:, :-side, side:] - sums[:, side:, :-side] + sums[:, :-side, :-side]
    return (means / side**2).astype(np.float32)


def lopsided(tiles: Array, contrast: float) -> Array:
    """A quarter of each pixel, a quarter of one to its right, and half of one below and to the right.

    No flip or turn leaves it so, and the mean over turns alone is not that over flips and turns.
    """
    tiles = tiles.astype(np.float32)
    core = tiles[:, 9:-9, 9:-9]
    return (core / 4 + tiles[:, 9:-9, 12:-6] / 4 + tiles[:, 14:-4, 11:-7] / 2).astype(np.float32)


def plus(amount: float) -> Callable[[Array, float], Array]:
    def forward(tiles: Array, contrast: float) -> Array:
        return tiles[:, 9:-9, 9:-9].astype(np.float32) + np.float32(amount)

    return forward


def whole(forward: Callable[[Array, float], Array], samples: Array) -> Array:
    """What a net makes of a whole plane, mirrored at its edges."""
    return forward(np.pad(samples, HALO, "symmetric")[np.newaxis], 1.0)[0].astype(np.float64)


def corrector(forward: Callable[[Array, float], Array], gains: Array = NO_GAINS, **options: Any) -> Corrector:
    return Corrector({None: Net(forward, gains)}, **options)


# ---- a plane -------------------------------------------------------------------------------


@pytest.mark.parametrize("side", [16, 37, 64, 256, 1000])
@pytest.mark.parametrize("shape", [(151, 133), (300, 40), (16, 257), (1, 1), (5, 70), (11, 3)])
def test_no_seams_however_it_is_cut(side: int, shape: tuple[int, int]) -> None:
    samples = np.asarray(photograph(shape[1], shape[0], "L"))
    for forward in (box, lopsided):
        made = corrector(forward, core_side=side).through_net(samples, OWN)
        assert made.dtype == np.float32
        np.testing.assert_array_equal(made, whole(forward, samples))


def test_isolated_tiles_see_no_neighbours() -> None:
    samples = np.asarray(photograph(70, 50, "L"))

    def means(tiles: Array, contrast: float) -> Array:
        return np.broadcast_to(tiles.mean((1, 2), keepdims=True), tiles.shape).astype(np.float32)

    made = corrector(means, core_side=32, halo=0).through_net(samples, OWN)
    rows, columns = ([*range(n), *range(n)[::-1]] for n in (50, 70))
    mirrored = samples[rows[:64]][:, columns[:96]]
    for top in (0, 32):
        for left in (0, 32, 64):
            mean = mirrored[top : top + 32, left : left + 32].mean()
            assert made[top : top + 32, left : left + 32] == pytest.approx(mean, rel=1e-5)


def test_batches_are_of_one_shape_and_two_at_a_time() -> None:
    """Of 2**16 pixels of cores at the most; a second one runs while the first is computed, and no third."""
    shapes: list[tuple[int, ...]] = []
    running, most, both = 0, 0, threading.Barrier(2)
    lock = threading.Lock()

    def forward(tiles: Array, contrast: float) -> Array:
        nonlocal running, most
        with lock:
            running += 1
            most = max(most, running)
            first = len(shapes) < 2
            shapes.append(tiles.shape)
        if first:
            both.wait(5)  # breaks where there is one at a time
        time.sleep(0.02)
        with lock:
            running -= 1
        return plus(1)(tiles, contrast)

    samples = np.zeros((500, 1000), np.uint8)
    made = corrector(forward, core_side=96).through_net(samples, OWN)
    assert (made == 1).all() and most == 2
    # 96**2 * 7 <= 2**16; a batch that is not full takes tiles again.
    counts = Counter((tile.height, tile.width) for tile in seamless(500, 1000, 96, HALO).tiles)
    assert len(counts) > 1
    assert Counter(shapes) == {(7, h + 18, w + 18): -(-count // 7) for (h, w), count in counts.items()}
    shapes[:] = shapes[:2]
    corrector(forward).through_net(np.zeros((300, 256), np.uint8), OWN)
    assert shapes[2:] == [(1, 76 + 18, 256 + 18)] * 4


def test_tiles_as_large_as_a_batch_go_one_by_one() -> None:
    shapes = []

    def forward(tiles: Array, contrast: float) -> Array:
        shapes.append(tiles.shape)
        return plus(1)(tiles, contrast)

    corrector(forward, core_side=300, halo=9).through_net(np.zeros((592, 592), np.uint8), OWN)
    assert shapes == [(1, 296 + 18, 296 + 18)] * 4
    shapes.clear()
    corrector(forward).through_net(np.zeros((16, 16), np.uint8), OWN)
    assert shapes == [(1, 76 + 18, 76 + 18)]


def test_the_ensemble_is_the_mean_over_flips_and_turns_put_back() -> None:
    """By transposes and flips instead of quarter turns, with a net that every wrong one would show."""
    samples = np.asarray(photograph(75, 52, "L"))
    total = np.zeros(samples.shape)
    ways = []
    for transpose in (False, True):
        for down in (1, -1):
            for across in (1, -1):
                turned = (samples.T if transpose else samples)[::down, ::across]
                back = whole(lopsided, turned)[::down, ::across]
                ways.append(back.T if transpose else back)
                total += ways[-1]
    assert all(np.abs(a - b).max() > 10 for n, a in enumerate(ways) for b in ways[:n])
    made = corrector(lopsided, ensemble=True, core_side=32).through_net(samples, OWN)
    assert made.dtype == np.float32
    np.testing.assert_allclose(made, total / 8, atol=1e-3)
    assert np.abs(made - whole(lopsided, samples)).max() > 10
    # A net that is alike in all ways gives the same with and without.
    np.testing.assert_allclose(
        corrector(box, ensemble=True).through_net(samples, OWN), whole(box, samples), atol=1e-3
    )


def test_a_plane_goes_through_the_net_that_was_chosen_with_its_contrast() -> None:
    seen = []

    def forward(tiles: Array, contrast: float) -> Array:
        seen.append(contrast)
        return plus(7)(tiles, contrast)

    two = Corrector({None: Net(plus(1), NO_GAINS), 2.5: Net(forward, NO_GAINS)})
    samples = np.full((16, 16), 100, np.uint8)
    assert (two.through_net(samples, Choice(2.5, 0.75)) == 107).all() and seen == [0.75]
    assert (two.through_net(samples, OWN) == 101).all()
    stays = two.through_net(samples, Choice(None, unchanged=True))
    assert stays.dtype == np.float32 and (stays == 100).all()


# ---- an image ------------------------------------------------------------------------------


def rgb_change(luma: Array, blue: Array, red: Array) -> Array:
    """JFIF's matrix on changes of Y, Cb and Cr of one size."""
    return np.stack([luma + 1.402 * red, luma - 0.344136 * blue - 0.714136 * red, luma + 1.772 * blue], -1)


def assert_pixels(result: Array, wanted: Array) -> None:
    """Rounded; near a half, off by 1, as a change is held to 1/256 of a grey level."""
    rounded = np.clip(np.rint(wanted), 0, 255)
    assert result.dtype == np.uint8 and result.shape == wanted.shape
    off = np.abs(result.astype(int) - rounded)
    assert off.max() <= 1 and (off > 0).mean() < 8e-3


def kept(forward: Callable[[Array, float], Array], samples: Array, steps: Array, gains: Array) -> Array:
    change = np.clip(np.clip(whole(forward, samples), 0, 255) - samples, -128, 127.99)  # as it is held
    return limited(change, samples.astype(np.float64), steps.reshape(8, 8), gains, steps is CHROMA_50)


@pytest.mark.parametrize("size", [(70, 61), (33, 530)])
@pytest.mark.parametrize("strength", [1.0, 0.5])
def test_a_colour_jpeg(size: tuple[int, int], strength: float) -> None:
    """Luma with the gains, Cb and Cr (4:2:0) on their own grid and without; all kept to the file's steps."""
    data, gains = coded(photograph(*size)), np.linspace(0.5, 1.5, 64).reshape(8, 8).astype(np.float32)
    result = corrector(box, gains, strength=strength).correct(data)
    luma, half = drafted(data)[..., 0], drafted(data, halved=True)
    changes = [kept(box, luma, LUMA_50, gains)]
    changes += [kept(box, half[..., n], CHROMA_50, np.ones((8, 8))) for n in (1, 2)]
    changes = [change * strength for change in changes]
    blue, red = (doubled(change, size[1], size[0]) for change in changes[1:])
    decoded = pixels_of(data)
    assert_pixels(result.pixels, decoded + rgb_change(changes[0], blue, red))
    np.testing.assert_array_equal(result.before, decoded)
    assert (result.pixels != decoded).mean() > 0.3
    for plane, change, gains_hold in zip(result.planes, changes, (True, False, False), strict=True):
        assert plane.coarseness == 1 and plane.choice == Choice(None, gains=gains_hold)
        assert plane.mean_change == pytest.approx(np.abs(change).mean(), rel=1e-3)
        assert plane.mean_change > 0.1


def test_a_colour_jpeg_with_chroma_of_whole_size() -> None:
    data = coded(photograph(61, 40), subsampling=0)
    planes = drafted(data)
    changes = [
        kept(box, planes[..., n], [LUMA_50, CHROMA_50, CHROMA_50][n], np.ones((8, 8))) for n in range(3)
    ]
    assert_pixels(corrector(box).correct(data).pixels, pixels_of(data) + rgb_change(*changes))


def test_luma_alone() -> None:
    data = coded(photograph(61, 40))
    result = corrector(box, luma_only=True).correct(data)
    change = kept(box, drafted(data)[..., 0], LUMA_50, np.ones((8, 8)))
    assert_pixels(result.pixels, pixels_of(data) + change[..., np.newaxis])
    assert len(result.planes) == 1


def test_the_header_ignored() -> None:
    """No limits, no gains, and the net under None for every plane."""
    data = coded(photograph(61, 40), subsampling=0)
    nets = {1.0: Net(plus(99), NO_GAINS), None: Net(box, np.zeros((8, 8), np.float32))}
    result = Corrector(nets, ignore_header=True).correct(data)
    planes = drafted(data)
    changes = [np.clip(whole(box, planes[..., n]), 0, 255) - planes[..., n] for n in range(3)]
    assert_pixels(result.pixels, pixels_of(data) + rgb_change(*changes))
    assert [plane.coarseness for plane in result.planes] == [None] * 3
    assert [plane.choice.factor for plane in result.planes] == [None] * 3


def test_a_bank_by_each_plane_s_own_table() -> None:
    """Quality 20 is 2.5 times the standard: the set for 2.5, with its gains; quality 97 is finer than all."""
    gains = np.full((8, 8), 0.25, np.float32)
    nets = {None: Net(plus(99), NO_GAINS), 2.5: Net(plus(4), gains), 0.5: Net(plus(99), NO_GAINS)}
    data = coded(photograph(64, 48, "L").point(lambda level: level // 2 + 60), quality=20)
    result = Corrector(nets).correct(data)
    # A change of 4 is one of 32 in the mean of a block, a quarter of which is within 0.35 of its step of 40.
    decoded = pixels_of(data).astype(int)
    assert decoded.min() > 0 and decoded.max() < 255
    np.testing.assert_array_equal(result.pixels, decoded + 1)
    (plane,) = result.planes
    assert plane.choice.factor == 2.5 and plane.coarseness == pytest.approx(2.5, rel=0.01)
    assert plane.mean_change == pytest.approx(1, rel=1e-4)
    data = coded(photograph(64, 48), quality=97)
    result = Corrector(nets).correct(data)
    np.testing.assert_array_equal(result.pixels, pixels_of(data))
    assert [(p.choice.unchanged, p.mean_change) for p in result.planes] == [(True, 0)] * 3
    assert [p.coarseness for p in result.planes] == pytest.approx([0.0625, 0.0606, 0.0606], abs=0.01)


@pytest.mark.parametrize("strength", [1.0, 0.5])
def test_of_a_set_for_coarser_files_a_part_is_applied(strength: float) -> None:
    """A set of twice the coarseness: a quarter of what the limits leave, 0.35 of a step of 40 in the mean of 64."""
    nets = {None: Net(plus(99), NO_GAINS), 5.0: Net(plus(4), NO_GAINS)}
    data = coded(photograph(64, 48, "L").point(lambda level: level // 2 + 60), quality=20)
    (plane,) = Corrector(nets, strength=strength).correct(data).planes
    assert plane.choice.factor == 5 and plane.choice.strength == pytest.approx(0.25, rel=0.01)
    assert plane.mean_change == pytest.approx(strength * 0.25 * 0.35 * 40 / 8, rel=0.01)


def test_strength_0_gives_the_pixels_of_the_file() -> None:
    for data in (
        coded(photograph(70, 61)),
        coded(photograph(70, 61, "L")),
        coded(photograph(16, 16), quality=5),
    ):
        result = corrector(plus(50), strength=0.0).correct(data)
        np.testing.assert_array_equal(result.pixels, pixels_of(data))
        assert [plane.mean_change for plane in result.planes] == [0] * len(result.planes)


@pytest.mark.parametrize("strength", [-0.01, 1.01, float("nan")])
def test_other_strengths_are_refused(strength: float) -> None:
    with pytest.raises(ValueError, match=f"strength is {strength}.*0..1"):
        corrector(box, strength=strength)


def test_what_a_net_makes_is_clipped_before_it_is_measured() -> None:
    grey = np.array([[0, 100, 250], [255, 3, 128]], np.uint8)
    result = corrector(plus(10)).correct(grey)
    assert result.pixels.tolist() == [[10, 110, 255], [255, 13, 138]]
    assert result.planes[0].mean_change == pytest.approx((10 * 4 + 5) / 6)
    result = corrector(plus(-10)).correct(grey)
    assert result.pixels.tolist() == [[0, 90, 240], [245, 0, 118]]
    assert result.planes[0].mean_change == pytest.approx((10 * 4 + 3) / 6)


def test_changes_are_rounded_to_the_nearest_grey_level() -> None:
    grey = np.array([[100, 110]] * 3, np.uint8)
    for amount, level in ((0.49, 100), (0.51, 101), (-0.49, 100), (-0.51, 99), (3.7, 104)):
        assert (corrector(plus(amount)).correct(grey).pixels == [level, level + 10]).all()


@pytest.mark.parametrize("size", [(40, 30), (20, 600)])
def test_pixels_without_a_header(size: tuple[int, int]) -> None:
    """Luma's change goes to R, G and B alike, without limits; with and without a bank."""
    rgb = np.asarray(photograph(*size))
    nets = {None: Net(box, np.zeros((8, 8), np.float32)), 0.1: Net(plus(99), NO_GAINS)}
    result = Corrector(nets).correct(rgb)
    luma = np.asarray(Image.fromarray(rgb).convert("L"))
    change = np.clip(whole(box, luma) - luma, -128, 127.99)  # as it is held
    assert_pixels(result.pixels, rgb + change[..., np.newaxis])
    assert np.abs(change).max() > 20
    assert result.before is rgb or (result.before == rgb).all()
    (plane,) = result.planes
    assert plane.coarseness is None and plane.choice == OWN
    assert plane.mean_change == pytest.approx(np.abs(change).mean(), rel=1e-3)
    assert result.about == Metadata()
    grey = Corrector(nets).correct(luma)
    assert_pixels(grey.pixels, luma + change)


@pytest.mark.parametrize("mode", ["RGB", "L"])
def test_results_of_16_bits_keep_what_is_between_two_levels(mode: str) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    data = coded(photograph(40, 24, mode), exif=exif)
    nets: dict[float | None, Net] = {None: Net(box, NO_GAINS)}
    coarse = Corrector(nets).correct(data)
    fine = Corrector(nets, bits=16).correct(data)
    assert fine.pixels.dtype == fine.before.dtype == np.uint16 and (coarse.white, fine.white) == (255, 65535)
    np.testing.assert_array_equal(fine.before, coarse.before.astype(int) * 257)
    np.testing.assert_array_equal(np.rint(fine.pixels / 257), coarse.pixels)
    assert len(np.unique(fine.pixels % 257)) > 150  # not only whole grey levels
    plane = np.asarray(Image.open(io.BytesIO(data)).convert("L"))
    if mode == "L":  # by hand
        change = np.rot90(whole(box, plane) - plane, -1)
        limit = np.rint(257 * np.clip(coarse.before + change, 0, 255))
        assert np.abs(Corrector(nets, bits=16, ignore_header=True).correct(data).pixels - limit).max() <= 1
    still = Corrector(nets, bits=16, strength=0.0).correct(data)
    np.testing.assert_array_equal(still.pixels, still.before)
    with pytest.raises(ValueError, match="bits is 12"):
        Corrector(nets, bits=12)


@pytest.mark.parametrize(
    "pixels",
    [
        np.zeros((4, 4), np.float32),
        np.zeros((4, 4), np.int64),
        np.zeros((4, 4, 4), np.uint8),
        np.zeros((4, 4, 1), np.uint8),
        np.zeros((2, 4, 4, 3), np.uint8),
        np.zeros(4, np.uint8),
        np.zeros((0, 4), np.uint8),
        np.zeros((4, 0, 3), np.uint8),
    ],
    ids=range(8),
)
def test_other_arrays_are_refused(pixels: Any) -> None:
    with pytest.raises(ValueError) as refused:
        corrector(box).correct(pixels)
    assert f"{pixels.dtype} {list(pixels.shape)}" in str(refused.value)


def test_bytes_a_path_and_its_text_give_the_same(tmp_path: Path) -> None:
    data = coded(photograph(40, 30))
    (tmp_path / "a.jpg").write_bytes(data)
    results = [
        corrector(box).correct(given).pixels for given in (data, tmp_path / "a.jpg", str(tmp_path / "a.jpg"))
    ]
    assert results[0].tolist() == results[1].tolist() == results[2].tolist() != pixels_of(data).tolist()


def test_what_cannot_be_read_is_a_bad_image(tmp_path: Path) -> None:
    data = coded(photograph(40, 30))
    (tmp_path / "a.jpg").write_bytes(data[:-80])
    with pytest.raises(BadImage, match=r"^a.jpg: cannot be decoded: ."):
        corrector(box).correct(tmp_path / "a.jpg")
    with pytest.raises(BadImage, match=r"^cannot be decoded: image file is truncated"):
        corrector(box).correct(data[:-80])
    with pytest.raises(BadImage, match=r"^is not a JPEG$"):
        corrector(box).correct(b"text")


def test_the_limit_of_pixels(tmp_path: Path) -> None:
    data = coded(photograph(40, 30))
    (tmp_path / "a.jpg").write_bytes(data)
    for given in (data, tmp_path / "a.jpg"):
        assert corrector(box, max_pixels=1200).correct(given).pixels.shape == (30, 40, 3)
        with pytest.raises(BadImage, match="limit of 1199"):
            corrector(box, max_pixels=1199).correct(given)


def test_a_fault_without_a_text_is_named_by_its_kind(monkeypatch: pytest.MonkeyPatch) -> None:
    """No file is known with which Pillow does so."""

    def decode(data: bytes, *_: object) -> images.Decoded:
        raise EOFError

    monkeypatch.setattr(images, "decode_jpeg", decode)
    with pytest.raises(BadImage, match=r"^cannot be decoded: EOFError\(\)$"):
        corrector(box).correct(b"")


@pytest.mark.parametrize("orientation", range(1, 9))
def test_results_are_upright(orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    data, plain = coded(photograph(48, 32), exif=exif), coded(photograph(48, 32))
    turned, lying = corrector(lopsided).correct(data), corrector(lopsided).correct(plain)
    upright: Any = {
        1: lambda p: p,
        2: np.fliplr,
        3: lambda p: np.rot90(p, 2),
        4: np.flipud,
        5: lambda p: p.swapaxes(0, 1),
        6: lambda p: np.rot90(p, -1),
        7: lambda p: np.rot90(p, 2).swapaxes(0, 1),
        8: lambda p: np.rot90(p, 1),
    }[orientation]
    np.testing.assert_array_equal(turned.pixels, upright(lying.pixels))
    np.testing.assert_array_equal(turned.before, upright(pixels_of(plain)))
    assert turned.about.orientation == orientation


# ---- what is told, and several threads -----------------------------------------------------


def shares(image: Any, **options: Any) -> list[float]:
    told: list[float] = []

    def watch(share: float) -> None:
        assert threading.current_thread() is here
        told.append(share)

    here = threading.current_thread()
    corrector(box, **options).correct(image, watch)
    return told


def test_the_shares_of_the_work_rise_to_1() -> None:
    grey = np.asarray(photograph(96, 64, "L"))
    assert shares(grey) == [1]
    # 768 by cores of 256: three.
    tall = np.zeros((768, 256), np.uint8)
    tall[0, 0] = 1
    assert shares(tall) == pytest.approx([1 / 3, 2 / 3, 1])
    assert shares(tall, ensemble=True) == pytest.approx([n / 24 for n in range(1, 25)])
    # 700 by 256, 256, 136 and 76: they count by their pixels.
    assert shares(tall[:700]) == pytest.approx([76 / 724, 212 / 724, 468 / 724, 1])
    # Cb and Cr have a quarter of luma's pixels each.
    assert shares(coded(photograph(64, 48))) == pytest.approx([4 / 6, 5 / 6, 1])
    assert shares(coded(photograph(64, 48), subsampling=0)) == pytest.approx([1 / 3, 2 / 3, 1])
    assert shares(coded(photograph(64, 48)), luma_only=True) == [1]


def test_the_shares_rise_to_1_where_planes_stay_as_they_are() -> None:
    told: list[float] = []
    coarse = Corrector({None: Net(box, NO_GAINS), 1.0: Net(box, NO_GAINS)})
    coarse.correct(coded(photograph(64, 48), quality=97), told.append)
    assert told == pytest.approx([4 / 6, 5 / 6, 1])


def test_several_threads_on_one_corrector() -> None:
    one = corrector(lopsided, core_side=32, ensemble=True)
    pictures = [coded(photograph(100 + 9 * n, 80 - 7 * n)) for n in range(8)]
    wanted = [one.correct(picture) for picture in pictures]
    with ThreadPoolExecutor(4) as pool:
        for got, alone in zip(pool.map(one.correct, pictures), wanted, strict=True):
            np.testing.assert_array_equal(got.pixels, alone.pixels)
            assert [plane[:3] for plane in got.planes] == [plane[:3] for plane in alone.planes]


def test_planes_of_another_picture_are_refused() -> None:
    one = corrector(box)
    picture = one.decode(coded(photograph(32, 32)))
    with pytest.raises(ValueError):
        one.finish(picture, one.through_nets(picture)[:2])


def test_a_corrector_is_not_changed_by_use_nor_by_its_nets_later() -> None:
    nets: dict[float | None, Net] = {None: Net(plus(1), NO_GAINS)}
    one = Corrector(nets)
    nets.clear()
    grey = np.full((20, 20), 7, np.uint8)
    grey[0, 0] = 9
    given, before = grey.copy(), dict(vars(one))
    assert [(one.correct(grey).pixels == given + 1).all() for _ in range(2)] == [True, True]
    assert (grey == given).all() and vars(one) == before


def test_a_fault_of_a_net_comes_out() -> None:
    def forward(tiles: Array, contrast: float) -> Array:
        raise MemoryError("too much")

    with pytest.raises(MemoryError, match="too much"):
        corrector(forward).correct(np.eye(20, dtype=np.uint8))


def test_the_defaults() -> None:
    made = corrector(box)
    assert (made.core_side, made.halo, made.max_pixels) == (256, 9, 500_000_000)
    assert (made.strength, made.ensemble, made.ignore_header, made.luma_only) == (1, False, False, False)
    assert correct.NO_GAINS.tolist() == [[1] * 8] * 8 and correct.NO_GAINS.dtype == np.float32


# ---- neutral pictures ------------------------------------------------------------------------


@pytest.mark.parametrize("options", [{}, {"ignore_header": True}, {"ensemble": True}])
@pytest.mark.parametrize("subsampling", [0, 1, 2])
def test_a_neutral_picture_stays_neutral(subsampling: int, options: dict[str, Any]) -> None:
    """Cb and Cr are 128 throughout; luma is corrected all the same."""
    grey = photograph(64, 48, "L").convert("RGB")
    corrected = corrector(plus(3), **options).correct(coded(grey, subsampling=subsampling))
    red, green, blue = np.moveaxis(corrected.pixels, -1, 0)
    np.testing.assert_array_equal(red, green)
    np.testing.assert_array_equal(red, blue)
    assert np.abs(corrected.pixels.astype(int) - corrected.before).mean() > 0.5
    assert [plane.choice.one_level for plane in corrected.planes] == [False, True, True]


def test_luma_of_one_level_stays() -> None:
    corrected = corrector(plus(3)).correct(np.full((20, 30), 77, np.uint8))
    assert (corrected.pixels == 77).all() and corrected.planes[0].choice.unchanged


def test_neutral_ground_beside_colours_stays_neutral() -> None:
    """The left half is grey, the right half has colours; chroma's net asks for a tint everywhere."""
    picture = photograph(256, 64)
    picture.paste(picture.convert("L").convert("RGB").crop((0, 0, 128, 64)), (0, 0))
    corrected = corrector(plus(3)).correct(coded(picture))
    red, green, blue = np.moveaxis(corrected.pixels, -1, 0).astype(int)
    neutral = (
        slice(None),
        slice(0, 96),
    )  # 16 pixels a block of chroma, one block and what interpolation reaches
    np.testing.assert_array_equal(red[neutral], green[neutral])
    np.testing.assert_array_equal(red[neutral], blue[neutral])
    before = corrected.before.astype(int)
    assert np.abs((blue - green) - (before[..., 2] - before[..., 1]))[:, 160:].mean() > 1


@pytest.mark.parametrize("options", [{}, {"ignore_header": True, "luma_only": True}])
@pytest.mark.parametrize("mode", ["L", "RGB"])
def test_a_lossless_jpeg_stays_as_it_is(mode: str, options: dict[str, Any]) -> None:
    pixels, told = np.asarray(photograph(40, 30, mode)), list[float]()
    corrected = corrector(plus(3), **options).correct(lossless_jpeg(pixels), told.append)
    np.testing.assert_array_equal(corrected.pixels, pixels)
    assert corrected.planes == () and told == [1]
