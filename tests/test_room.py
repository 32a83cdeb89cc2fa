"""car/room.py: how many pixels are held at a time, and what the free memory does not hold."""

import threading
from pathlib import Path
from types import SimpleNamespace

import psutil
import pytest

from car import images, room
from car.errors import BadImage
from car.find import Picture

Monkey = pytest.MonkeyPatch
A, B, C = (Picture(Path(f"/x/{name}.jpg"), f"{name}.jpg") for name in "abc")


def takes(space: room.Room, picture: Picture, pixels: int) -> threading.Event:
    """Take room in another thread; the event says that it was given."""
    given = threading.Event()

    def take() -> None:
        space.take(picture, pixels)
        given.set()

    threading.Thread(target=take, daemon=True).start()
    return given


def test_small_pictures_go_together_and_a_further_one_waits() -> None:
    space = room.Room(100)
    assert takes(space, A, 40).wait(5) and takes(space, B, 60).wait(5)
    c = takes(space, C, 41)
    assert not c.wait(0.1)
    space.give_back(A)
    assert not c.wait(0.1)  # 60 are still taken
    space.give_back(B)
    assert c.wait(5)


def test_one_that_is_larger_than_all_of_it_goes_alone() -> None:
    space = room.Room(100)
    space.take(A, 1)
    b = takes(space, B, 1000)
    assert not b.wait(0.1)
    space.give_back(A)
    assert b.wait(5)
    c = takes(space, C, 1)
    assert not c.wait(0.1)
    space.give_back(B)
    assert c.wait(5)


@pytest.mark.parametrize("raised", [ValueError, BadImage, KeyboardInterrupt])
def test_what_fails_gives_its_room_back(raised: type[BaseException]) -> None:
    space = room.Room(100)
    space.take(A, 100)
    with pytest.raises(raised, match=r"^why$"), space.stage(A):
        raise raised("why")
    space.take(B, 100)
    with space.stage(B):
        pass
    assert not takes(space, C, 1).wait(0.1)  # it is held until it is saved


def test_memory_that_ends_is_the_fault_of_the_picture() -> None:
    space = room.Room(100)
    space.take(A, 100)
    with pytest.raises(BadImage) as bad, space.stage(A):
        raise MemoryError
    assert str(bad.value) == "a.jpg: the memory is not enough for it"
    space.take(B, 100)
    with pytest.raises(BadImage) as bad, images.reading("b.jpg"):
        raise MemoryError
    assert str(bad.value) == "b.jpg: the memory is not enough for it"


@pytest.mark.parametrize("pixels, times", [(2**22, 3), (2**22 - 1, 0)])
def test_before_each_stage_of_a_large_picture_memory_goes_back(
    monkeypatch: Monkey, pixels: int, times: int
) -> None:
    asked: list[int] = []
    monkeypatch.setattr(room, "_trim", asked.append)
    space = room.Room()
    space.take(A, pixels)
    for _ in range(3):
        with space.stage(A):
            pass
    assert asked == [0] * times
    monkeypatch.setattr(room, "_trim", None)  # no glibc
    with space.stage(A):
        pass


def machine(monkeypatch: Monkey, free: int, container: Path = Path("/nothing here")) -> None:
    monkeypatch.setattr(psutil, "virtual_memory", lambda: SimpleNamespace(available=free))
    monkeypatch.setattr(room, "CGROUP", container)


def test_what_the_free_memory_holds(monkeypatch: Monkey) -> None:
    machine(monkeypatch, 2_800_000_000)
    room.check_memory(A, 100_000_000, costly=False)
    with pytest.raises(BadImage) as bad:
        room.check_memory(A, 100_000_000, costly=True)
    assert (
        str(bad.value)
        == "a.jpg: has 100 megapixels, which take 4.0 GB of memory to correct, and 2.8 GB are free"
    )
    with pytest.raises(BadImage, match=r"a.jpg: has 150 megapixels, which take 4.2 GB"):
        room.check_memory(A, 150_000_000, costly=False)


def test_a_container_has_a_limit_of_its_own(monkeypatch: Monkey, tmp_path: Path) -> None:
    machine(monkeypatch, 10**9, tmp_path)
    (tmp_path / "memory.max").write_text("max\n")
    (tmp_path / "memory.current").write_text("700\n")
    (tmp_path / "memory.stat").write_text("anon 100\ninactive_file 50\n")
    assert room.free_memory() == 10**9
    (tmp_path / "memory.max").write_text("900\n")
    assert room.free_memory() == 250
    machine(monkeypatch, 249, tmp_path)
    assert room.free_memory() == 249


def test_this_machine_has_free_memory() -> None:
    assert 2**26 < room.free_memory() < 2**46
