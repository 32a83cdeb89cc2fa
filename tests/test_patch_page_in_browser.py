"""The pages of training and records in a real Chromium."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import browser as chromium
import numpy as np
import pytest
from conftest import ROOT, run
from PIL import Image

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

pytestmark = chromium.needed

HOSTILE = "<img src=x onerror=alert(1)>"


@pytest.fixture(scope="module")
def browser() -> Iterator["Browser"]:
    with chromium.started() as started:
        yield started


@pytest.fixture
def training(browser: "Browser", reported: Path) -> Iterator["Page"]:
    with chromium.opened(browser, reported / "log_of_page/index.html") as page:
        yield page


@pytest.fixture
def records_page(browser: "Browser", reported: Path) -> Iterator["Page"]:
    with chromium.opened(browser, reported / "records_page/index.html") as page:
        yield page


def told(page: "Page", what: str) -> list[str]:
    return [str(text) for text in page.locator(what).all_inner_texts()]


def test_losses_are_told_where_the_mouse_the_keys_or_a_finger_point(training: "Page") -> None:
    chart, control = training.locator(".losses svg"), training.get_by_role("slider", name="Validation")
    box = chart.bounding_box()
    assert box is not None and training.locator(".losses polyline").count() == 4
    assert told(training, ".key li")[0] == "step 12"
    training.mouse.move(box["x"] + box["width"] * 0.36, box["y"] + 100)
    assert told(training, ".key li")[0] == "step 4" and control.input_value() == "1"
    last = told(training, ".key li")[-1]
    control.press("ArrowRight")
    assert told(training, ".key li")[0] == "step 8" and told(training, ".key li")[-1] != last
    assert (control.get_attribute("aria-valuetext") or "").startswith("step 8: JPG itself, training ")
    training.touchscreen.tap(box["x"] + 48, box["y"] + 100)
    assert told(training, ".key li")[:2] == ["step 0", "JPG itself, training \u2013"]  # no loss before a step


def test_losses_are_there_as_a_table_too(training: "Page") -> None:
    training.get_by_text("All losses").click()
    rows = training.locator(".losses tbody tr")
    rows.first.wait_for()
    assert rows.count() == 4 and rows.nth(1).locator("th").inner_text() == "4"
    assert training.locator(".losses thead").inner_text().split("\t")[3] == "val loss"


def test_a_patch_is_shown_as_jpg_corrected_and_bmp(training: "Page") -> None:
    assert training.locator("#count").inner_text().endswith("patches")
    card = training.locator(".card").first
    assert card.locator("figcaption").all_inner_texts() == ["JPG", "corrected", "BMP"]
    training.wait_for_function("[...document.images].every(image => image.complete)")
    shot = (
        "card => [...card.querySelectorAll('img')].map(i => [i.getBoundingClientRect().left, i.naturalWidth])"
    )
    lefts = card.evaluate(shot)
    panels = [panel.bounding_box() for panel in card.locator(".panel").all()]
    for column, ((left, width), panel) in enumerate(zip(lefts, panels, strict=True)):
        assert panel is not None and panel["width"] == panel["height"]
        assert panel["x"] - left == pytest.approx(column * panel["width"]) and width == 96
        assert panel["width"] % 32 == 0
    image, panel = (
        training.locator(".card").nth(2).locator(what).first.bounding_box() for what in ("img", ".panel")
    )
    assert image is not None and panel is not None  # of the third row of what is drawn
    assert panel["y"] - image["y"] == pytest.approx(2 * panel["height"])
    assert "MSE " in card.inner_text() and "→" in card.inner_text() and "series_" in card.inner_text()
    assert (
        card.locator("img").first.evaluate("image => getComputedStyle(image).imageRendering") == "pixelated"
    )


def test_a_patch_is_looked_at_closely(training: "Page") -> None:
    training.locator(".card").nth(1).get_by_role("button", name="Look closer").click()
    viewer = training.get_by_role("dialog")
    assert viewer.get_by_role("slider", name="Magnified").input_value() == "8"  # of 32 pixels
    slider = viewer.get_by_role("slider", name="JPG and corrected of")
    box = slider.bounding_box()
    assert box is not None and box["width"] == box["height"] == 32 * 8
    assert viewer.locator(".tag").all_inner_texts() == ["JPG", "corrected"]
    training.mouse.click(box["x"] + box["width"] * 0.25, box["y"] + 20)
    assert slider.get_attribute("aria-valuetext") == f"{slider.input_value()} % JPG"
    assert abs(int(slider.input_value()) - 25) <= 1
    assert (
        viewer.get_by_text("BMP", exact=True).is_visible() and viewer.get_by_text("what changed").is_visible()
    )
    viewer.get_by_role("slider", name="Magnified").fill("2")
    assert viewer.locator(".tag").count() == 0  # they would lie over each other
    assert all(text in viewer.locator("dl").inner_text() for text in ("record ", "before it is clipped"))
    viewer.get_by_role("button", name="Next").click()
    assert viewer.locator("h2").inner_text() == training.locator(".card h2").nth(2).inner_text()


def test_kinds_and_orders(training: "Page", records_page: "Page") -> None:
    kinds = [text.rsplit(" ", 1)[0] for text in told(training, "#kinds button")]
    assert kinds[0] == "all" and kinds[1] == "most error left" and kinds[-1] == "typical"
    training.get_by_role("button", name="typical 12").click()
    assert training.locator("#count").inner_text().startswith("12 of ")
    training.get_by_label("Order").select_option("least gain first")
    records_page.get_by_role("button", name="most change 12").click()
    assert "least gain first" not in told(records_page, "#order option")
    records_page.get_by_label("Order").select_option("most error first")
    mses = [float(text.split()[1]) for text in told(records_page, ".card p:nth-of-type(2)")]
    assert len(mses) >= 4 and mses == sorted(mses, reverse=True)


def test_the_page_of_records_counts_them(records_page: "Page") -> None:
    assert "3,072 in 1 file" in records_page.locator("#summary").inner_text()
    assert records_page.locator("#summary tbody th").inner_text() == "train_1.tfrecords"
    assert records_page.locator(".card").first.locator("figcaption").all_inner_texts() == ["JPG", "BMP"]


@pytest.mark.parametrize("which", ["log_of_page", "records_page"])
def test_a_phone_needs_no_scrolling_aside(browser: "Browser", reported: Path, which: str) -> None:
    with chromium.opened(browser, reported / which / "index.html") as page:
        page.set_viewport_size({"width": 360, "height": 740})
        page.wait_for_timeout(200)
        wide = "document.documentElement.scrollWidth"
        assert page.evaluate(wide) == 360
        page.locator("#tools").scroll_into_view_if_needed()
        page.get_by_role("button", name="Look closer").first.click()
        page.get_by_role("slider", name="Magnified").fill("8")
        assert page.locator("#viewer").evaluate("viewer => viewer.scrollWidth <= viewer.clientWidth")
        page.keyboard.press("Escape")
        if which == "log_of_page":
            page.get_by_text("All losses").click()
        assert page.evaluate(wide) == 360
        schemes: tuple[Literal["light", "dark"], ...] = ("light", "dark")
        for scheme in schemes:
            page.emulate_media(color_scheme=scheme)
            page.wait_for_timeout(150)
            for what in (".card h2", ".card .faint", ".badge", "#summary dt", "figcaption"):
                assert chromium.contrast(page, what) >= 4.5, (scheme, what)
        page.emulate_media(media="print")
        page.wait_for_timeout(100)
        assert page.locator(".card").count() == int(page.locator("#count").inner_text().split()[0])


def test_names_of_images_are_text(browser: "Browser", tmp_path: Path) -> None:
    """From the file's name through split.json to the page."""
    (tmp_path / "data").mkdir()
    picture = Image.open(ROOT / "samples/coffee.bmp").crop((0, 0, 128, 128))
    for name in (HOSTILE, "\u202ereversed", "ä\x1b[2J"):
        picture.save(tmp_path / f"data/{name}.png")
    run("load_train_data.py", tmp_path, "data", "train", "--all", "--quality", 10)
    run("read_tfrecord.py", tmp_path, "train", "--report", "page", "--sheet", "sheet.png")
    with chromium.opened(browser, tmp_path / "page/index.html") as page:
        page.get_by_label("Name contains").fill("onerror")
        assert set(told(page, ".card h2")) == {HOSTILE}
        assert page.locator("img[src='x']").count() == 0
        page.get_by_label("Name contains").fill("ä")
        assert set(told(page, ".card h2")) == {"ä\ufffd[2J"}
    assert np.asarray(Image.open(tmp_path / "sheet.png")).shape[2] == 3


def test_a_page_without_its_folder_says_so(browser: "Browser", reported: Path, tmp_path: Path) -> None:
    (tmp_path / "index.html").write_bytes((reported / "log_of_page/index.html").read_bytes())
    with chromium.opened(browser, tmp_path / "index.html") as page:
        assert "the folder report beside this page is missing" in page.locator("#unfinished").inner_text()
        assert page.locator("#count").inner_text() == "0 of 0 patches"
