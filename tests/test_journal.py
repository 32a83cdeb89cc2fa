"""car/journal.py: what is known of the files of a folder, after runs, kills and what users do."""

import json
import re
import zlib
from pathlib import Path
from typing import Any

import pytest

from car import journal as journal_module
from car.errors import BadImage
from car.journal import HANDED_IN, Journal, digest_of, uncertain_in

ONE: dict[str, Any] = {"--strength": 1.0, "--ensemble": False, "weights": "abc"}
OTHER = {**ONE, "--strength": 0.2}
NAME = "a_car.bmp"


def opened(folder: Path, settings: dict[str, Any] = ONE, part: int = 1, parts: int = 1) -> Journal:
    return Journal(folder, part, parts, settings)


def write(journal: Journal, folder: Path, content: str, name: str = NAME, source: str = "a.jpg") -> None:
    """As a run does: the line first, then the name."""
    note(journal, folder, content, name, source)
    (folder / name).write_text(content)


def note(journal: Journal, folder: Path, content: str, name: str = NAME, source: str = "a.jpg") -> None:
    """What a kill between the two leaves."""
    partial = folder / f".{name}.partial"
    partial.write_text(content)
    journal.note(partial, folder / name, source)
    partial.unlink()


def lines(folder: Path, name: str = ".car_results.jsonl") -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / name).read_text().splitlines()]


def may_replace(folder: Path, name: str = NAME) -> bool:
    try:
        opened(folder).check_replaceable(folder / name)
    except BadImage:
        return False
    return True


def test_a_new_folder_has_no_journal(tmp_path: Path) -> None:
    journal = opened(tmp_path)
    journal.check_replaceable(tmp_path / NAME)
    assert not journal.wrote(tmp_path / NAME, "a.jpg") and journal.differences([tmp_path / NAME]) == []
    assert list(tmp_path.iterdir()) == []


def test_what_was_written_is_known(tmp_path: Path) -> None:
    journal = opened(tmp_path)
    write(journal, tmp_path, "one")
    write(journal, tmp_path, "two", "\udc80b\n_car.bmp", "\udc80b\n.jpg")
    first, *files = lines(tmp_path)
    assert first == {"id": first["id"], **ONE}
    assert [line["settings"] for line in files] == [first["id"]] * 2
    assert files[0]["file"] == NAME and files[0]["digest"] == "3-7a6c86f1"  # CRC-32 of "one"
    again = opened(tmp_path)
    assert again.wrote(tmp_path / NAME, "a.jpg") and again.wrote(
        tmp_path / "\udc80b\n_car.bmp", "\udc80b\n.jpg"
    )
    assert not again.wrote(tmp_path / NAME, "a.jpeg") and not again.wrote(tmp_path / "b_car.bmp", "b.jpg")
    assert again.differences([tmp_path / NAME, tmp_path / "nothing"]) == []
    assert may_replace(tmp_path)


def test_what_is_a_users_is_not_replaced(tmp_path: Path) -> None:
    write(opened(tmp_path), tmp_path, "one")
    (tmp_path / "b_car.bmp").write_text("one")  # the same bytes under another name
    (tmp_path / "c_car.bmp").mkdir()
    (tmp_path / "d_car.bmp").symlink_to("nowhere")
    with pytest.raises(BadImage) as refused:
        opened(tmp_path).check_replaceable(tmp_path / "b_car.bmp")
    said = str(refused.value)
    assert said.startswith("b_car.bmp is in ") and str(tmp_path) in said and "another results folder" in said
    with pytest.raises(BadImage, match=r"^c_car\.bmp is a folder in .*rename or remove"):
        opened(tmp_path).check_replaceable(tmp_path / "c_car.bmp")
    assert not may_replace(tmp_path, "d_car.bmp")
    (tmp_path / NAME).write_text("0ne")  # changed since, of the same length
    assert not may_replace(tmp_path)
    (tmp_path / NAME).unlink()
    (tmp_path / "moved").write_text("one")
    (tmp_path / NAME).symlink_to("moved")
    assert not may_replace(tmp_path)


def test_a_kill_before_the_name_leaves_the_older_file_known(tmp_path: Path) -> None:
    write(opened(tmp_path, OTHER), tmp_path, "one")
    note(opened(tmp_path), tmp_path, "two")
    for _ in range(2):  # and so after the journal was written again
        assert may_replace(tmp_path)
        assert opened(tmp_path, OTHER).differences([tmp_path / NAME]) == []
        assert opened(tmp_path).differences([tmp_path / NAME]) == ["--strength 0.2 there, 1.0 now"]
    note(opened(tmp_path), tmp_path, "two")
    (tmp_path / NAME).write_text("two")  # the kill came after it
    assert may_replace(tmp_path) and opened(tmp_path).differences([tmp_path / NAME]) == []


def test_a_line_that_a_kill_cut_and_lines_that_are_none_do_no_harm(tmp_path: Path) -> None:
    write(opened(tmp_path), tmp_path, "one")
    path = tmp_path / ".car_results.jsonl"
    whole = path.read_bytes()
    path.write_bytes(whole + b'[1]\n\xff\n{"file": "b_car.bmp", "dig')
    journal = opened(tmp_path)
    assert journal.wrote(tmp_path / NAME, "a.jpg") and may_replace(tmp_path)
    write(journal, tmp_path, "two", "b_car.bmp", "b.jpg")
    assert opened(tmp_path).wrote(tmp_path / "b_car.bmp", "b.jpg")


def test_the_journal_does_not_grow_with_each_run(tmp_path: Path) -> None:
    for content in ("one", "two", "three"):
        for name in (NAME, "b_car.bmp"):
            write(opened(tmp_path, {**ONE, "weights": content}), tmp_path, content, name)
    opened(tmp_path)
    assert [line.get("file", line.get("weights")) for line in lines(tmp_path)] == ["three", NAME, "b_car.bmp"]


def test_what_differs_is_named(tmp_path: Path) -> None:
    write(opened(tmp_path, {**OTHER, "--ensemble": True, "weights": "x"}), tmp_path, "one")
    isolated = {**ONE, "--patch-size": 32}
    assert opened(tmp_path, isolated).differences([tmp_path / NAME]) == [
        "--ensemble on there, off now",
        "--patch-size not set there, 32 now",
        "--strength 0.2 there, 1.0 now",
        "other weights",
    ]
    path = tmp_path / ".car_results.jsonl"
    path.write_text(path.read_text().splitlines()[1] + "\n")
    assert opened(tmp_path).differences([tmp_path / NAME]) == ["settings that are not known there"]


def test_the_journals_of_all_parts_are_read_and_only_the_own_one_is_written(tmp_path: Path) -> None:
    write(opened(tmp_path, OTHER, 2, 3), tmp_path, "one")
    theirs = tmp_path / ".car_results_2_of_3.jsonl"
    before = theirs.read_bytes()
    assert opened(tmp_path).differences([tmp_path / NAME]) == ["--strength 0.2 there, 1.0 now"]
    write(opened(tmp_path), tmp_path, "two")
    assert theirs.read_bytes() == before and len(lines(tmp_path)) == 2
    # Two journals tell different things: the file itself says which is right.
    assert opened(tmp_path).differences([tmp_path / NAME]) == [] and may_replace(tmp_path)
    assert opened(tmp_path, OTHER).differences([tmp_path / NAME]) == ["--strength 1.0 there, 0.2 now"]
    (tmp_path / NAME).write_text("one")
    assert opened(tmp_path).differences([tmp_path / NAME]) == ["--strength 0.2 there, 1.0 now"]
    (tmp_path / ".car_results_x.jsonl").write_text("a user's own")
    assert may_replace(tmp_path)


def test_a_journal_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    journal = opened(tmp_path)
    (tmp_path / ".car_results.jsonl").mkdir()
    with pytest.raises(OSError, match=re.escape(".car_results.jsonl")):
        note(journal, tmp_path, "one")


def test_the_later_run_counts_whichever_journal_it_wrote(tmp_path: Path) -> None:
    for part, parts, settings in ((1, 1, ONE), (1, 2, OTHER), (1, 1, OTHER), (1, 2, ONE)):
        for name in (NAME, "b_car.bmp"):
            write(opened(tmp_path, settings, part, parts), tmp_path, str(settings), name)
        for now in (ONE, OTHER):
            assert bool(opened(tmp_path, now).differences([tmp_path / NAME])) is (now != settings)
        assert may_replace(tmp_path) and may_replace(tmp_path, "b_car.bmp")


def test_a_kill_of_a_run_with_another_journal_leaves_the_older_file_known(tmp_path: Path) -> None:
    write(opened(tmp_path, OTHER, 1, 2), tmp_path, "one")
    note(opened(tmp_path), tmp_path, "two")
    assert may_replace(tmp_path)
    write(opened(tmp_path), tmp_path, "three", "b_car.bmp")  # now it is the last line no more
    assert may_replace(tmp_path)
    assert opened(tmp_path).differences([tmp_path / NAME]) == ["--strength 0.2 there, 1.0 now"]


def test_differences_open_no_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for part, parts, settings in ((1, 1, ONE), (1, 2, OTHER)):
        for name in (NAME, "b_car.bmp"):
            write(opened(tmp_path, settings, part, parts), tmp_path, str(settings), name)
    journal = opened(tmp_path)
    monkeypatch.setattr(journal_module, "digest_of", None)
    assert journal.wrote(tmp_path / NAME, "a.jpg") and journal.differences(
        [tmp_path / NAME, tmp_path / "b_car.bmp"]
    )


def test_the_digest_of_a_large_file(tmp_path: Path) -> None:
    content = bytes(range(256)) * 10_000 + b"end"
    (tmp_path / "file").write_bytes(content)
    assert digest_of(tmp_path / "file") == f"{len(content)}-{zlib.crc32(content):08x}"


# ---- journals that are handed in -----------------------------------------------------------


def test_a_journal_that_is_handed_in_is_taken_over_where_its_files_are_there(tmp_path: Path) -> None:
    """Of two attempts at a file the one counts whose bytes are there; the files of none are not ours."""
    handed_in = tmp_path / HANDED_IN
    handed_in.mkdir()
    for attempt, content in enumerate((b"first", b"second")):
        scratch = tmp_path / f"scratch {attempt}"
        scratch.mkdir()
        book = Journal(scratch, 1, 1, {"--strength": 1.0})
        book.run = 7
        for name in ("a.bmp", "b.bmp"):
            (scratch / name).write_bytes(content)
            book.note(scratch / name, scratch / name, f"{name[0]}.jpg")
        with open(handed_in / "7_0.jsonl", "a") as file:
            file.write((scratch / ".car_results.jsonl").read_text())
    (tmp_path / "a.bmp").write_bytes(b"first")
    (tmp_path / "b.bmp").write_bytes(b"the user's own")
    assert sorted(uncertain_in(tmp_path)) == ["a.bmp", "b.bmp"]
    book = Journal(tmp_path, 1, 1, {"--strength": 0.5})
    assert book.wrote(tmp_path / "a.bmp", "a.jpg") and not book.wrote(tmp_path / "b.bmp", "b.jpg")
    book.check_replaceable(tmp_path / "a.bmp")
    with pytest.raises(BadImage, match="not written by this suite"):
        book.check_replaceable(tmp_path / "b.bmp")
    assert book.run == 8 and book.differences([tmp_path / "a.bmp"]) == ["--strength 1.0 there, 0.5 now"]
    assert list(handed_in.iterdir()) == []
    assert Journal(tmp_path, 1, 1, {}).wrote(tmp_path / "a.bmp", "a.jpg")  # it is in our own now
    assert uncertain_in(tmp_path) == ["a.bmp"]


def test_shards_leave_what_is_handed_in_to_the_run_of_all(tmp_path: Path) -> None:
    (tmp_path / HANDED_IN).mkdir()
    (tmp_path / HANDED_IN / "1_0.jsonl").write_text("")
    Journal(tmp_path, 1, 2, {})
    Journal(tmp_path, 1, 1, {}, writing=False)
    assert (tmp_path / HANDED_IN / "1_0.jsonl").exists()
    Journal(tmp_path, 1, 1, {})
    assert not (tmp_path / HANDED_IN / "1_0.jsonl").exists()


def test_work_that_was_done_twice_is_in_the_journal_once(tmp_path: Path) -> None:
    """A machine that is lost after it wrote its files, and before it said so, leaves both attempts' lines."""
    (tmp_path / "scratch").mkdir()
    attempt = opened(tmp_path / "scratch")
    for content in ("old", "one"):
        write(attempt, tmp_path / "scratch", content)
    write(attempt, tmp_path / "scratch", "two", "b_car.bmp", "b.jpg")
    text = (tmp_path / "scratch/.car_results.jsonl").read_text()
    (tmp_path / NAME).write_text("one")
    journal = opened(tmp_path)
    journal.take_over(text + text)
    assert [(line["file"], line["digest"]) for line in lines(tmp_path)[1:]] == [
        (name, digest_of(tmp_path / "scratch" / name)) for name in (NAME, "b_car.bmp")
    ]
    journal.check_replaceable(tmp_path / NAME)
