"""car.history: earlier savings are found with their grid and quality, and nothing where there was none."""

import io
import sys
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import ROOT, run
from PIL import Image

sys.path.insert(0, str(ROOT / "samples"))

from drawn import kinds

from car import coded, history, images, jpeg, levels, limits, rows
from car.arrays import Floats, Pixels
from car.correct import Corrector, Net
from car.history import Saving

NO_GAINS = np.ones((8, 8), np.float32)
FORMS = ["png", "webp", "tiff", "bmp"]


def sample(name: str, side: int = 256, colour: bool = False) -> Pixels:
    """The middle of a sample, which was never a JPEG."""
    image = Image.open(ROOT / f"samples/{name}.bmp").convert("RGB")
    left, top = (image.width - side) // 2, (image.height - side) // 2
    pixels = np.asarray(image.crop((left, top, left + side, top + side)))
    return pixels if colour else levels.luma_of(pixels)


def saved(pixels: Pixels, quality: int) -> Pixels:
    return np.asarray(Image.open(io.BytesIO(images.jpeg_bytes(np.ascontiguousarray(pixels), quality))))


def found_in(pixels: Pixels, quality: int) -> Saving | None:
    """What is found in pixels that are saved at a quality."""
    plane = images.decode_jpeg(images.jpeg_bytes(np.ascontiguousarray(pixels), quality)).planes[0]
    return history.earlier_saving(plane.samples, plane.table)


# ---- found ---------------------------------------------------------------------------------


@pytest.mark.parametrize("shift", [(0, 0), (3, 5), (0, 1), (4, 4), (7, 2)])
@pytest.mark.parametrize(("first", "second"), [(10, 75), (20, 95), (30, 85), (40, 90), (50, 75)])
def test_an_earlier_saving_is_found_with_its_grid_and_quality(
    shift: tuple[int, int], first: int, second: int
) -> None:
    name = ("astronaut", "camera", "chelsea", "coffee")[(sum(shift) + first) % 4]
    cut = saved(sample(name), first)[shift[0] :, shift[1] :]
    assert found_in(cut, second) == Saving((-shift[0] % 8, -shift[1] % 8), first)


def test_in_a_small_picture_and_one_of_any_size() -> None:
    cut = saved(sample("chelsea", 136), 20)[2:, 7:]
    assert found_in(cut[:101, :117], 90) == Saving((6, 1), 20)


@pytest.mark.parametrize("quality", [20, 50, 75, 85])
def test_what_was_a_jpeg_once_and_is_none_now(quality: int) -> None:
    cut = saved(sample("coffee", colour=True), quality)[5:, 2:]
    found = history.earlier_saving(levels.luma_of(cut), None, cut)
    assert found and found.corner == (3, 6) and abs(found.quality - quality) <= 1


def test_drawn_pictures_saved_twice() -> None:
    for number in (0, 2, 6):  # text, line art, a chart
        cut = saved(kinds.draw(number, 256, 3)[1], 30)[1:, 6:]
        assert found_in(levels.luma_of(cut), 90) in (None, Saving((7, 2), 30))


def test_in_words() -> None:
    assert Saving((0, 0), 20).describe() == "quality 20"
    assert Saving((3, 0), 20).describe() == "quality 20, on a grid 3 rows and 0 columns off"


# ---- nothing to be found -------------------------------------------------------------------


@pytest.mark.parametrize("quality", [10, 25, 40, 50, 60, 75, 85, 90, 95, 100])
@pytest.mark.parametrize("name", ["astronaut", "camera", "chelsea", "coffee", "hubble_deep_field"])
def test_a_photograph_saved_once(name: str, quality: int) -> None:
    assert found_in(sample(name), quality) is None


@pytest.mark.parametrize("number", range(len(kinds.KINDS)))
def test_a_drawn_picture_saved_once(number: int) -> None:
    """Their coefficients have few sizes, which makes combs by chance, on several grids alike."""
    pixels = levels.luma_of(kinds.draw(number, 192, 5)[1])
    for quality in (30, 60, 85, 95):
        assert found_in(pixels, quality) is None, quality
    assert history.earlier_saving(pixels, None) is None


def test_a_finer_saving_before_is_none_that_counts() -> None:
    cut = saved(sample("astronaut"), 95)[3:, 1:]
    assert found_in(cut, 50) is None


@pytest.mark.parametrize("shape", [(1, 1), (8, 8), (20, 20), (300, 1), (1, 300), (16, 300), (300, 15)])
def test_small_pictures(shape: tuple[int, int]) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, shape, np.uint8)
    for table in (None, jpeg.table_of_quality(90)):
        assert history.earlier_saving(pixels, table) is None


@pytest.mark.parametrize("level", [0, 100, 255])
def test_flat_pictures(level: int) -> None:
    assert history.earlier_saving(np.full((256, 256), level, np.uint8), None) is None
    assert history.traced((), np.zeros((256, 256), np.uint8)) == ((), None)


def test_memory_and_windows_do_not_grow_with_the_picture() -> None:
    cut = np.tile(saved(sample("chelsea"), 30), (16, 16))[3:, 4:]  # 17 megapixels
    cut = (cut // 2 + np.arange(cut.shape[1], dtype=np.uint8) // 128).astype(np.uint8)  # no two are the same
    history.earlier_saving(cut[:300, :300], None)  # tables that stay
    tracemalloc.start()
    history.earlier_saving(cut, None)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 40e6, peak


# ---- corrected for it ----------------------------------------------------------------------


def twice(colour: bool = True, shift: tuple[int, int] = (2, 4)) -> tuple[bytes, Pixels]:
    """A file saved at 20, cut, and saved at 90; and what it should be."""
    clean = sample("astronaut", 200, colour)
    cut = np.ascontiguousarray(saved(clean, 20)[shift[0] :, shift[1] :])
    return images.jpeg_bytes(cut, 90), clean[shift[0] :, shift[1] :]


def moved(amount: float) -> Net:
    def forward(tiles: Pixels, contrast: float) -> Floats:
        rng = np.random.default_rng(0)
        inside = tiles[:, 9:-9, 9:-9]
        moved: Floats = np.add(inside, rng.normal(0, amount, inside.shape[1:]), dtype=np.float32)
        return moved

    return Net(forward, NO_GAINS)


BANK = {None: moved(30.0), jpeg.coarseness_of_quality(20): moved(30.0), 0.2: moved(30.0)}


def test_weights_and_limits_are_those_of_the_earlier_saving() -> None:
    data, _ = twice()
    decoded = images.decode_jpeg(data)
    corrected = Corrector(BANK).correct(data)
    assert corrected.earlier == Saving((6, 4), 20)
    assert [plane.choice.factor for plane in corrected.planes] == [2.5] * 3
    assert corrected.planes[0].coarseness == jpeg.coarseness(jpeg.table_of_quality(90), 0)
    assert Corrector(BANK).decode(data).planes[1].earlier.corner == (3, 2)  # type: ignore[union-attr]
    # The change of luma, seen on the earlier grid: up to the limits of the earlier steps, and never over them.
    grey, _ = twice(colour=False)
    result = Corrector(BANK, bits=16).correct(grey)
    before, after = (pixels[6:198, 4:196] for pixels in (result.before, result.pixels))
    inside = ((jpeg.blocks_of(after) > 0) & (jpeg.blocks_of(after) < 65535)).all(axis=1)
    change = jpeg.blocks_of((after.astype(np.float32) - before).astype(np.float32) / np.float32(257))[inside]
    asked = np.abs(change @ jpeg.COSINES.T) / jpeg.table_of_quality(20).reshape(-1)
    assert len(asked) > 200 and asked.max() < jpeg.REACH_IN_STEPS + 0.01
    assert np.percentile(asked[:, :10], 90) > 0.3
    assert decoded.planes[0].earlier is None


def test_an_odd_shift_leaves_chroma_on_the_next_grid() -> None:
    picture = images.decode_jpeg(twice(shift=(3, 6))[0])
    planes, found = history.traced(picture.planes, picture.pixels)
    assert found == Saving((5, 2), 20)
    assert [plane.earlier.corner for plane in planes if plane.earlier] == [(5, 2), (3, 1), (3, 1)]
    assert planes[1].earlier and (planes[1].earlier.table == jpeg.table_of_quality(20, 1)).all()


def test_of_chroma_that_is_coarser_now_the_file_is_asked() -> None:
    _, (luma, *_), *_ = images.decode_jpeg(twice()[0])
    coarse = coded.Plane(np.zeros((98, 98), np.uint8), jpeg.table_of_quality(10, 1))
    unknown = coded.Plane(np.zeros((98, 98), np.uint8), None)
    planes, found = history.traced((luma, coarse, unknown), luma.samples)
    assert found and planes[0].earlier and planes[1:] == (coarse, unknown)


def test_ignore_history_looks_for_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    data, pixels = twice()
    by_header = Corrector(BANK, ignore_history=True).correct(data)
    unknown = Corrector(BANK).correct(pixels)  # an array has no header, and no earlier saving is looked for
    assert by_header.earlier is None and unknown.earlier is None and unknown.planes[0].choice.factor is None
    assert by_header.planes[0].choice.factor == 0.2
    monkeypatch.setattr(history, "earlier_saving", lambda *_: None)
    np.testing.assert_array_equal(Corrector(BANK).correct(data).pixels, by_header.pixels)
    monkeypatch.delattr(history, "earlier_saving")
    for options in ({"ignore_history": True}, {"ignore_header": True}):
        Corrector(BANK, **options).correct(data)  # type: ignore[arg-type]
    Corrector(BANK).decode(ROOT / "samples/coffee.jpg", header_only=True)


@pytest.mark.parametrize("form", FORMS)
def test_pictures_of_other_types(form: str) -> None:
    """What was a JPEG is corrected as one, and what was none stays."""

    def as_form(pixels: Pixels) -> bytes:
        file = io.BytesIO()
        Image.fromarray(pixels).save(file, form, **({"lossless": True} if form == "webp" else {}))
        return file.getvalue()

    clean = sample("coffee", 200, colour=True)
    was, never = as_form(saved(clean, 20)[1:, 1:]), as_form(clean)
    corrector = Corrector(BANK, input_types=FORMS)
    corrected = corrector.correct(was)
    assert corrected.earlier == Saving((7, 7), 20) and corrected.planes[0].choice.factor == 2.5
    assert not np.array_equal(corrected.pixels, corrected.before)
    stays = corrector.correct(never)
    assert stays.planes == () and stays.earlier is None
    np.testing.assert_array_equal(stays.pixels, clean)
    for options in ({"ignore_history": True}, {"ignore_header": True, "ignore_history": True}):
        todays = Corrector(BANK, input_types=FORMS, **options).correct(never)  # type: ignore[arg-type]
        assert [plane.choice.factor for plane in todays.planes] == [None]


def test_limits_on_a_grid_with_a_corner() -> None:
    """Inside they are those of the same blocks in a picture that begins at a block."""
    rng, samples = np.random.default_rng(1), sample("chelsea", 160)
    asked = levels.held(rng.normal(0, 20, samples.shape).astype(np.float32))
    table = jpeg.table_of_quality(30)
    whole, cut = asked.copy(), asked[5:, 2:].copy()
    limits.limit_change(whole, samples, table, NO_GAINS)
    limits.limit_change(cut, samples[5:, 2:], table, NO_GAINS, corner=(3, 6))
    np.testing.assert_array_equal(cut[19:-16, 22:-16], whole[24:-16, 24:-16])
    assert not np.array_equal(cut, asked[5:, 2:])
    small = asked[:3, :5].copy()
    limits.limit_change(small, samples[:3, :5], table, NO_GAINS, corner=(7, 1))
    assert np.abs(small).sum() > 0


# ---- from the shell ------------------------------------------------------------------------


def test_from_the_shell(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    data, clean = twice()
    (tmp_path / "data/twice.jpg").write_bytes(data)
    Image.fromarray(clean).save(tmp_path / "data/twice.bmp")
    Image.fromarray(saved(clean, 30)).save(tmp_path / "data/was.png")
    Image.fromarray(clean).save(tmp_path / "data/never.png")

    def corrected(results: str, *options: str) -> tuple[str, dict[str, rows.Row], dict[str, Any]]:
        common = ("--input-types", "png", "--format", "png", "--verbose", *options)
        printed = run("run_car_images.py", tmp_path, "pretrained", "data", results, *common).out
        paths = sorted((tmp_path / results).glob("*.png"))
        return (
            printed,
            rows.read(tmp_path / results / "figures.csv"),
            {p.stem: np.array(Image.open(p)) for p in paths},
        )

    printed, told, results = corrected("results")
    assert "2 of other types than JPEG: corrected for what is found of earlier savings" in printed
    assert (
        "twice.jpg: corrected; quality 90; saved before at quality 20, on a grid 6 rows and 4 columns off"
        in printed
    )
    assert "was.png: corrected; saved before at quality 30; " in printed
    assert told["twice"].earlier == "quality 20, on a grid 6 rows and 4 columns off"
    assert told["never"].status == "unchanged" and told["never"].earlier == ""
    np.testing.assert_array_equal(results["never_car"], clean)
    _, before, todays = corrected("todays", "--ignore-history")
    assert before["twice"].earlier == "" and before["was"].weights[0] == "the log's own"
    gain = told["twice"].figures.psnr_after - before["twice"].figures.psnr_after  # type: ignore[union-attr]
    assert gain > 0.5
    refused = run(
        *("run_car_images.py", tmp_path, "pretrained", "data", "todays", "--input-types", "png"),
        *("--format", "png", "--skip-existing"),
        status=1,
    )
    assert "--ignore-history on there, off now" in refused.err
    assert set(todays) == set(results)
