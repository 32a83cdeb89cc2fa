"""cluster/storage.py: the image of a store, and files that come and go; here a store of file:// addresses."""

import os
from pathlib import Path

import pytest

pytest.importorskip("pyarrow")

from car import find
from car.errors import UserError
from cluster import correct_ray, storage
from cluster.storage import Address


@pytest.fixture
def store(tmp_path: Path) -> Path:
    """A folder that stands for a store: two JPGs of a tree, and a journal of earlier results."""
    folder = tmp_path / "store"
    for name in (
        "photographs/a.jpg",
        "photographs/2019/b.JPG",
        "photographs/2019/b.bmp",
        "out/.car_results.jsonl",
    ):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(name.encode())
        os.utime(folder / name, (1e9, 1e9))
    return folder


def test_addresses_are_joined_as_paths_are() -> None:
    assert storage.join("s3://bucket/work?region=x", "data") == "s3://bucket/work/data?region=x"
    assert storage.join("s3://bucket/work", "gs://other/data") == "gs://other/data"
    assert storage.join("/work", "s3://bucket/data") == "s3://bucket/data"
    assert storage.join("/work", "data") == os.path.join("/work", "data")


def test_an_image_has_names_sizes_and_times_and_no_content(store: Path, tmp_path: Path) -> None:
    image = storage.Image(tmp_path / "image")
    folder = image.path_of(f"file://{store}/photographs")
    image.draw(folder)
    found = find.in_folder(folder, find.JPEG_SUFFIXES, recursive=True)
    assert [picture.name for picture in found.pictures] == ["2019/b.JPG", "a.jpg"]
    drawn = folder / "2019/b.JPG"
    about = drawn.stat()
    assert (about.st_size, about.st_mtime) == (len("photographs/2019/b.JPG"), 1e9)
    assert drawn.read_bytes() == bytes(about.st_size)
    assert find.clean_beside(drawn) == folder / "2019/b.bmp"
    assert image.holds(drawn) and not image.holds(store)
    image.fetch([drawn])
    assert drawn.read_bytes() == b"photographs/2019/b.JPG" and drawn.stat().st_mtime == 1e9
    assert image.address_of(drawn) == Address("file:", str(store / "photographs/2019/b.JPG"))
    assert image.address_of(store) == Address(storage.LOCAL, str(store))


def test_a_file_gets_its_place_whole_or_not_at_all(store: Path, tmp_path: Path) -> None:
    image = storage.Image(tmp_path / "image")
    address = image.address_of(image.path_of(f"file://{store}/out"))
    (tmp_path / "made.png").write_bytes(b"made")
    os.utime(tmp_path / "made.png", (2e9, 2e9))
    storage.put(image.systems, tmp_path / "made.png", address / "made.png")
    assert (store / "out/made.png").read_bytes() == b"made" and (
        store / "out/made.png"
    ).stat().st_mtime == 2e9
    with pytest.raises(OSError) as fault:
        storage.put(image.systems, tmp_path / "made.png", address / "no folder/made.png")
    assert fault.value.filename.endswith("no folder/made.png")
    (tmp_path / "a folder").write_bytes(b"made")
    (store / "out/a folder").mkdir()
    with pytest.raises(OSError):  # once it is copied, when it is to get its name
        storage.put(image.systems, tmp_path / "a folder", address / "a folder")
    (store / "out/a folder").rmdir()
    assert sorted(os.listdir(store / "out")) == [".car_results.jsonl", "made.png"]


def test_what_a_kill_left_half_written_is_removed_and_nothing_else(store: Path, tmp_path: Path) -> None:
    ours, theirs = f".car_{'0' * 32}.partial", ".car_of_the_user.partial"
    for name in (ours, theirs):
        (store / "photographs" / name).write_bytes(b"half")
    image = storage.Image(tmp_path / "image")
    folder = image.path_of(f"file://{store}/photographs")
    image.draw(folder)
    image.remove_partials(folder)
    left = os.listdir(store / "photographs")
    assert ours not in left and theirs in left


def test_what_a_store_does_not_answer_is_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """But not what a disk answers, which has a number for it."""
    pauses: list[float] = []
    monkeypatch.setattr("cluster.storage.time.sleep", pauses.append)
    calls: list[OSError] = []

    @storage.patiently
    def ask(fault: OSError, times: int) -> str:
        calls.append(fault)
        if len(calls) <= times:
            raise fault
        return "answer"

    assert ask(OSError("503 slow down"), 3) == "answer" and pauses == [1, 2, 4]
    calls.clear()
    with pytest.raises(OSError, match="503"):
        ask(OSError("503 slow down"), 99)
    assert len(calls) == storage.ATTEMPTS
    calls.clear()
    with pytest.raises(OSError, match="No space left"):
        ask(OSError(28, "No space left on device"), 99)
    assert len(calls) == 1


def test_an_address_that_is_none(tmp_path: Path) -> None:
    image = storage.Image(tmp_path)
    with pytest.raises(UserError, match="nowhere://bucket is no address that can be used"):
        image.path_of("nowhere://bucket")


def test_what_was_handed_in_stays_until_the_journal_is_in_the_store(
    store: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else a kill between the two would leave results that nobody knows as ours."""
    image = storage.Image(tmp_path / "image")
    results = image.path_of(f"file://{store}/out")
    image.draw(results)
    way = correct_ray.OnCluster(image, {}, {}, 1)
    handed_in = image.address_of(results / "handed_in.jsonl")
    way._taken_over.append(handed_in)
    done: list[str] = []
    monkeypatch.setattr(storage, "put", lambda systems, file, address: done.append(address.path))
    monkeypatch.setattr(storage, "remove", lambda systems, address: done.append(address.path))
    way.bring_back(results)
    assert done == [str(store / "out/.car_results.jsonl"), handed_in.path]
    way.bring_back(results)
    assert len(done) == 2  # nothing changed since
