"""car/report.py: the page of results and its data, with a plain function in the net's place."""

import base64
import dataclasses
import hashlib
import json
import math
import os
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import ROOT
from PIL import Image
from reference import Array

from car import folder, page, report, rows, stop
from car.correct import NO_GAINS, Corrector, Net
from car.errors import UserError
from car.figures import Figures
from car.find import Picture
from car.jobs import Job
from car.rows import Row

MARKUP = "<img src=x onerror=alert(1)>"


def lighter(tiles: Array, contrast: float) -> Array:
    """Each pixel lighter by 3."""
    return tiles[:, 9:-9, 9:-9].astype(np.float32) + 3


CORRECTOR = Corrector({None: Net(lighter, NO_GAINS)}, ignore_header=True, luma_only=True)


@pytest.fixture
def job(tmp_path: Path) -> Job:
    """Three JPEGs, of which the first has a hostile name and the second a BMP beside it; another is damaged."""
    data, results = tmp_path / "data", tmp_path / "results"
    data.mkdir()
    results.mkdir()
    picture = Image.open(ROOT / "samples/astronaut.bmp").crop((100, 60, 260, 170))
    for name in (MARKUP, "a", "b"):
        picture.save(data / f"{name}.jpg", quality=30)
    picture.save(data / "a.bmp")
    (data / "damaged.jpg").write_bytes((data / "a.jpg").read_bytes()[:700])
    return Job(data, results, report=True)


def chosen(job: Job) -> list[Picture]:
    return [Picture(path, path.name) for path in sorted(job.data.glob("*.jpg"))]


def correct(job: Job) -> dict[str, dict[str, Any]]:
    folder.correct_all(job, CORRECTOR, chosen(job))
    return entries(job)


def told(job: Job) -> dict[str, Any]:
    """The data, as the browser gets them."""
    first, *lines, last = job.page_data.read_text(encoding="ascii").splitlines()
    assert (first, last) == ("(globalThis.carReport ??= []).push(", ");")
    found: dict[str, Any] = json.loads("\n".join(lines))
    return found


def entries(job: Job) -> dict[str, dict[str, Any]]:
    found = told(job)
    named = (dict(zip(found["columns"], values, strict=True)) for values in found["rows"])
    return {entry["name"]: entry for entry in named}


def test_the_data_hold_what_came_of_each_picture(job: Job) -> None:
    found = correct(job)
    about = told(job)
    assert (about["finished"], about["total"], about["result_end"]) == (True, 4, "_car.bmp")
    assert about["base"] == "../data" and about["figure_columns"] == list(Figures._fields)
    assert list(found) == [MARKUP, "a", "b", "damaged"]
    csv = rows.read(job.figures)
    for name in (MARKUP, "a", "b"):
        assert (found[name]["status"], found[name]["size"]) == ("corrected", [160, 110])
        assert found[name]["changes"] == list(csv[name].changes) and found[name]["source"] == f"{name}.jpg"
        sheet, crops = (Image.open(path) for path in job.shown(name))
        assert sheet.size == (160, 3 * 112)
        # Two columns, or three where a clean picture is; 96 of 110 rows leave no room for a second one.
        assert crops.size == (96 * (3 if name == "a" else 2), 96 * len(found[name]["crops"]))
        assert os.path.exists(job.results / about["base"] / found[name]["source"])
        assert found[name]["key"] == job.shown(name)[0].stem
    assert found["a"]["figures"] == pytest.approx(list(csv["a"].figures or ()), abs=1e-5)
    assert found["b"]["figures"] is None
    assert found["damaged"]["crops"] is None and "cannot be decoded" in found["damaged"]["why"]


def test_before_and_after_lie_above_each_other(job: Job) -> None:
    correct(job)
    sheet = np.asarray(Image.open(job.shown("b")[0]), np.float64)
    before, after, change = sheet[:110], sheet[112:222], sheet[224:334]
    assert np.abs(before - np.asarray(Image.open(job.data / "b.jpg"))).mean() < 3
    assert (after - before).mean() == pytest.approx(3, abs=0.3)
    assert change.mean() == pytest.approx(3 * 16, abs=2)
    crop = np.asarray(Image.open(job.shown("b")[1]), np.int16)
    assert np.median(crop[:96, 96:] - crop[:96, :96]) == 3


def test_names_are_data_and_never_markup(job: Job) -> None:
    correct(job)
    text, data = job.page.read_text(encoding="utf-8"), job.page_data.read_bytes()
    assert "onerror" not in text and data.isascii()
    assert "</script" not in text.partition("<script>")[2].rpartition("</script>")[0]
    assert "innerHTML" not in text and "insertAdjacentHTML" not in text and "eval(" not in text
    assert "carReport" in text and 'src="report/data.js"' in text and text.count("CAR:") == 0


def test_the_policy_allows_what_the_page_holds_and_nothing_from_elsewhere(job: Job) -> None:
    text = page.page_of(report.KIND, ["data.js"])
    policy = re.search(r'http-equiv="Content-Security-Policy" content="([^"]+)"', text)
    assert (
        policy and "default-src 'none'" in policy[1] and "unsafe" not in policy[1] and "http" not in policy[1]
    )
    for kind in ("style", "script"):
        inside = text.partition(f"<{kind}>")[2].partition(f"</{kind}>")[0]
        digest = base64.b64encode(hashlib.sha256(inside.encode()).digest()).decode()
        assert f"'sha256-{digest}'" in policy[1]
    assert not re.search(r"https?://(?!www\.w3\.org/2000/svg)", text)


def test_numbers_that_are_none_reach_the_script(job: Job) -> None:
    written = report.Page(job, folder.open_journal(job, CORRECTOR), chosen(job), 1, {})
    written.write(
        {"a": Row("a", rows.CORRECTED, figures=Figures(1.0, 0.0, 48.0, math.inf, 0.123456789, 1.0))}
    )
    values = entries(job)["a"]["figures"]
    assert values[3] == math.inf and values[4] == 0.12346 and math.isnan(values[6])


# ---- a run that goes on --------------------------------------------------------------------


def test_a_stopped_run_leaves_a_page_and_skip_existing_goes_on_with_it(
    job: Job, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = chosen(job)[:2]
    folder.correct_all(job, CORRECTOR, first)
    before = entries(job)
    assert list(before) == [MARKUP, "a"] and before["a"]["crops"]
    again = dataclasses.replace(job, skip_existing=True)
    drawn = [path.stat().st_mtime_ns for path in job.shown("a")]
    assert correct(again)["a"] == before["a"] and list(entries(job)) == [MARKUP, "a", "b", "damaged"]
    assert [path.stat().st_mtime_ns for path in job.shown("a")] == drawn
    with monkeypatch.context() as asked:
        asked.setattr(stop, "_asked", 2)
        folder.correct_all(job, CORRECTOR, chosen(job))
    assert told(job)["finished"] is False and told(job)["total"] == 4 and len(entries(job)) < 4


def test_what_is_done_is_written_while_work_goes_on(job: Job, monkeypatch: pytest.MonkeyPatch) -> None:
    """The data before figures.csv: what has a row there is passed over by --skip-existing."""
    seen = []
    write = rows.write

    def look(path: Path, done: dict[str, Row]) -> None:
        seen.append((list(entries(job)), told(job)["finished"]))
        write(path, done)

    monkeypatch.setattr(rows, "SECONDS_BETWEEN_CSVS", 0)
    monkeypatch.setattr(rows, "write", look)
    correct(job)
    assert seen[0] == ([MARKUP], False) and seen[-1] == ([MARKUP, "a", "b", "damaged"], True)


def test_pictures_of_a_run_without_a_page_are_rows_without_a_preview(job: Job) -> None:
    folder.correct_all(dataclasses.replace(job, report=False), CORRECTOR, chosen(job))
    assert not job.page.exists() and not job.shown_in.exists()
    found = correct(dataclasses.replace(job, skip_existing=True))
    assert found["a"]["crops"] is None and found["a"]["status"] == "corrected"


def test_each_part_has_a_page_that_shows_all_parts(job: Job) -> None:
    for part in (1, 2):
        own = dataclasses.replace(job, part=part, parts=2)
        folder.correct_all(own, CORRECTOR, chosen(job)[part - 1 :: 2])
        text = own.page.read_text(encoding="utf-8")
        assert own.page.name == f"index_{part}_of_2.html"
        assert 'src="report/data_1_of_2.js"' in text and 'src="report/data_2_of_2.js"' in text
    assert list(entries(dataclasses.replace(job, part=2, parts=2))) == ["a", "damaged"]
    assert told(own)["parts"] == 2 and not job.page.exists()


def test_pictures_that_were_bad_from_the_start_are_shown(job: Job) -> None:
    folder.correct_all(job, CORRECTOR, chosen(job)[:1], {"sub": "cannot be read: Permission denied"})
    assert entries(job)["sub"]["why"] == "cannot be read: Permission denied"
    assert told(job)["total"] == 2 and told(job)["finished"]


# ---- what is the user's --------------------------------------------------------------------


def test_a_page_of_the_users_is_never_overwritten(job: Job) -> None:
    job.page.write_text("mine")
    with pytest.raises(UserError, match=r"--report: index.html .* was not written by this suite"):
        correct(job)
    assert job.page.read_text() == "mine" and not (job.results / "a_car.bmp").exists()


def test_our_own_page_is_written_again(job: Job) -> None:
    correct(job)
    assert list(correct(job)) == [MARKUP, "a", "b", "damaged"]


@pytest.mark.parametrize("content", ["mine", "(globalThis.carReport ??= []).push(\n{}\n);\n"])
def test_data_of_another_program_are_never_overwritten(job: Job, content: str) -> None:
    job.shown_in.mkdir()
    job.page_data.write_text(content)
    with pytest.raises(UserError, match=r"--report: .*data.js is damaged, or of another program"):
        correct(job)
    assert job.page_data.read_text() == content and not job.page.exists()


def test_a_folder_that_is_a_link_is_not_written_through(job: Job, tmp_path: Path) -> None:
    (tmp_path / "theirs").mkdir()
    job.shown_in.symlink_to(tmp_path / "theirs")
    with pytest.raises(UserError, match=r"--report: .*report is in the way"):
        correct(job)
    assert not any((tmp_path / "theirs").iterdir())


def test_a_picture_of_the_users_where_a_preview_would_go_is_kept(job: Job) -> None:
    job.shown_in.mkdir()
    job.shown("a")[0].write_text("mine")
    found = correct(job)
    assert found["a"]["status"] == "left out" and job.shown("a")[0].read_text() == "mine"
    assert "was not written by this suite" in found["a"]["why"]
