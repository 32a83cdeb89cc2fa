"""car/rows.py: figures.csv, and what is said of a picture."""

import csv
import locale
import math
import types
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import cast

import numpy as np
import pytest

from car import cli, jpeg, rows
from car.choice import ONE_LEVEL, UNCHANGED, Choice
from car.correct import PlaneFound
from car.errors import UserError
from car.figures import Figures
from car.rows import Row

FIGURES = Figures(4.0, 1.0, 42.0, 48.0, 0.5, 0.75, 40.0, 41.0)
ROW = Row("a", rows.CORRECTED, figures=FIGURES)


def plane(quality: int, choice: Choice, change: float = 0.25) -> PlaneFound:
    table = jpeg.table_of_quality(quality)
    return PlaneFound(jpeg.coarseness(table, 0), choice, change, table)


# ---- a row ---------------------------------------------------------------------------------


def test_the_row_of_a_picture() -> None:
    factor = jpeg.coarseness_of_quality
    planes = (
        plane(30, Choice(factor(30)), 1.23456),
        plane(30, Choice(factor(40), strength=0.75), 0.5),
        plane(30, ONE_LEVEL, 0.0),
    )
    row = rows.of("a", (48, 64, 3), planes, ("exif", "16 bits"), ("iptc", "its XMP is damaged"), "", FIGURES)
    assert row == Row(
        *("a", "corrected", "", (64, 48), 30, "standard"),
        *(("quality 30", "quality 40 at 0.75", "none, as it has one level"), (1.2346, 0.5, 0.0)),
        kept="EXIF, 16 bits",
        left="IPTC, its XMP is damaged",
        figures=FIGURES,
    )
    told = rows.describe(row._replace(seconds=0.417))
    assert told == (
        "corrected; quality 30; weights: quality 30 for luma, quality 40 at 0.75 for Cb, none, as it has one "
        "level for Cr; mean change 1.23 (luma), 0.50 (Cb), 0.00 (Cr) grey levels; kept EXIF, 16 bits; left "
        "IPTC, its XMP is damaged; 0.42 s"
    )


def test_the_row_of_a_grey_picture_with_other_tables() -> None:
    flat = np.full((8, 8), 32, np.float32)
    found = PlaneFound(jpeg.coarseness(flat, 0), Choice(None), 0.1, flat)
    row = rows.of("a", (48, 64), [found], (), ())
    assert (row.quality, row.tables) == (jpeg.quality_of(flat)[0], "other")
    assert row.weights == ("the log's own", "", "") and row.changes == (0.1, None, None)
    assert rows.describe(row) == (
        f"corrected; about quality {row.quality}; weights: the log's own; mean change 0.10 (luma) grey levels"
    )
    without = rows.of("a", (48, 64), [PlaneFound(None, Choice(None), math.nan)], (), ())
    assert (without.quality, without.tables, without.changes) == (None, "", (None, None, None))
    assert rows.describe(without) == "corrected; weights: the log's own"


def test_why_a_picture_is_unchanged() -> None:
    fine, flat, tiny = plane(99, UNCHANGED), plane(99, ONE_LEVEL), plane(95, Choice(0.1))
    for planes, why in (
        ((), "lossless, black and white alone, or no JPEG found in it"),
        ((fine, fine, flat), "finer than all weights"),
        ((flat, flat), "one grey level throughout"),
        ((fine, tiny), "the change rounds to nothing"),
    ):
        row = rows.of("a", (8, 8), planes, (), (), rows.why_unchanged(planes))
        assert (row.status, row.why) == ("unchanged", why) and rows.describe(row).startswith(
            f"unchanged, {why}"
        )
    assert row.weights[:2] == ("none, as it is finer than all", "quality 95")


# ---- the file ------------------------------------------------------------------------------


def test_the_csv_comes_back_whatever_the_names(tmp_path: Path) -> None:
    names = ["z", 'quo"te, and comma', "line\rend\n", "byte \udcff", "ä", "A"]
    whole = Row(
        *("", "corrected", "", (64, 48), 30, "other", ("quality 30", "the log's own", ""), (1.5, 0.25, None)),
        *(
            "EXIF",
            "-a\nb",
            0.125,
            "quality 9",
            Figures(1.5, 1 / 3, math.inf, 40.0, 0.1 + 0.2, 1e-17, 2.0, 3.0),
        ),
    )
    told = {name: whole._replace(name=name) for name in names}
    told["left"] = Row("left", rows.LEFT_OUT, "=1+1")
    path = tmp_path / "figures.csv"
    rows.write(path, told)
    assert rows.read(path) == told
    data = path.read_bytes()
    first, second = data.split(b"\n", 1)
    assert first.decode() == ",".join(f'"{name}"' for name in rows.COLUMNS)
    assert second.startswith(
        b'"A","corrected","",64,48,30,"other","quality 9","quality 30","the log\'s own","",1.5,0.25,"","EXIF","\'-a\nb",'
        b"0.125,1.5,0.3333333333333333,inf,40.0,0.30000000000000004,1e-17,2.0,3.0\n"
    )
    assert b'"left","left out","\'=1+1","","",' in data
    assert b"byte \xff" in data and "ä".encode() in data
    with open(path, newline="", encoding="utf-8", errors="surrogateescape") as file:
        assert [line[0] for line in csv.reader(file)] == ["name", *sorted(told)]


def test_what_is_no_number_is_empty(tmp_path: Path) -> None:
    """SSIM of a small picture, RGB of a grey one: no spreadsheet can compute with nan."""
    small = {"a": Row("a", rows.CORRECTED, figures=Figures(4.0, 1.0, 42.0, 48.0))}
    rows.write(tmp_path / "figures.csv", small)
    assert b"nan" not in (tmp_path / "figures.csv").read_bytes()
    found = rows.read(tmp_path / "figures.csv")["a"].figures
    assert found and found[:4] == (4, 1, 42, 48) and all(map(math.isnan, found[4:]))


@pytest.fixture
def plain_locale() -> Iterator[None]:
    """A shell in which text is ASCII."""
    before = locale.setlocale(locale.LC_CTYPE)
    locale.setlocale(locale.LC_CTYPE, "C")
    yield
    locale.setlocale(locale.LC_CTYPE, before)


def test_names_are_utf_8_whatever_the_locale(tmp_path: Path, plain_locale: None) -> None:
    path = tmp_path / "figures.csv"
    rows.write(path, {"ä": ROW._replace(name="ä")})
    assert "ä".encode() in path.read_bytes() and list(rows.read(path)) == ["ä"]


def test_no_csv_yet(tmp_path: Path) -> None:
    assert rows.read(tmp_path / "figures.csv") == {}


HEADER, VALUES = ",".join(rows.COLUMNS), ",".join(["a"] * 3 + ["1"] * 4 + ["a"] * 4 + ["1"] * 14)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "other,columns\n1,2\n",
        f"{HEADER}\n{VALUES[:-2]}\n",
        f"{HEADER}\n{VALUES[:-1]}eight\n",
        f"{HEADER[:-5]}more\n{VALUES}\n",
        f"{HEADER}\n{VALUES}\n" + '"' + "x" * 200_000,  # over the reader's own limit
    ],
)
def test_a_csv_that_is_none_of_ours_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "figures.csv"
    path.write_text(f"{HEADER}\n{VALUES}\n")
    assert list(rows.read(path)) == ["a"]
    path.write_text(text)
    with pytest.raises(UserError) as refused:
        rows.read(path)
    assert str(path) in str(refused.value) and "move it elsewhere" in str(refused.value)
    assert path.read_text() == text


def test_other_columns_are_named_as_the_reason(tmp_path: Path) -> None:
    path = tmp_path / "figures.csv"
    path.write_text("other,columns\n")
    with pytest.raises(UserError, match=r"other program \(other columns\)"):
        rows.read(path)
    path.write_text(
        "name,mse_before,mse_after,psnr_before,psnr_after,ssim_before,ssim_after\na,1,2,3,4,5,6\n"
    )
    with pytest.raises(UserError, match=r"columns of an earlier version.* move it elsewhere"):
        rows.read(path)


def test_names_that_are_formulas_to_a_spreadsheet(tmp_path: Path) -> None:
    """No cell begins as a formula does, and every name comes back, those with apostrophes of their own too."""
    names = ["=1+1", "+a", "-a", "@a", "\ta", "'=a", "''-a", "'a", "a=b", ""]
    told = {name: ROW._replace(name=name) for name in names}
    rows.write(tmp_path / "figures.csv", told)
    assert rows.read(tmp_path / "figures.csv") == told
    with open(tmp_path / "figures.csv", newline="") as file:
        cells = [line[0] for line in csv.reader(file)][1:]
    assert sorted(cells) == sorted(["'=1+1", "'+a", "'-a", "'@a", "'\ta", "''=a", "'''-a", "'a", "a=b", ""])


def test_rows_of_all_parts_but_those_left_out(tmp_path: Path) -> None:
    own = tmp_path / "figures_1_of_3.csv"
    rows.write(tmp_path / "figures.csv", {"a": ROW, "b": Row("b", rows.LEFT_OUT, "damaged")})
    rows.write(own, {"a": ROW._replace(quality=30), "c": ROW._replace(name="c")})
    rows.write(tmp_path / "figures_mine.csv", {"d": ROW._replace(name="d")})
    (tmp_path / "figures_2_of_3.csv").write_text("theirs")
    assert rows.done_in(tmp_path, own) == {"a": ROW._replace(quality=30), "c": ROW._replace(name="c")}
    with pytest.raises(UserError, match="figures_2_of_3"):  # that would be overwritten
        rows.done_in(tmp_path, tmp_path / "figures_2_of_3.csv")


def test_the_csv_is_written_so_seldom_that_it_costs_little(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = types.SimpleNamespace(seconds=0.5)
    write, took, written = rows.write, 0.0, []

    def slow(path: Path, told: dict[str, Row]) -> None:
        write(path, told)
        written.append(clock.seconds)
        clock.seconds += took

    monkeypatch.setattr(rows, "write", slow)
    writer = rows.Writer(tmp_path / "figures.csv", cast(cli.Progress, clock))
    told = {"a": ROW}
    writer.write_if_due(told)
    assert rows.read(tmp_path / "figures.csv") == told
    for seconds in (0.6, 10.4, 10.5, 10.51, 11.0, 20.5, 20.52):
        clock.seconds = seconds
        writer.write_if_due(told)
    assert written == [0.5, 10.51, 20.52]
    took, clock.seconds = 1.0, 40.0
    writer.write_if_due(told)
    for seconds in (51.0, 90.9, 91.0, 91.1):  # 50 seconds after the end of one that took a second
        clock.seconds = seconds
        writer.write_if_due(told)
    assert written[3:] == [40, 91.1]


def test_what_else_is_written_of_the_rows_comes_before_the_csv(tmp_path: Path) -> None:
    path, seen = tmp_path / "figures.csv", []
    clock = types.SimpleNamespace(seconds=0.5)

    def first(told: Mapping[str, Row]) -> None:
        seen.append((dict(told), path.exists()))

    rows.Writer(path, cast(cli.Progress, clock), first).write_if_due({"a": ROW})
    assert seen == [({"a": ROW}, False)] and path.exists()
