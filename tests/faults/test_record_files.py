"""Harmed record files: each is refused before training, by file and record, and never are there silently fewer."""

import json
import re
import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from conftest import run
from hypothesis import strategies as st
from mutate import Draw, examples, harmed
from reference import write_patches

SIDE = 8
COUNTS = (9, 12)  # records of the two files


def frames_of(data: bytes) -> list[bytes]:
    """A record file cut into its records, frames included."""
    frames, place = [], 0
    while place < len(data):
        end = place + 16 + int.from_bytes(data[place : place + 8], "little")
        frames.append(data[place:end])
        place = end
    return frames


@st.composite
def reordered(draw: Draw, data: bytes) -> bytes:
    """Whole records exchanged, doubled, removed, or one in the place of another: every checksum is right."""
    frames = frames_of(data)
    first, second = (draw(st.integers(0, len(frames) - 1)) for _ in range(2))
    way = draw(st.integers(0, 4))
    if way == 0:
        frames[first], frames[second] = frames[second], frames[first]
    elif way == 1:
        frames[first] = frames[second]
    elif way == 2:
        frames.insert(first, frames[second])
    elif way == 3:
        del frames[first]
    else:
        frames = frames[:first]  # cut at a record's border
    return b"".join(frames)


def masked_crc32c(data: bytes) -> int:
    """The checksum of TFRecords (Castagnoli's polynomial, rotated and moved by a constant)."""
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (0x82F63B78 if crc & 1 else 0)
    crc ^= 0xFFFFFFFF
    return ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF


def write_set(folder: Path, counts: tuple[int, ...] = COUNTS, seed: int = 0) -> None:
    """A set as the loader writes it: record files, and the split.json that counts them."""
    from car.frames import frames_of

    rng = np.random.default_rng(seed)
    folder.mkdir(parents=True)
    for number, count in enumerate(counts, start=1):
        bmp = rng.integers(0, 256, (count, SIDE, SIDE))
        jpg = np.clip(bmp + rng.integers(-9, 10, bmp.shape), 0, 255)
        write_patches(folder / f"train_{number}.tfrecords", jpg, bmp)
    names = [f"train_{number}.tfrecords" for number in range(1, len(counts) + 1)]
    content = {
        "set": "train",
        "sets": {"train": ["a", "b"], "val": ["c"], "test": ["d"]},
        "group_by": "^(.*)_slice",
        "folders": ["/data"],
        "files": dict(zip(names, counts, strict=True)),
        "sums": {name: frames_of(folder / name).sum for name in names},
        "digests": {"a": "00", "b": "01"},
    }
    (folder / "split.json").write_text(json.dumps(content))


def refusal(folder: Path) -> str:
    """What check_records says against a folder; the test fails if it takes it."""
    from car.errors import UserError
    from car.records import check_records

    with pytest.raises(UserError) as caught:
        check_records(folder)
    text = str(caught.value)
    assert "\n" not in text and len(text) < 600
    return text


def test_each_mutated_record_file_is_refused(tmp_path: Path, long: bool) -> None:
    write_set(tmp_path / "set")
    file = tmp_path / "set/train_2.tfrecords"
    good = file.read_bytes()
    own = st.one_of(*[reordered(good)] * 2).filter(lambda data: data != good)
    count = 2000 if long else 100
    numbered = 0
    for mutant in examples(st.one_of(harmed(good), own), count):
        file.write_bytes(mutant)
        said = refusal(tmp_path / "set")
        assert str(file) in said
        numbered += bool(re.search(r"record \d+[ :]", said))
    print(f"{count} mutated record files, all refused, {numbered} with the record")
    assert numbered > 0.8 * count
    file.write_bytes(good)
    from car.records import check_records

    assert check_records(tmp_path / "set").total == sum(COUNTS)


def test_with_nothing_beside_them_damage_is_seen_by_the_checksums(tmp_path: Path, long: bool) -> None:
    """Files of other programs: no counts, so that a cut at a record's border and an exchange cannot show."""
    from car.errors import UserError
    from car.records import check_records

    write_set(tmp_path / "set", counts=(12,))
    (tmp_path / "set/split.json").unlink()
    file = tmp_path / "set/train_1.tfrecords"
    good = file.read_bytes()
    frames = frames_of(good)
    assert check_records(tmp_path / "set").total == 12
    for mutant in examples(harmed(good), 2000 if long else 100):
        file.write_bytes(mutant)
        try:
            taken = check_records(tmp_path / "set").total
        except UserError as error:
            assert str(file) in str(error) and "\n" not in str(error)
        else:  # every record of it is one of the good ones
            assert taken == len(frames_of(mutant)) and set(frames_of(mutant)) <= set(frames)


def test_each_mutated_split_file_is_refused_or_harmless(tmp_path: Path, long: bool) -> None:
    from car.errors import UserError
    from car.records import check_records

    write_set(tmp_path / "set")
    path = tmp_path / "set/split.json"
    good = path.read_bytes()
    content = json.loads(good)
    edits: list[bytes] = []
    for name, value in [
        ("files", {}),
        ("files", {"train_1.tfrecords": 9}),
        ("files", [21]),
        ("sets", []),
        ("set", "none"),
    ]:
        edits.append(json.dumps({**content, name: value}).encode())
    edits.append(json.dumps({**content, "files": {**content["files"], "train_2.tfrecords": 11}}).encode())
    edits.append(json.dumps({**content, "files": {**content["files"], "train_2.tfrecords": "12"}}).encode())
    edits += [b"[" * 100_000, b"[]", b"null", b"1e999"]
    for edit in edits:
        path.write_bytes(edit)
        assert "split.json" in refusal(tmp_path / "set")
    refused = 0
    mutants = examples(harmed(good), 2000 if long else 100)
    for mutant in mutants:
        path.write_bytes(mutant)
        try:
            assert check_records(tmp_path / "set").total == sum(COUNTS)
        except UserError as error:
            assert "\n" not in str(error) and str(tmp_path / "set") in str(error)
            refused += 1
    print(f"{len(mutants)} mutated split.json: {refused} refused, the others name the same records")


def of_length(length: int) -> bytes:
    """The head of a record that says to be of a length, by a right checksum."""
    head = struct.pack("<Q", length)
    return head + struct.pack("<I", masked_crc32c(head))


def a_length_of_a_terabyte(folder: Path) -> str:
    with open(folder / "train_2.tfrecords", "ab") as file:
        file.write(of_length(2**40))
    return r"train_2.tfrecords: record 13: is cut"


def cut_at_a_border(folder: Path) -> str:
    path = folder / "train_1.tfrecords"
    path.write_bytes(b"".join(frames_of(path.read_bytes())[:-1]))
    return r"train_1.tfrecords holds 8 records, 9 by split.json: record 9 is missing"


def gone(folder: Path) -> str:
    (folder / "train_2.tfrecords").unlink()
    return r"train_2.tfrecords is missing; split.json lists it"


def of_another_set(folder: Path) -> str:
    write_set(folder.parent / "other", seed=1)
    (folder / "train_1.tfrecords").write_bytes((folder.parent / "other/train_1.tfrecords").read_bytes())
    return r"train_1.tfrecords: its records are whole, but by split.json not those"


def another_number(folder: Path) -> str:
    (folder / "train_02.tfrecords").write_bytes((folder / "train_2.tfrecords").read_bytes())
    return r"have one number"


def a_folder_among_them(folder: Path) -> str:
    (folder / "train_3.tfrecords").mkdir()
    return r"train_3.tfrecords: record files are files"


@pytest.mark.parametrize(
    "harm",
    [a_length_of_a_terabyte, cut_at_a_border, gone, of_another_set, another_number, a_folder_among_them],
)
def test_what_is_said(tmp_path: Path, harm: Callable[[Path], str]) -> None:
    write_set(tmp_path / "set")
    told = harm(tmp_path / "set")
    assert re.search(told, refusal(tmp_path / "set"))


def test_training_and_reading_end_before_they_begin(tmp_path: Path) -> None:
    for name in ("train", "val"):
        write_set(tmp_path / name)
    told = cut_at_a_border(tmp_path / "train")
    for command in (
        ("train_car.py", tmp_path, "log", "train", "val"),
        ("read_tfrecord.py", tmp_path, "train"),
    ):
        ended = run(*command, status=1)
        assert re.search(told, ended.err) and len(ended.err.splitlines()) == 1
    assert not (tmp_path / "log").exists()
