"""car/files.py: files and folders whole or not at all, and one run at a time."""

import errno
import io
import os
import shlex
import socket
import subprocess
import sys
import warnings
from pathlib import Path
from typing import Any

import filelock
import pytest
from conftest import ROOT

from car import files, stop
from car.errors import UserError


def tree(folder: Path) -> dict[str, str]:
    """All files below a folder with their text."""
    return {str(p.relative_to(folder)): p.read_text() for p in folder.rglob("*") if not p.is_dir()}


# ---- naming --------------------------------------------------------------------------------


def test_a_fault_of_the_disk_gets_the_path(tmp_path: Path) -> None:
    with pytest.raises(OSError) as raised, files.naming(tmp_path):
        raise OSError(errno.ENOSPC, "No space left on device", "another name")
    assert (raised.value.errno, raised.value.filename) == (errno.ENOSPC, str(tmp_path))
    assert raised.value.strerror == "No space left on device"
    assert isinstance(raised.value.__cause__, OSError) and raised.value.__cause__.filename == "another name"


def test_a_fault_without_a_number_keeps_its_text(tmp_path: Path) -> None:
    """As Pillow raises them."""
    with pytest.raises(OSError) as raised, files.naming(tmp_path):
        raise OSError("encoder error -2")
    assert (raised.value.strerror, raised.value.filename) == ("encoder error -2", str(tmp_path))


def test_other_faults_pass(tmp_path: Path) -> None:
    fault = ValueError("as it was")
    with pytest.raises(ValueError) as raised, files.naming(tmp_path):
        raise fault
    assert raised.value is fault


# ---- whole files ---------------------------------------------------------------------------


def test_a_partial_lies_beside_hidden(tmp_path: Path) -> None:
    assert files.partial_of(tmp_path / "a.b.png") == tmp_path / ".a.b.png.partial"


@pytest.mark.parametrize(
    "name, fits", [("n" * 246, True), ("n" * 247, False), ("ä" * 123, True), ("ä" * 124, False)]
)
def test_a_name_fits_with_what_its_partial_adds(tmp_path: Path, name: str, fits: bool) -> None:
    assert files.name_fits(tmp_path / name) is fits
    try:
        files.partial_of(tmp_path / name).touch()
        had = True
    except OSError:
        had = False
    assert had is fits


def test_a_file_has_its_name_once_it_is_whole(tmp_path: Path) -> None:
    path = tmp_path / "result"
    path.write_text("older")
    with files.whole_file(path) as file:
        file.write(b"new\r\n")
        assert path.read_text() == "older"
        assert set(os.listdir(tmp_path)) == {"result", ".result.partial"}
    assert path.read_bytes() == b"new\r\n" and os.listdir(tmp_path) == ["result"]


def test_a_block_that_fails_leaves_the_older_file(tmp_path: Path) -> None:
    path = tmp_path / "result"
    path.write_text("older")
    for mode in ("wb", "w"):
        with pytest.raises(KeyError), files.whole_file(path, mode) as file:
            file.write("half" if mode == "w" else b"half")
            raise KeyError
        assert tree(tmp_path) == {"result": "older"}
    with pytest.raises(OSError) as raised, files.whole_file(path):
        raise OSError(errno.ENOSPC, "No space left on device")
    assert raised.value.filename == str(path) and tree(tmp_path) == {"result": "older"}


def test_links_are_replaced_and_never_written_through(tmp_path: Path) -> None:
    (tmp_path / "theirs").write_text("precious")
    for name in ("result", ".result.partial"):
        (tmp_path / name).symlink_to(tmp_path / "theirs")
        with files.whole_file(tmp_path / "result") as file:
            file.write(b"ours")
        assert not (tmp_path / "result").is_symlink()
        assert tree(tmp_path) == {"theirs": "precious", "result": "ours"}


def test_what_a_killed_run_left_is_written_anew(tmp_path: Path) -> None:
    (tmp_path / ".result.partial").write_text("longer than what comes now")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with files.whole_file(tmp_path / "result") as file:
            file.write(b"new")
    assert tree(tmp_path) == {"result": "new"}


def test_text_is_utf8_with_names_that_are_no_text(tmp_path: Path) -> None:
    with files.whole_file(tmp_path / "result", "w") as file:
        file.write("ä\r\nb\udcff\n你")
    written = (tmp_path / "result").read_bytes()
    assert written == b"\xc3\xa4\r\nb\xff\n" + "你".encode()
    # And where the locale knows no more than ASCII.
    code = (
        "import sys; from pathlib import Path; from car.files import whole_file\n"
        "with whole_file(Path(sys.argv[1]), 'w') as file: file.write('\\xe4\\r\\nb\\udcff\\n\\u4f60')"
    )
    plain = {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0", "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", code, str(tmp_path / "again")]
    subprocess.run(command, check=True, env={**os.environ, **plain}, timeout=20)
    assert (tmp_path / "again").read_bytes() == written


def test_the_descriptor_is_hidden_from_pillow(tmp_path: Path) -> None:
    with files.whole_file(tmp_path / "result") as file:
        with pytest.raises(io.UnsupportedOperation, match="fileno"):
            file.fileno()
        file.write(b"x" * 100_000)
    assert (tmp_path / "result").stat().st_size == 100_000


def test_where_no_file_can_be_made(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError) as raised, files.whole_file(tmp_path / "gone" / "result"):
        raise AssertionError("the block is not reached")
    assert raised.value.filename == str(tmp_path / "gone" / "result")


# ---- whole folders -------------------------------------------------------------------------


def fill(path: Path, names: str = r"\d\.txt") -> None:
    """Write a set of two files."""
    with files.whole_folder(path, names) as partial:
        for number in (1, 2):
            (partial / f"{number}.txt").write_text("new")


NEW = {"set/1.txt": "new", "set/2.txt": "new"}


def test_a_folder_comes_whole_with_those_above_it(tmp_path: Path) -> None:
    fill(tmp_path / "some/where/set")
    assert tree(tmp_path / "some/where") == NEW
    assert os.listdir(tmp_path / "some/where") == ["set"]


def test_the_older_folder_stays_until_the_new_one_is_whole(tmp_path: Path) -> None:
    older = tmp_path / "set"
    older.mkdir()
    (older / "3.txt").write_text("older")
    with files.whole_folder(older, r"\d\.txt") as partial:
        assert partial == tmp_path / ".set.partial"
        (partial / "1.txt").write_text("new")
        assert tree(older) == {"3.txt": "older"}
    assert tree(tmp_path) == {"set/1.txt": "new"} and os.listdir(tmp_path) == ["set"]


def test_a_block_that_fails_leaves_the_older_folder(tmp_path: Path) -> None:
    (tmp_path / "set").mkdir()
    (tmp_path / "set/3.txt").write_text("older")
    with pytest.raises(KeyError), files.whole_folder(tmp_path / "set", ".*") as partial:
        (partial / "1.txt").write_text("new")
        raise KeyError
    assert tree(tmp_path) == {"set/3.txt": "older"} and os.listdir(tmp_path) == ["set"]
    with pytest.raises(KeyError), files.whole_folder(tmp_path / "first", ".*"):
        raise KeyError
    assert os.listdir(tmp_path) == ["set"]
    # The renaming itself fails: the older one had stepped aside already.
    with pytest.raises(FileNotFoundError), files.whole_folder(tmp_path / "set", ".*") as partial:
        partial.rmdir()
    assert tree(tmp_path) == {"set/3.txt": "older"} and os.listdir(tmp_path) == ["set"]


def test_what_killed_runs_left_is_put_right(tmp_path: Path) -> None:
    def left(name: str, text: str) -> None:
        (tmp_path / name).mkdir()
        (tmp_path / name / "7.txt").write_text(text)

    left(".set.partial", "half")  # killed in the block
    fill(tmp_path / "set")
    assert tree(tmp_path) == NEW
    left(".set.old", "older")  # killed once the new one was in place
    fill(tmp_path / "set")
    assert tree(tmp_path) == NEW and os.listdir(tmp_path) == ["set"]
    os.rename(tmp_path / "set", tmp_path / ".set.old")  # killed between the two renamings
    left(".set.partial", "half")
    with pytest.raises(KeyError), files.whole_folder(tmp_path / "set", r"\d\.txt"):
        assert tree(tmp_path) == NEW  # the older one is back before the work begins
        raise KeyError
    assert tree(tmp_path) == NEW and os.listdir(tmp_path) == ["set"]


@pytest.mark.parametrize("name", [".set.partial", ".set.old"])
@pytest.mark.parametrize("theirs", ["mine.txt", "1.txt.bak", "x1.txt"])
def test_what_others_put_there_is_never_removed(tmp_path: Path, name: str, theirs: str) -> None:
    for path in (tmp_path / "set", tmp_path / name):
        path.mkdir()
        (path / "1.txt").write_text("older")
    (tmp_path / name / theirs).write_text("precious")
    before = tree(tmp_path)
    with pytest.raises(UserError) as refused:
        fill(tmp_path / "set")
    assert str(tmp_path / name) in str(refused.value) and f"holds {theirs}" in str(refused.value)
    assert tree(tmp_path) == before


# ---- one run at a time ---------------------------------------------------------------------


def test_a_second_run_is_told_who_holds_the_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stop, "litter", [Path("before")])
    monkeypatch.setattr(sys, "argv", ["scr ipt.py", "b\udcff"])
    lock, holder = tmp_path / ".x.lock", tmp_path / ".x.lock.holder"
    assert files.holder_of(lock) == holder
    with files.locked(tmp_path, lock):
        assert set(os.listdir(tmp_path)) == {lock.name, holder.name}
        assert stop.litter == [Path("before"), lock, holder]
        me = f"process {os.getpid()} on {socket.gethostname()}: {shlex.join(sys.argv)}"
        assert os.fsdecode(holder.read_bytes()) == me
        with pytest.raises(UserError) as refused, files.locked(tmp_path, lock):
            raise AssertionError("the block is not reached")
        assert f"{tmp_path} is in use by {me}; " in str(refused.value)
        holder.unlink()
        with pytest.raises(UserError, match=r"is in use by a run that is just starting"):
            files.locked(tmp_path, lock).__enter__()
    assert os.listdir(tmp_path) == [] and stop.litter == [Path("before")]
    with files.locked(tmp_path, lock):
        pass


def test_a_block_that_fails_lets_go(tmp_path: Path) -> None:
    lock = tmp_path / ".x.lock"
    with pytest.raises(KeyError), files.locked(tmp_path, lock):
        raise KeyError
    assert os.listdir(tmp_path) == []
    with files.locked(tmp_path, lock):
        assert lock.exists()


def test_a_file_that_a_killed_run_left_is_no_lock(tmp_path: Path) -> None:
    lock = tmp_path / ".x.lock"
    lock.touch()
    files.holder_of(lock).write_text("process 1 of long ago")
    with files.locked(tmp_path, lock):
        assert "long ago" not in files.holder_of(lock).read_text()
    assert os.listdir(tmp_path) == []


def test_a_lock_that_is_a_link_is_refused(tmp_path: Path) -> None:
    (tmp_path / "theirs").write_text("precious")
    (tmp_path / ".x.lock").symlink_to(tmp_path / "theirs")
    with pytest.raises(OSError) as raised, files.locked(tmp_path, tmp_path / ".x.lock"):
        raise AssertionError("the block is not reached")
    assert (raised.value.errno, raised.value.filename) == (errno.ELOOP, str(tmp_path / ".x.lock"))
    assert "is a link" in str(raised.value.strerror)
    assert (tmp_path / "theirs").read_text() == "precious"


def test_other_faults_of_a_lock_are_named(tmp_path: Path) -> None:
    (tmp_path / ".x.lock").mkdir()
    with pytest.raises(OSError) as raised, files.locked(tmp_path, tmp_path / ".x.lock"):
        raise AssertionError("the block is not reached")
    assert raised.value.filename == str(tmp_path / ".x.lock")


@pytest.mark.parametrize("number", [errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS])
def test_a_disk_without_locks_is_told_and_used(
    tmp_path: Path, number: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """No such disk is at hand: the library is made to answer as it does there."""

    def acquire(*_: Any, **__: Any) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(filelock.FileLock, "acquire", acquire)
    with files.locked(tmp_path, tmp_path / ".x.lock"):
        assert files.holder_of(tmp_path / ".x.lock").exists()
    assert os.listdir(tmp_path) == []
    said = capsys.readouterr().out
    assert said.startswith(f"{tmp_path}: ") and "knows no locks" in said


def test_parts_of_one_division_run_side_by_side(tmp_path: Path) -> None:
    with files.part_locked(tmp_path, 1, 2) as first:
        assert first == tmp_path / ".car_1_of_2.lock" and first.exists()
        with files.part_locked(tmp_path, 2, 2) as second:
            assert second == tmp_path / ".car_2_of_2.lock"
            with pytest.raises(UserError, match=f"^{tmp_path} is in use"), files.part_locked(tmp_path, 1, 2):
                raise AssertionError("the block is not reached")
        for part, parts in ((1, 1), (1, 3), (2, 12), (2, 4)):
            with pytest.raises(UserError) as refused, files.part_locked(tmp_path, part, parts):
                raise AssertionError("the block is not reached")
            assert str(refused.value).startswith(f"{tmp_path} is in use by process {os.getpid()} ")
            assert first.exists()
    assert os.listdir(tmp_path) == []


def test_a_left_lock_of_another_division_goes(tmp_path: Path) -> None:
    (tmp_path / ".car_1_of_1.lock").touch()
    (tmp_path / ".car_4_of_12.lock").touch()
    (tmp_path / ".car_1_of_2.lock").touch()
    with files.part_locked(tmp_path, 2, 2):
        assert {path.name for path in tmp_path.glob("*.lock")} == {".car_2_of_2.lock", ".car_1_of_2.lock"}
