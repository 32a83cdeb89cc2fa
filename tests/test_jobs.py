"""car/jobs.py: which JPEGs are to be corrected, what results are called, what is there already; in real folders."""

import dataclasses
import json
import os
import re
from collections.abc import Mapping
from pathlib import Path

import pytest

from car import find, jobs
from car.errors import BadImage, UserError
from car.find import Picture
from car.jobs import Job
from car.journal import Journal

Capture = pytest.CaptureFixture[str]
SETTINGS = {"--strength": 1.0}


def chosen(data: Path, log: Path, which: str | None) -> list[Path]:
    pictures = jobs.choose(find.in_folder(data, find.JPEG_SUFFIXES).pictures, data, log, which)
    return [picture.path for picture in pictures]


@pytest.fixture
def job(tmp_path: Path) -> Job:
    """Empty files a.jpg, b.jpg and c.jpg, beside a and c a BMP. And an empty folder for results."""
    data, results = tmp_path / "data", tmp_path / "results"
    for folder in (data, results):
        folder.mkdir()
    for name in ("a.jpg", "b.jpg", "c.jpg", "a.bmp", "c.bmp"):
        (data / name).touch()
    return Job(data, results)


def named(name: str) -> Picture:
    return Picture(Path("data") / name, name)


def jpegs(job: Job) -> list[Picture]:
    return [Picture(path, path.name) for path in sorted(job.data.glob("*.jp*g"))]


def make(job: Job, journal: Journal, *names: str) -> None:
    """Results as a run leaves them."""
    for name in names:
        result = job.result(named(name))
        result.write_text(name)
        journal.note(result, result, name)


# ---- a job ---------------------------------------------------------------------------------


def test_the_names_of_results() -> None:
    job = Job(Path("data"), Path("results"))
    assert job.result(named("a.b.jpg")) == Path("results/a.b_car.bmp")
    assert job.sheet(named("a.b.jpg")) == Path("results/a.b_compare.png")
    assert job.figures == Path("results/figures.csv")
    assert Job(Path(), Path("results"), "png").result(named("a.JPEG")) == Path("results/a_car.png")
    assert Job(Path(), Path("results"), part=2, parts=3).figures == Path("results/figures_2_of_3.csv")
    assert (job.format, job.compare, job.skip_existing, job.part, job.parts) == ("bmp", False, False, 1, 1)


# ---- which images --------------------------------------------------------------------------


def write_split(log: Path, **sets: list[str]) -> None:
    log.mkdir()
    content = {
        "group_by": ".*",
        "set": "train",
        "sets": {"train": [], "val": [], "test": [], **sets},
        "folders": [],
        "digests": {},
        "files": {"0.tfrecords": 1},
    }
    (log / "split.json").write_text(json.dumps(content))


def test_all_jpegs_of_a_folder(job: Job, capsys: Capture) -> None:
    assert chosen(job.data, job.data / "no log", None) == [job.data / f"{name}.jpg" for name in "abc"]
    assert capsys.readouterr().out == ""


def test_those_of_one_set(job: Job, tmp_path: Path, capsys: Capture) -> None:
    write_split(tmp_path / "log", train=["a"], val=["c", "gone", "b"])
    assert chosen(job.data, tmp_path / "log", "val") == [job.data / "b.jpg", job.data / "c.jpg"]
    assert capsys.readouterr().out == f"val set: 2 of 3 images are in {job.data}\n"
    assert chosen(job.data, tmp_path / "log", "train") == [job.data / "a.jpg"]


def test_a_split_of_records_for_any_log(job: Job, tmp_path: Path, capsys: Capture) -> None:
    """It goes before the log's own; what that log was trained on is said."""
    log, records = tmp_path / "log", tmp_path / "records"
    write_split(records, train=["b"], test=["a", "c"])
    found = jpegs(job)
    assert jobs.choose(found, job.data, tmp_path / "none", "test", records) == [found[0], found[2]]
    assert capsys.readouterr().out == f"test set: 2 of 2 images are in {job.data}\n"
    write_split(log, train=["c", "x"], test=["b"])
    for folders, said in (([], False), (["/some"], True)):
        for place in (log, records):
            content = json.loads((place / "split.json").read_text())
            (place / "split.json").write_text(json.dumps({**content, "folders": folders}))
        assert jobs.choose(found, job.data, log, "test", records) == [found[0], found[2]]
        line = f"{log} was trained on 1 (c) of the test set: its figures are too good\n"
        assert (line in capsys.readouterr().out) is said
    assert jobs.choose(found, job.data, log, "test") == [found[1]]
    assert "too good" not in capsys.readouterr().out
    with pytest.raises(UserError, match=r"split\.json is missing: --records needs a folder of"):
        jobs.choose(found, job.data, log, "test", job.results)


def test_none_to_correct(job: Job, tmp_path: Path) -> None:
    with pytest.raises(UserError) as refused:
        chosen(job.results, tmp_path, None)
    assert str(job.results) in str(refused.value) and "no JPEG" in str(refused.value)
    with pytest.raises(UserError) as refused:
        chosen(job.data, tmp_path / "log", "val")
    assert f"{tmp_path / 'log' / 'split.json'} is missing" in str(refused.value)
    assert "--split" in str(refused.value) and "loaders wrote" in str(refused.value)
    write_split(tmp_path / "log", train=["a"], test=["x"])
    with pytest.raises(UserError) as refused:
        chosen(job.data, tmp_path / "log", "val")
    assert "the val set is empty" in str(refused.value) and "without --all" in str(refused.value)
    with pytest.raises(UserError, match=re.escape(str(job.data)) + " holds no JPEG of the test set: save"):
        chosen(job.data, tmp_path / "log", "test")


@pytest.mark.parametrize(
    "names, one_case, apart",
    [
        ("a.jpg b.jpeg c.JPG", True, {}),
        ("a.jpeg a.jpg", False, {"a.jpeg": "a.jpeg"}),
        ("a.jpeg a.jpg a.JPG a.JPEG", False, {"a.JPG": "a.JPG", "a.jpeg": "a.jpeg", "a.JPEG": "a.JPEG"}),
        ("A.jpg a.jpg", False, {}),
        ("A.jpg a.jpg", True, {"A.jpg": "A.jpg"}),
        ("straße.jpg STRASSE.jpg", True, {"STRASSE.jpg": "STRASSE.jpg"}),
        ("e\u0301.jpg \u00e9.jpg", True, {"\u00e9.jpg": "\u00e9.jpg"}),
        # Pictures that really have such names keep them.
        ("a.jpeg a.jpg a.jpeg.jpg", False, {"a.jpeg": "a.jpeg_2"}),
        ("a.jpeg a.jpg a.jpeg.jpg a.jpeg_2.jpg", False, {"a.jpeg": "a.jpeg_3"}),
        ("a.JPEG a.jpg A.jpeg.jpg", True, {"a.JPEG": "a.JPEG_2"}),
    ],
)
def test_twins_are_told_apart(names: str, one_case: bool, apart: Mapping[str, str]) -> None:
    job, pictures = Job(Path("data"), Path("results")), [named(name) for name in names.split()]
    for order in (pictures, pictures[::-1]):
        assert jobs.tell_apart(job, order, one_case) == apart


def test_twins_are_said_once_by_what_the_disk_tells_apart(job: Job, capsys: Capture) -> None:
    """A disk with one name for A and a is one that has the lock under its name in the other case too."""
    lock = job.results / ".car_1_of_1.lock"
    lock.touch()
    assert jobs.tell_apart_beside(lock, job, jpegs(job)) == {} and capsys.readouterr().out == ""
    for name in ("a.jpeg", "B.jpg"):
        (job.data / name).touch()
    assert jobs.tell_apart_beside(lock, job, jpegs(job)) == {"a.jpeg": "a.jpeg"}
    assert capsys.readouterr().out == (
        "told apart from others of their name: 1 (a.jpeg becomes a.jpeg_car)\n"
    )
    os.link(lock, lock.with_name(".CAR_1_OF_1.LOCK"))
    assert jobs.tell_apart_beside(lock, job, jpegs(job)) == {"a.jpeg": "a.jpeg", "B.jpg": "B.jpg"}
    apart = Job(job.data, job.results, told_apart={"a.jpeg": "a.jpeg"})
    assert apart.result(named("a.jpeg")).name == "a.jpeg_car.bmp"
    assert apart.sheet(named("a.jpeg")).name == "a.jpeg_compare.png"
    assert apart.result(named("a.jpg")).name == "a_car.bmp"


def test_a_sheet_and_a_result_of_one_name_are_told_apart() -> None:
    pictures = [named("2019/a.jpg"), named("2019/a_compare.jpg"), named("a.jpg")]
    job = Job(Path("data"), Path("results"), format="png", suffix="", compare=True)
    apart = {"2019/a_compare.jpg": "2019/a_compare.jpg"}
    assert jobs.tell_apart(job, pictures, one_case=False) == apart
    assert jobs.tell_apart(dataclasses.replace(job, compare=False), pictures, one_case=False) == {}
    files = [path.as_posix() for path in job.files_of("2019/a")]
    assert files == ["results/2019/a.png", "results/2019/a_compare.png"]


def test_folders_that_differ_in_case_are_one_on_some_disks() -> None:
    pictures, job = [named("A/x.jpg"), named("a/X.jpg")], Job(Path("data"), Path("results"))
    assert jobs.tell_apart(job, pictures, one_case=False) == {}
    assert jobs.tell_apart(job, pictures, one_case=True) == {"A/x.jpg": "A/x.jpg"}


def test_where_a_result_cannot_go(job: Job) -> None:
    jobs.check_place(job, named("2019/a.jpg"))
    (job.results / "file").touch()
    (job.results / "link").symlink_to(job.data)
    for name, why in (("file/a.jpg", "is in the way"), ("link/a.jpg", "is a link"), ("x/link/a.jpg", "")):
        if why:
            with pytest.raises(BadImage, match=f"{name.split('/')[0]} {why}"):
                jobs.check_place(job, named(name))
        else:
            jobs.check_place(job, named(name))
    for folders in (20, 21, 30):  # the file's path alone is too long, or its folder's too
        with pytest.raises(BadImage, match="cannot be written: File name too long"):
            jobs.check_place(job, named("/".join(["n" * 200] * folders) + "/a.jpg"))


def test_what_a_killed_run_left_half_written_goes(tmp_path: Path) -> None:
    job = Job(Path("data"), tmp_path, told_apart={"t.jpeg": "t.jpeg"})
    ours = [
        ".a_car.bmp.partial",
        ".a_car.png.partial",
        ".a_compare.png.partial",
        ".two\nlines_car.bmp.partial",
        ".t.jpeg_car.bmp.partial",
    ]
    theirs = [
        *(
            ".d_car.bmp.partial",
            ".t_car.bmp.partial",
            ".a_car.gif.partial",
            ".a_carxbmp.partial",
            "a_car.bmp.partial",
            ".a_car.bmp",
        ),
        *(".a_car.bmp.partial.x", ".a_compare.bmp.partial", "x.a_car.bmp.partial", ".a.partial"),
    ]
    for name in (*ours, *theirs):
        (tmp_path / name).touch()
    jobs.clear_leftovers(job, [named("a.jpg"), named("two\nlines.jpeg"), named("t.jpeg")])
    assert set(os.listdir(tmp_path)) == set(theirs)
    for name in theirs:
        (tmp_path / name).unlink()
    jobs.clear_leftovers(job, [named("a.jpg"), named("2019/a.jpg")])
    (tmp_path / "2019").mkdir()
    for name in (".a_car.png.partial", ".b_car.png.partial"):
        (tmp_path / "2019" / name).touch()
    jobs.clear_leftovers(job, [named("2019/a.jpg"), named("b.jpg")])
    assert os.listdir(tmp_path / "2019") == [".b_car.png.partial"]


def test_results_that_are_there_are_done(job: Job) -> None:
    a, b, c = jpegs(job)
    journal = Journal(job.results, 1, 1, SETTINGS)
    make(job, journal, "a.jpg", "b.jpg", "c.jpg")
    journal = Journal(job.results, 1, 1, SETTINGS)
    rows = {"a", "b", "c", "d"}
    assert jobs.done_already(job, journal, [a, b, c], rows) == {a, b, c}
    assert jobs.done_already(job, journal, [a], rows) == {a}
    # A result whose row is lost is made again.
    assert jobs.done_already(job, journal, [a, b, c], {"c"}) == {c}
    assert jobs.done_already(job, journal, [a, b, c], ()) == set()
    # Another format is another result; one that went away is none.
    assert jobs.done_already(Job(job.data, job.results, "png"), journal, [a, b, c], rows) == set()
    job.result(b).unlink()
    assert jobs.done_already(job, journal, [a, b, c], rows) == {a, c}


def test_a_file_that_is_not_ours_is_no_result_that_is_done(job: Job) -> None:
    job.result(named("b.jpg")).touch()
    journal = Journal(job.results, 1, 1, SETTINGS)
    assert jobs.done_already(job, journal, jpegs(job), {"b"}) == set()


def test_the_result_of_a_twin_that_came_first_is_not_taken_for_ones_own(job: Job) -> None:
    make(job, Journal(job.results, 1, 1, SETTINGS), "d.jpeg")  # alone: d_car.bmp
    (job.data / "d.jpg").touch()
    (job.data / "d.jpeg").touch()
    twins = Job(job.data, job.results, told_apart={"d.jpeg": "d.jpeg"})
    journal = Journal(job.results, 1, 1, SETTINGS)
    jpeg, jpg = (Picture(job.data / name, name) for name in ("d.jpeg", "d.jpg"))
    assert jobs.done_already(job, journal, [jpeg], {"d"}) == {jpeg}
    assert jobs.done_already(twins, journal, [jpeg, jpg], {"d", "d.jpeg"}) == set()


def test_results_of_other_settings_are_refused(job: Job) -> None:
    make(job, Journal(job.results, 1, 1, {"--strength": 0.2, "weights": "0"}), "b.jpg")
    journal = Journal(job.results, 1, 1, {"--strength": 1.0, "weights": "1"})
    with pytest.raises(UserError) as refused:
        jobs.done_already(job, journal, jpegs(job), {})
    said = str(refused.value)
    assert "--strength 0.2 there, 1.0 now; other weights" in said and str(job.results) in said
    assert "leave --skip-existing out" in said
    # Only those that would be passed over count.
    a, _, c = jpegs(job)
    assert jobs.done_already(job, journal, [a, c], {}) == set()
