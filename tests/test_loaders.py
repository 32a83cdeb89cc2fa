"""load_train_data.py, load_val_data.py and read_tfrecord.py, run from the shell."""

import io
import json
import re

import numpy as np
import pytest
from conftest import run
from PIL import Image
from reference import read_patches


def grey(path):
    return np.asarray(Image.open(path).convert("L"))


def patches_of(plane, side=32):
    rows, columns = plane.shape[0] // side, plane.shape[1] // side
    return [
        plane[y * side : (y + 1) * side, x * side : (x + 1) * side]
        for y in range(rows)
        for x in range(columns)
    ]


def save_pair(folder, name, size, seed=0, quality=30, mode="L"):
    """A smooth random picture as NAME.bmp and NAME.jpg."""
    folder.mkdir(parents=True, exist_ok=True)
    rough = np.random.default_rng(seed).integers(0, 256, (5, 7) if mode == "L" else (5, 7, 3), dtype=np.uint8)
    picture = Image.fromarray(rough).resize(size, Image.Resampling.BICUBIC)
    picture.save(folder / f"{name}.bmp")
    picture.save(folder / f"{name}.jpg", quality=quality)


def test_records_hold_the_patches_of_whole_images_row_by_row(records):
    split = json.loads((records.folder / "tfrecords/train/split.json").read_text())
    jpg, bmp = read_patches(records.folder / "tfrecords/train/train_1.tfrecords")
    names = split["sets"]["train"]
    assert jpg.dtype == np.int16 and len(jpg) == 256 * len(names)
    data = records.folder / "data"
    by_first = {}
    for name in names:
        by_first[grey(data / f"{name}.bmp").tobytes()] = name
    order = []
    for image in range(len(names)):
        block = slice(256 * image, 256 * (image + 1))
        whole = bmp[block].reshape(16, 16, 32, 32).swapaxes(1, 2).reshape(512, 512).astype(np.uint8)
        order.append(by_first[whole.tobytes()])
        np.testing.assert_array_equal(jpg[block], patches_of(grey(data / f"{order[-1]}.jpg")))
    assert sorted(order) == names and order != names  # all of them, in a random order
    mse = float(re.search(r"MSE between JPG and BMP patches: ([\d.]+)", records.train)[1])
    assert mse == pytest.approx(np.square((jpg - bmp).astype(np.float64)).mean(), abs=6e-4)


def test_the_split_is_by_series_and_both_loaders_agree(records):
    train, val = (
        json.loads((records.folder / f"tfrecords/{s}/split.json").read_text()) for s in ("train", "val")
    )
    assert train["sets"] == val["sets"]
    series = {s: {name[:10] for name in train["sets"][s]} for s in ("train", "val", "test")}
    assert [len(train["sets"][s]) for s in ("train", "val", "test")] == [12, 3, 3]
    assert len(series["train"] | series["val"] | series["test"]) == sum(map(len, series.values())) == 6
    assert "stay together: 18 images in 6 groups" in records.train
    assert "split by image: train 12, val 3, test 3" in records.val
    assert sum(train["files"].values()) == 12 * 256 and sum(val["files"].values()) == 3 * 256


def test_seventy_twenty_ten_and_the_seed(tmp_path):
    for number in range(20):
        save_pair(tmp_path / "data", f"photo {number}", (40, 40), number)
    printed = run("load_val_data.py", tmp_path, "data", "val")
    assert "split by image: train 14, val 4, test 2" in printed.out
    run("load_val_data.py", tmp_path, "data", "val7", "--seed", 7)
    first, other = (json.loads((tmp_path / v / "split.json").read_text())["sets"] for v in ("val", "val7"))
    assert first["val"] != other["val"] and len(other["val"]) == 4


def test_one_group_is_an_error_that_names_the_option(tmp_path):
    for number in range(3):
        save_pair(tmp_path / "data", f"scan_slice_{number}", (40, 40), number)
    printed = run("load_train_data.py", tmp_path, "data", "train", status=1)
    assert "--group-by" in printed.err and not (tmp_path / "train").exists()
    printed = run("load_train_data.py", tmp_path, "data", "train", "--group-by", ".*")
    assert "train 1, val 1, test 1" in printed.out


def test_qualities_are_made_in_memory_from_clean_images(tmp_path):
    data = tmp_path / "data"
    save_pair(data, "colour", (70, 64), 1, mode="RGB")  # its BMP counts, not its JPG
    deep = np.linspace(0, 65535, 64 * 64).reshape(64, 64).astype(np.uint16)
    Image.fromarray(deep).save(data / "deep.png")
    run("load_train_data.py", tmp_path, "data", "train", "--all", "--quality", 10, 40)
    jpg, bmp = read_patches(tmp_path / "train/train_1.tfrecords")
    assert len(jpg) == (2 * 2 + 2 * 2) * 2
    assert json.loads((tmp_path / "train/split.json").read_text())["coarseness"] == pytest.approx(
        [1.25, 5], rel=0.01
    )
    luma = grey(data / "colour.bmp")
    expected = {}
    for name, clean in (("colour", luma), ("deep", np.rint(deep / 257).astype(np.uint8))):
        for quality in (10, 40):
            file = io.BytesIO()
            Image.fromarray(clean).save(file, "JPEG", quality=quality)
            expected[name, quality] = patches_of(grey(file)), patches_of(clean)
    names = ("colour", "deep") if (bmp[0] == patches_of(luma)[0]).all() else ("deep", "colour")
    order = [(name, quality) for name in names for quality in (10, 40)]
    np.testing.assert_array_equal(jpg, np.concatenate([expected[key][0] for key in order]))
    np.testing.assert_array_equal(bmp, np.concatenate([expected[key][1] for key in order]))


def test_shrink_takes_the_clean_image_at_half_its_size(tmp_path):
    save_pair(tmp_path / "data", "colour", (70, 65), 1, mode="RGB")
    run("load_train_data.py", tmp_path, "data", "train", "--all", "--quality", 30, "--shrink", 2)
    _, bmp = read_patches(tmp_path / "train/train_1.tfrecords")
    luma = grey(tmp_path / "data/colour.bmp")[:64, :64].astype(float)
    mean = luma.reshape(32, 2, 32, 2).mean(axis=(1, 3))
    assert bmp.shape == (1, 32, 32) and np.abs(bmp[0] - mean).max() <= 0.5


def test_before_adds_images_that_were_saved_once_and_cut(tmp_path):
    save_pair(tmp_path / "data", "a", (39, 39), 1)
    run("load_train_data.py", tmp_path, "data", "train", "--all", "--quality", 80, "--before", 20)
    jpg, bmp = read_patches(tmp_path / "train/train_1.tfrecords")
    clean = grey(tmp_path / "data/a.bmp")

    def saved(plane, quality):
        file = io.BytesIO()
        Image.fromarray(plane).save(file, "JPEG", quality=quality)
        return grey(file)

    cuts = [(top, left) for top in range(1, 8) for left in range(1, 8)]
    (cut,) = [c for c in cuts if (clean[c[0] : c[0] + 32, c[1] : c[1] + 32] == bmp[1]).all()]
    again = saved(np.ascontiguousarray(saved(clean, 20)[cut[0] :, cut[1] :]), 80)
    np.testing.assert_array_equal(jpg, [saved(clean, 80)[:32, :32], again[:32, :32]])
    np.testing.assert_array_equal(bmp[0], clean[:32, :32])


def test_bad_small_and_lonely_images_are_named_and_the_rest_is_done(tmp_path):
    data = tmp_path / "data"
    for number in range(4):
        save_pair(data, f"good{number}", (64, 33), number, quality=(30, 30, 10, 30)[number])
    save_pair(data, "tiny", (31, 64), quality=95)
    save_pair(data, "cut", (64, 64))
    (data / "cut.jpg").write_bytes((data / "cut.jpg").read_bytes()[:-200])
    save_pair(data, "sizes", (64, 64))
    Image.new("L", (64, 65)).save(data / "sizes.bmp")
    save_pair(data, "empty", (64, 64))
    (data / "empty.jpg").write_bytes(b"")
    save_pair(data, "lonely", (64, 64))
    (data / "lonely.bmp").unlink()
    save_pair(data, "twin", (64, 64))
    (data / "twin.jpeg").write_bytes((data / "twin.jpg").read_bytes())
    (data / "upper.JPEG").write_bytes((data / "good0.jpg").read_bytes())
    (data / "upper.BMP").write_bytes((data / "good0.bmp").read_bytes())
    (data / "sub").mkdir()
    (data / "good0.jpg").rename(data / "sub/good.jfif")
    Image.open(data / "good0.bmp").save(data / "sub/good.tif")
    (data / "good0.bmp").unlink()
    for kind in ("jpg", "bmp"):
        (data / f"empty.{kind}").rename(data / f"sub/empty.{kind}")
    (data / "sub/notes.txt").touch()
    printed = run("load_train_data.py", tmp_path, "data", "train", "--all", "--recursive", status=1).out
    assert "passed over: 1 .txt" in printed and "5 of 9 images used" in printed
    assert "skipped, no partner: 1 (lonely.jpg)" in printed
    assert "skipped, two of one name (rename or remove one): 1 (twin.jpeg + twin.jpg + twin.bmp)" in printed
    assert "skipped, smaller than 32x32: 1 (tiny)" in printed
    assert "left out as bad: 3" in printed
    assert "sizes.jpg: the pair differs in size: JPG 64x64, clean picture 64x65" in printed
    assert "left out: sub/empty.jpg: is empty" in printed and re.search(
        "cut.jpg: cannot be decoded: .*truncated", printed
    )
    assert len(read_patches(tmp_path / "train/train_1.tfrecords")[0]) == 5 * 2
    written = json.loads((tmp_path / "train/split.json").read_text())
    assert "sub/good" in written["sets"]["train"] and "sub/good" in written["digests"]
    span = written["coarseness"]
    assert span == pytest.approx([5 / 3, 5], rel=0.01)  # of those that gave patches


def test_how_coarse_a_set_is_is_not_known_where_one_jpg_codes_no_luma(tmp_path):
    save_pair(tmp_path / "data", "grey", (40, 40))
    save_pair(tmp_path / "data", "rgb", (40, 40), mode="RGB")
    clean = Image.open(tmp_path / "data/rgb.bmp")
    clean.save(tmp_path / "data/rgb.jpg", quality=30, keep_rgb=True)
    assert "patches: 2 of" in run("load_train_data.py", tmp_path, "data", "train", "--all").out
    assert "coarseness" not in json.loads((tmp_path / "train/split.json").read_text())


def test_ten_thousand_records_a_file_and_no_stale_file_stays(tmp_path):
    save_pair(tmp_path / "data", "large", (32 * 101, 32 * 100))
    run("load_train_data.py", tmp_path, "data", "train", "--all")
    assert [len(read_patches(tmp_path / f"train/train_{n}.tfrecords")[0]) for n in (1, 2)] == [10000, 100]
    printed = run("load_train_data.py", tmp_path, "data", "train", "--all", "--patch-size", 64).out
    assert "patches: 2500 of 64x64" in printed
    assert sorted(p.name for p in (tmp_path / "train").iterdir()) == ["split.json", "train_1.tfrecords"]
    assert sorted(p.name for p in tmp_path.iterdir()) == ["data", "train"]
    (tmp_path / "train/notes.txt").write_text("mine")
    printed = run("load_train_data.py", tmp_path, "data", "train", "--all", status=1)
    assert "holds notes.txt" in printed.err and (tmp_path / "train/notes.txt").exists()


@pytest.mark.parametrize("side", [96, 130])
def test_records_of_large_patches_hold_them(tmp_path, side):
    """The byte before a patch, the end of its length, is then 1 or 2: a grey level that a patch may begin with."""
    save_pair(tmp_path / "data", "a", (2 * side + 1, side))
    run("load_train_data.py", tmp_path, "data", "train", "--all", "--patch-size", side)
    jpg, bmp = read_patches(tmp_path / "train/train_1.tfrecords")
    for patches, type_ in ((jpg, "jpg"), (bmp, "bmp")):
        np.testing.assert_array_equal(patches, patches_of(grey(tmp_path / f"data/a.{type_}"), side))


def test_a_stride_from_patch_to_patch(tmp_path):
    """At a side less twice the border that a loss leaves out, what counts covers the image without gap."""
    save_pair(tmp_path / "data", "a", (40 + 2 * 22 + 21, 40 + 22))
    run("load_train_data.py", tmp_path, "data", "train", "--all", "--patch-size", 40, "--stride", 22)
    jpg, bmp = read_patches(tmp_path / "train/train_1.tfrecords")
    for patches, type_ in ((jpg, "jpg"), (bmp, "bmp")):
        plane = grey(tmp_path / f"data/a.{type_}")
        wanted = [plane[y : y + 40, x : x + 40] for y in (0, 22) for x in (0, 22, 44)]
        np.testing.assert_array_equal(patches, wanted)


def test_an_older_set_survives_a_run_that_fails(tmp_path):
    save_pair(tmp_path / "data", "a", (64, 64))
    run("load_train_data.py", tmp_path, "data", "train", "--all")
    before = (tmp_path / "train/train_1.tfrecords").read_bytes()
    run("load_train_data.py", tmp_path, "data", "train", "--all", "--patch-size", 65, status=1)
    assert (tmp_path / "train/train_1.tfrecords").read_bytes() == before
    assert sorted(p.name for p in tmp_path.iterdir()) == ["data", "train"]


@pytest.mark.parametrize(
    "args, told",
    [
        (["nowhere", "train"], "there is no folder"),
        (["data", "train", "--quality", "101"], "1..100"),
        (["data", "train", "--group-by", "("], "--group-by"),
        (["data", "train", "--shrink", "2"], "--shrink"),
        (["data", "train", "--before", "20"], "--before"),
        (["data", "train", "--patch-size", "0"], "--patch-size"),
        (["data"], "records"),
    ],
)
def test_bad_arguments_end_with_usage_and_2(refused, tmp_path, args, told):
    (tmp_path / "data").mkdir()
    said = refused("load_train_data.py", tmp_path, *args)
    assert "usage: load_train_data.py" in said and told in said
    assert not (tmp_path / "train").exists()


def test_bad_arguments_from_the_shell(tmp_path):
    printed = run("load_val_data.py", tmp_path, "nowhere", "val", status=2)
    assert "usage:" in printed.err and "there is no folder" in printed.err


def test_read_tfrecord_prints_what_is_there_and_draws_it(records, tmp_path):
    printed = run(
        "read_tfrecord.py", records.folder, "tfrecords/train", "--sheet", tmp_path / "sheet.png"
    ).out
    jpg, bmp = read_patches(records.folder / "tfrecords/train/train_1.tfrecords")
    mse = np.square((jpg - bmp).astype(np.float64)).mean()
    assert (
        f"train_1.tfrecords: 3072 records, JPG {jpg.min()}..{jpg.max()}, BMP {bmp.min()}..{bmp.max()}"
        in printed
    )
    assert f"MSE {mse:.3f}, PSNR {10 * np.log10(255**2 / mse):.2f} dB" in printed
    # Six rows of pairs that have something on them, in the order of the records, with their images' names.
    sheet = np.asarray(Image.open(tmp_path / "sheet.png").convert("L"))
    assert sheet.shape[0] == 18 + 6 * (128 + 16) + 8
    places = []
    for row in range(6):
        shown = sheet[18 + 144 * row :][:128:4, 8:400:4]
        (place,) = np.flatnonzero((jpg == shown[:, :32]).all((1, 2)) & (bmp == shown[:, 34:66]).all((1, 2)))
        assert shown[:, 34:66].std() >= 2
        assert (sheet[18 + 144 * row + 128 :][:16, 8:200] < 128).any()
        places.append(place)
    assert places == sorted(places) and places[-1] - places[0] > 500


def test_a_file_cut_between_records_shows_by_the_counts(tmp_path):
    save_pair(tmp_path / "data", "a", (64, 64))
    run("load_train_data.py", tmp_path, "data", "train", "--all")
    path = tmp_path / "train/train_1.tfrecords"
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 4 * 3])
    assert "holds 3 records, 4 by split.json" in run("read_tfrecord.py", tmp_path, "train", status=1).err


def test_12_bits_of_16_are_found_said_and_told(tmp_path):
    (tmp_path / "data").mkdir()
    ramp = np.linspace(0, 4095, 64 * 64).reshape(64, 64).astype(np.uint16)
    for name in "ab":
        Image.fromarray(ramp).save(tmp_path / f"data/{name}.png")
    options = ("--all", "--quality", 90)
    printed = run("load_train_data.py", tmp_path, "data", "train", *options).out
    assert printed.count("2 of 2 images use 12 of 16 bits: scaled by that (--bits)") == 1
    assert read_patches(tmp_path / "train/train_1.tfrecords")[1].max() == 255
    printed = run("load_val_data.py", tmp_path, "data", "val", *options, "--bits", 16).out
    assert "of 16 bits" not in printed
    assert read_patches(tmp_path / "val/val_1.tfrecords")[1].max() == 16
