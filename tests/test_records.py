"""car/records.py: files followed by their frames, read through, and what is wrong with them by number."""

import tracemalloc

import numpy as np
import pytest
from conftest import run
from reference import read_patches, write_patches

import car_ds_loader
from car.errors import UserError
from car.frames import frames_of
from car.records import RecordWriter, all_pairs, check_records, naming
from car.tiles import patches


def test_what_is_written_is_read_by_others_and_by_us(tmp_path):
    """Three files of 10,000 records at the most; sums, counts and ranges from the patches themselves."""
    rng = np.random.default_rng(0)
    jpg, bmp = rng.integers(3, 250, (2, 20_001, 4, 4)).astype(np.uint8)
    writer = RecordWriter(tmp_path, "val", 4)
    for part in np.array_split(np.arange(20_001), 7):
        rows = 2 if len(part) % 2 == 0 else 1
        writer.write(*(some[part].reshape(rows, -1, 4, 4) for some in (jpg, bmp)))
    writer.close()
    assert writer.counts == {"val_1.tfrecords": 10_000, "val_2.tfrecords": 10_000, "val_3.tfrecords": 1}
    theirs = [read_patches(tmp_path / name) for name in writer.counts]
    np.testing.assert_array_equal(np.concatenate([pair[0] for pair in theirs]), jpg)
    np.testing.assert_array_equal(np.concatenate([pair[1] for pair in theirs]), bmp)
    mse = np.square(jpg.astype(float) - bmp).mean()
    found = check_records(tmp_path)
    assert (found.total, found.side, writer.total) == (20_001, 4, 20_001)
    assert writer.squares / jpg.size == pytest.approx(mse) and found.mse == pytest.approx(mse, rel=1e-6)
    last = found.files[2]
    assert (last.count, last.jpg_range) == (1, (jpg[-1].min(), jpg[-1].max()))
    assert last.bmp_range == (bmp[-1].min(), bmp[-1].max())
    read = [np.concatenate(batches)[..., 0] for batches in zip(*all_pairs(found), strict=True)]
    np.testing.assert_array_equal(read, [jpg, bmp])


def test_writing_takes_the_memory_of_the_picture(tmp_path):
    """Whatever the stride and the side: all patches of this plane have 29 MB, one of 20,000 has 400."""
    plane = np.random.default_rng(0).integers(0, 256, (200, 200)).astype(np.uint8)
    tracemalloc.start()
    writer = RecordWriter(tmp_path, "train", 32)
    writer.write(patches(plane, 32, 1), patches(255 - plane, 32, 1))
    writer.close()
    too_large = RecordWriter(tmp_path, "val", 20_000)
    too_large.write(patches(plane, 20_000, 1), patches(plane, 20_000, 1))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert (writer.total, too_large.total) == (169**2, 0)
    assert peak < 8e6
    assert writer.squares == np.square(2.0 * patches(plane, 32, 1) - 255).sum()


def test_a_fault_of_tensorflows_files_names_the_path(tmp_path):
    import tensorflow as tf

    with pytest.raises(UserError, match=r"my path: .*nowhere"), naming(tmp_path / "my path"):
        next(iter(tf.data.TFRecordDataset(str(tmp_path / "nowhere"))))
    with pytest.raises(OSError) as caught, naming(tmp_path / "mine"):
        (tmp_path / "nowhere").read_bytes()
    assert caught.value.filename == str(tmp_path / "mine")
    with pytest.raises(tf.errors.UnavailableError), naming(tmp_path):
        raise tf.errors.UnavailableError(None, None, "a worker is gone")


def test_the_place_of_each_validation_record_in_its_set_is_known(tmp_path):
    """Shuffled over three files: the level of each patch here is its place."""
    patches = np.arange(23)[:, np.newaxis, np.newaxis] * np.ones((1, 4, 4), int)
    for number, part in enumerate(np.split(patches, [10, 14]), start=1):
        write_patches(tmp_path / f"val_{number}.tfrecords", part, part)
    found = check_records(tmp_path)
    batches = car_ds_loader.validation_batches(found, 20, 6)
    levels = np.concatenate([jpg[:, 0, 0, 0] for jpg, _ in batches.as_numpy_iterator()]).tolist()
    assert car_ds_loader.validation_places(found, 20) == levels != sorted(levels)


def flip_a_byte(path):
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 0x10
    path.write_bytes(data)


def test_damaged_record_files_are_named_with_the_record(tmp_path):
    rng = np.random.default_rng(0)
    jpg, bmp = rng.integers(0, 256, (2, 21, 32, 32))
    write_patches(tmp_path / "train_1.tfrecords", jpg, bmp)
    whole = (tmp_path / "train_1.tfrecords").read_bytes()
    assert "21 records of 32x32, all whole" in run("read_tfrecord.py", tmp_path, ".").out

    flip_a_byte(tmp_path / "train_1.tfrecords")
    assert "train_1.tfrecords: record 11: " in run("read_tfrecord.py", tmp_path, ".", status=1).err

    def told(text):
        with pytest.raises(UserError, match=text):
            check_records(tmp_path)

    (tmp_path / "train_1.tfrecords").write_bytes(whole[:-5])
    told("train_1.tfrecords: record 21: ")
    jpg[4, 3, 3] = 256
    write_patches(tmp_path / "train_1.tfrecords", jpg, bmp)
    told("record 5: has grey levels outside 0..255")
    (tmp_path / "train_1.tfrecords").rename(tmp_path / "train_2.tfrecords")
    told("train_1.tfrecords is missing")


@pytest.mark.parametrize("count", [1, 9])
def test_a_record_whose_patches_differ_in_size_is_named(tmp_path, count):
    rng = np.random.default_rng(0)
    path = tmp_path / "train_1.tfrecords"
    good, large = rng.integers(0, 256, (3, 32, 32)), rng.integers(0, 256, (count, 64, 64))
    write_patches(path, good, good)
    head = path.read_bytes()
    write_patches(path, large[:, :32, :32], large)
    for data, number in ((path.read_bytes(), 1), (head + path.read_bytes(), 4)):
        path.write_bytes(data)
        with pytest.raises(UserError) as caught:
            check_records(tmp_path)
        assert f"record {number}: its patches differ in size: JPG 32x32, BMP 64x64" in str(caught.value)


def test_following_the_frames_takes_no_memory_for_each_record(tmp_path):
    path = tmp_path / "train_1.tfrecords"
    write_patches(path, np.zeros((1, 1, 1), int), np.zeros((1, 1, 1), int))
    path.write_bytes(path.read_bytes() * 100_000)
    tracemalloc.start()
    frames = frames_of(path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert frames.count == 100_000 and frames.whole and peak < 2**21
