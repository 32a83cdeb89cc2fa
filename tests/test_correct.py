"""run_car_images.py, run from the shell with the weights that come with the suite."""

import csv
import json
import os
import shlex
import shutil
import struct
import subprocess

import numpy as np
import pytest
from conftest import ROOT, run
from PIL import Image, ImageCms, ImageOps
from reference import cmyk_profile, corrected_jpeg, direct_convolution, lossless_jpeg, plain_ssim, zero_padded

WEIGHTS = ROOT / "pretrained/model_checkpoint.npz"
PROFILE = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()


def photograph(size, mode="RGB", corner=(150, 60)):
    """A part of the sample astronaut, as a PIL image."""
    whole = Image.open(ROOT / "samples/astronaut.bmp")
    return whole.crop((*corner, corner[0] + size[0], corner[1] + size[1])).convert(mode)


def save_jpeg(folder, name, image, **options):
    folder.mkdir(parents=True, exist_ok=True)
    image.save(folder / name, "JPEG", **{"quality": 20, **options})


def pixels(path):
    return np.asarray(Image.open(path))


def coded_luma(path):
    """The Y component as libjpeg gives it."""
    image = Image.open(path)
    image.draft("YCbCr", None)
    image = np.asarray(image)
    return image if image.ndim == 2 else image[..., 0]


def expected_from(path):
    """The bytes that correction must write for a JPEG that codes luma."""
    return np.clip(np.rint(corrected_jpeg(ROOT / "pretrained", path)), 0, 255)


def test_black_and_white_stay(tmp_path):
    """A CT slice's background at every quality, up to the blocks in which something else begins."""
    picture = np.zeros((96, 128), np.uint8)
    picture[:, 64:] = 255
    picture[40:56, 32:96] = np.arange(64) * 4
    for quality in (10, 20, 40, 80):
        save_jpeg(tmp_path / "data", f"{quality}.jpg", Image.fromarray(picture), quality=quality)
    run("run_car_images.py", tmp_path, ROOT / "pretrained", "data", "results")
    assert (pixels(tmp_path / "data/10.jpg")[:40, :64] == 0).all()  # at others the file itself may say 1
    for quality in (10, 20, 40, 80):
        decoded, result = (
            pixels(tmp_path / f"data/{quality}.jpg"),
            pixels(tmp_path / f"results/{quality}_car.bmp"),
        )
        blank = (decoded[:40] == 0) | (decoded[:40] == 255)
        np.testing.assert_array_equal(result[:40][blank], picture[:40][blank])


def expected_of_rgb(decoded):
    """The same where none is coded: the direct convolution's change in luma, added to RGB pixels."""
    luma = np.asarray(Image.fromarray(decoded).convert("L"))
    change = np.clip(direct_convolution(WEIGHTS, luma), 0, 255) - luma
    return np.clip(np.rint(decoded + change[..., None]), 0, 255)


def assert_written(result, expected):
    """Bytes agree to 1 near a half (a change is held to 1/256 of a grey level), and almost all exactly."""
    assert result.shape == expected.shape
    off = np.abs(result.astype(int) - expected)
    assert off.max() <= 1 and (off > 0).mean() < 8e-3


def exif_with_a_bad_tag():
    """The maker, orientation 6 and a MakerNote past the end."""
    tags = [(0x010F, 2, 6, 50), (0x0112, 3, 1, 6), (0x927C, 7, 5000, 60_000)]
    table = b"".join(struct.pack("<HHII", *tag) for tag in tags)
    return b"Exif\0\0II*\0\x08\0\0\0\3\0" + table + bytes(4) + b"Maker\0"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder of every kind of JPEG that people have, corrected once."""
    work = tmp_path_factory.mktemp("jpegs")
    data = work / "data"
    save_jpeg(data, "one.jpg", photograph((1, 1)))
    save_jpeg(data, "odd.jpg", photograph((31, 33)))
    save_jpeg(data, "halved.jpg", photograph((90, 61)), subsampling=1)  # 4:2:2
    save_jpeg(data, "full.JPG", photograph((90, 61)), subsampling=0)  # 4:4:4
    save_jpeg(data, "coded as rgb.jpg", photograph((64, 64)), keep_rgb=True)
    save_jpeg(data, "grey.jpeg", photograph((75, 40), "L"))
    save_jpeg(data, "coarse.jpg", photograph((40, 75), "L"), quality=4)
    save_jpeg(data, "fine.jpg", photograph((40, 75)), quality=99)
    save_jpeg(data, "progressive.jpg", photograph((100, 50)), progressive=True)
    save_jpeg(data, "cmyk.jpg", photograph((64, 48)).convert("CMYK"))
    photograph((80, 48)).save(
        data / "phone.jpg",
        "MPO",
        save_all=True,
        append_images=[photograph((80, 48), corner=(0, 0))],
        quality=20,
    )
    exif = Image.Exif()
    exif[0x0112], exif[0x010F] = 6, "Maker"
    bad_tag = exif_with_a_bad_tag()
    save_jpeg(
        data, "bad tag.jpg", photograph((40, 75), "L"), exif=bad_tag, comment=b"a comment", dpi=(300, 300)
    )
    os.utime(data / "bad tag.jpg", (1_200_000_000, 1_200_000_000))
    save_jpeg(
        data,
        "turned.jpg",
        photograph((120, 50)),
        exif=exif,
        icc_profile=ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes(),
    )
    run("run_car_images.py", work, "pretrained", "data", "results", "--format", "png")
    return work


@pytest.mark.parametrize(
    "name",
    [
        "one.jpg",
        "odd.jpg",
        "halved.jpg",
        "full.JPG",
        "coded as rgb.jpg",
        "grey.jpeg",
        "coarse.jpg",
        "progressive.jpg",
    ],
)
def test_every_kind_of_jpeg_is_the_direct_convolution(folder, name):
    path = folder / "data" / name
    result = pixels(folder / "results" / f"{path.stem}_car.png")
    assert_written(result, expected_of_rgb(pixels(path)) if "rgb" in name else expected_from(path))
    if min(result.shape[:2]) > 1:
        assert (result != pixels(path)).mean() > 0.2  # and it is a correction


def test_first_picture_of_several(folder):
    path = folder / "data/phone.jpg"
    assert Image.open(path).n_frames == 2
    assert_written(pixels(folder / "results/phone_car.png"), expected_from(path))


def test_cmyk_becomes_rgb(folder):
    path = folder / "data/cmyk.jpg"
    rgb = np.asarray(Image.open(path).convert("RGB"))
    assert_written(pixels(folder / "results/cmyk_car.png"), expected_of_rgb(rgb))


def test_turned_upright_with_exif_and_profile_kept(folder):
    path = folder / "data/turned.jpg"
    result = Image.open(folder / "results/turned_car.png")
    expected = Image.fromarray(expected_from(path).astype(np.uint8)).transpose(Image.Transpose.ROTATE_270)
    assert_written(np.asarray(result), np.asarray(expected))
    assert result.size == (50, 120) == ImageOps.exif_transpose(Image.open(path)).size
    assert result.getexif()[0x0112] == 1 and result.getexif()[0x010F] == "Maker"
    assert result.info["icc_profile"] == Image.open(path).info["icc_profile"]


def test_one_bad_tag_of_exif_and_the_rest_is_kept(folder):
    path = folder / "results/bad tag_car.png"
    result = Image.open(path)
    expected = Image.fromarray(expected_from(folder / "data/bad tag.jpg").astype(np.uint8))
    assert_written(np.asarray(result), np.asarray(expected.transpose(Image.Transpose.ROTATE_270)))
    assert dict(result.getexif()) == {0x010F: "Maker", 0x0112: 1}
    assert result.info["Comment"] == "a comment" and round(result.info["dpi"][0]) == 300
    assert path.stat().st_mtime == 1_200_000_000


def test_cmyk_goes_through_its_profile(tmp_path):
    """A made-up press whose inks are green for cyan, and so on: only its profile tells."""
    image = Image.new("CMYK", (40, 40), (255, 0, 0, 0))
    save_jpeg(tmp_path / "data", "press.jpg", image, quality=95, icc_profile=cmyk_profile())
    save_jpeg(tmp_path / "data", "broken.jpg", image, icc_profile=b"not a profile at all")
    printed = run("run_car_images.py", tmp_path, "pretrained", "data", "results", "--format", "png")
    assert "broken.jpg: its ICC profile is none of CMYK, which was read as without one" in printed.out
    result = Image.open(tmp_path / "results/broken_car.png")
    assert np.abs(np.asarray(result)[20, 20] - np.array([0, 255, 255])).max() < 12
    result = Image.open(tmp_path / "results/press_car.png")
    # Lab (50, -60, 50) is a green; the plain conversion would give (0, 255, 255).
    assert np.abs(np.asarray(result)[20, 20] - np.array([0, 141, 10])).max() < 12
    assert "icc_profile" not in result.info


def copy_some(folder, work, *names):
    """Copy JPEGs of the folder into work/data: each size that a run meets costs it a second of compiling."""
    (work / "data").mkdir()
    for name in names:
        (work / "data" / name).write_bytes((folder / "data" / name).read_bytes())


def test_bmp_says_once_what_it_cannot_hold(folder, tmp_path):
    copy_some(folder, tmp_path, "turned.jpg", "grey.jpeg")
    (tmp_path / "data/second.jpg").write_bytes((tmp_path / "data/turned.jpg").read_bytes())
    printed = run("run_car_images.py", tmp_path, "pretrained", "data", "plain").out
    assert printed.count("BMP holds no EXIF or ICC profile; --format png, jpg, tiff or webp keeps them") == 1
    np.testing.assert_array_equal(
        pixels(tmp_path / "plain/turned_car.bmp"), pixels(folder / "results/turned_car.png")
    )


def test_a_jpeg_result_has_the_segments_of_its_source(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    options = {
        "exif": exif,
        "icc_profile": PROFILE * 200,
        "comment": b"mine",
        "dpi": (300, 300),
        "xmp": b"<x/>",
    }
    save_jpeg(tmp_path / "data", "a.jpg", photograph((64, 40)), **options)
    run("run_car_images.py", tmp_path, "pretrained", "data", "results", "--format", "jpg", "--conv", "direct")
    source, result = ((tmp_path / path).read_bytes() for path in ("data/a.jpg", "results/a_car.jpg"))
    length = source.index(b"\xff\xdb")
    assert length > 66_000 and result[: length + 2] == source[: length + 2]
    run("run_car_images.py", tmp_path, "pretrained", "data", "results", "--conv", "direct")
    turned = ImageOps.exif_transpose(Image.open(tmp_path / "results/a_car.jpg"))
    error = np.asarray(turned).astype(int) - pixels(tmp_path / "results/a_car.bmp")
    assert np.abs(error).mean() < 1


@pytest.mark.filterwarnings("ignore:Tag data larger")  # of the bad tag, by Pillow
def test_strength_0_is_the_jpg_and_half_is_half(folder, tmp_path):
    direct = ("--conv", "direct")  # quicker to compile
    run("run_car_images.py", folder, "pretrained", "data", "zero", "--strength", 0, *direct)
    for path in (folder / "data").iterdir():
        image = ImageOps.exif_transpose(Image.open(path))
        image = image.convert("RGB") if image.mode == "CMYK" else image
        np.testing.assert_array_equal(
            pixels(folder / "zero" / f"{path.stem}_car.bmp"), np.asarray(image), err_msg=path.name
        )
    copy_some(folder, tmp_path, "grey.jpeg")
    run("run_car_images.py", tmp_path, "pretrained", "data", "half", "--strength", 0.5, *direct)
    luma = pixels(folder / "data/grey.jpeg")
    half = luma + 0.5 * (corrected_jpeg(ROOT / "pretrained", folder / "data/grey.jpeg") - luma)
    assert_written(pixels(tmp_path / "half/grey_car.bmp"), np.rint(half))


def test_luma_only_and_ignore_header(folder, tmp_path):
    """The direct convolution by the log's own weights, added to R, G and B alike, and nothing else."""
    options = ("--luma-only", "--ignore-header", "--format", "png")
    names = ("odd.jpg", "full.JPG")
    copy_some(folder, tmp_path, *names)
    run("run_car_images.py", tmp_path, "pretrained", "data", "bare", *options)
    for name in names:
        path = folder / "data" / name
        luma = coded_luma(path)
        change = np.clip(direct_convolution(WEIGHTS, luma), 0, 255) - luma
        expected = np.clip(np.rint(pixels(path) + change[..., None]), 0, 255)
        assert_written(pixels(tmp_path / "bare" / f"{path.stem}_car.png"), expected)


def test_bfloat16_is_near_and_is_not_mixed_with_float32(tmp_path):
    """--conv direct: in bfloat16 on every processor."""
    save_jpeg(tmp_path / "data", "p.jpg", photograph((120, 90), corner=(0, 0)))
    command = ("run_car_images.py", tmp_path, "pretrained", "data")
    run(*command, "exact")
    printed = run(*command, "near", "--precision", "bfloat16", "--conv", "direct")
    assert "float32 is taken" not in printed.out
    exact, near = (pixels(tmp_path / name / "p_car.bmp").astype(int) for name in ("exact", "near"))
    assert 0 < np.square(exact - near).mean() < 0.15 and np.abs(exact - near).max() <= 2  # whole levels
    refused = run(*command, "near", "--skip-existing", status=1)
    assert "--precision" in refused.err and "bfloat16" in refused.err


def test_no_seam_for_any_tile_size():
    """The float result before rounding: 0.01 grey level from the direct convolution of the whole image."""
    import model_car
    from car import weights
    from car.choice import Choice

    own = {None: weights.load(ROOT / "pretrained")}
    for size in ((330, 250), (31, 33), (1, 1), (3, 200)):
        luma = np.asarray(photograph(size, "L", corner=(0, 0)))
        expected = direct_convolution(WEIGHTS, luma)
        for conv, side in (
            *(("fast", side) for side in (32, 33, 100, 200, 500)),
            *(("direct", side) for side in (32, 500)),
        ):
            corrector = model_car.make_corrector(own, conv=conv, core_side=side)
            off = np.abs(corrector.through_net(luma, Choice(None)) - expected).max()
            assert off < 0.01, (size, side, off)


def test_tile_sizes_from_the_shell(tmp_path):
    save_jpeg(tmp_path / "data", "p.jpg", photograph((250, 166), corner=(0, 0)))
    results = []
    for side in (32, 77, 500):
        run("run_car_images.py", tmp_path, "pretrained", "data", f"r{side}", "--patch-size", side)
        results.append(pixels(tmp_path / f"r{side}/p_car.bmp").astype(int))
    assert max(np.abs(results[0] - other).max() for other in results[1:]) <= 1


def test_overlap_0_gives_the_isolated_patches_of_the_original(tmp_path):
    luma = photograph((96, 64), "L")
    save_jpeg(tmp_path / "data", "p.jpg", luma)
    run("run_car_images.py", tmp_path, "pretrained", "data", "results", "--overlap", 0, "--patch-size", 32)
    result, jpg = pixels(tmp_path / "results/p_car.bmp"), pixels(tmp_path / "data/p.jpg")
    expected = np.empty((64, 96))
    for top in range(0, 64, 32):
        for left in range(0, 96, 32):
            tile = slice(top, top + 32), slice(left, left + 32)
            expected[tile] = zero_padded(WEIGHTS, jpg[tile])
    assert_written(result, np.clip(np.rint(expected), 0, 255))
    seams = np.abs(expected - direct_convolution(WEIGHTS, jpg))
    assert seams[30:34].mean() > 4 * seams[12:20, 12:20].mean()  # the seams are there


def test_figures_against_the_bmp(tmp_path):
    """MSE, PSNR and SSIM of the luma, printed and as CSV; a better picture than the JPG."""
    data = tmp_path / "data"
    for name in ("camera", "chelsea"):
        for kind in ("jpg", "bmp"):
            (data / f"{name}.{kind}").parent.mkdir(exist_ok=True)
            (data / f"{name}.{kind}").write_bytes((ROOT / f"samples/{name}.{kind}").read_bytes())
    save_jpeg(data, "alone.jpg", photograph((40, 40)))
    printed = run("run_car_images.py", tmp_path, "pretrained", "data", "results", "--compare").out
    rows = figures(tmp_path / "results/figures.csv")
    alone = rows.pop("alone")
    assert (alone["status"], alone["width"], alone["quality"], alone["mse_after"]) == (
        "corrected",
        "40",
        "20",
        "",
    )
    assert set(rows) == {"camera", "chelsea"}
    for name, row in rows.items():
        truth, before, after = (
            np.asarray(Image.open(path).convert("RGB")) @ np.array([0.299, 0.587, 0.114])
            for path in (data / f"{name}.bmp", data / f"{name}.jpg", tmp_path / f"results/{name}_car.bmp")
        )
        for key, picture in (("before", before), ("after", after)):
            mse = np.square(picture - truth).mean()
            assert float(row[f"mse_{key}"]) == pytest.approx(mse, abs=1e-9)
            assert float(row[f"psnr_{key}"]) == pytest.approx(10 * np.log10(255**2 / mse), abs=1e-9)
            assert float(row[f"ssim_{key}"]) == pytest.approx(plain_ssim(picture, truth), abs=1e-4)
        assert float(row["psnr_after"]) > float(row["psnr_before"]) + 0.5
        assert float(row["ssim_after"]) > float(row["ssim_before"])
    mean = np.mean([float(row["psnr_after"]) for row in rows.values()])
    assert "mean of 2 images" in printed and f"-> {mean:.2f} dB" in printed
    compare = Image.open(tmp_path / "results/chelsea_compare.png")
    assert compare.width == 4 * (451 + 8) + 8
    np.testing.assert_array_equal(
        np.asarray(compare)[18:318, 8 + 459 : 8 + 459 + 451], pixels(tmp_path / "results/chelsea_car.bmp")
    )
    assert (tmp_path / "results/alone_compare.png").exists()


def figures(path):
    """The CSV as {name: row}."""
    with open(path, newline="") as file:
        return {row["name"]: row for row in csv.DictReader(file)}


def test_bad_images_are_named_and_the_rest_is_done(tmp_path):
    data = tmp_path / "data"
    save_jpeg(data, "good.jpg", photograph((40, 40)))
    good = (data / "good.jpg").read_bytes()
    (data / "cut.jpg").write_bytes(good[:-100])
    (data / "empty.jpg").write_bytes(b"")
    (data / "text.jpg").write_text("hello")
    photograph((40, 40)).save(data / "really a.jpg", "PNG")
    (data / "gone.jpg").symlink_to("nowhere.jpg")
    save_jpeg(data, "large.jpg", photograph((80, 80)))
    save_jpeg(data, "pair.jpg", photograph((40, 40)))
    Image.new("RGB", (41, 40)).save(data / "pair.bmp")
    printed = run(
        "run_car_images.py", tmp_path, "pretrained", "data", "results", "--max-pixels", 2000, status=1
    ).out
    assert shown(tmp_path / "results") == ["figures.csv", "good_car.bmp"]
    assert "corrected 1 of 8 images" in printed and "left out as bad: 7" in printed
    for line in (
        "empty.jpg: is empty (0 bytes)",
        "text.jpg: is not a JPEG",
        "really a.jpg: is not a JPEG but PNG",
        "gone.jpg: cannot be read: No such file or directory",
        "large.jpg: 80x80 is over the limit of 2000 pixels (--max-pixels)",
        "pair.jpg: the pair differs in size: JPG 40x40, clean picture 41x40",
    ):
        assert f"left out: {line}" in printed
    assert "left out: cut.jpg: cannot be decoded: " in printed


def shown(folder):
    """The names of the results, sorted, without the journal."""
    return sorted(path.name for path in folder.iterdir() if not path.name.startswith("."))


def test_twins_strangers_and_other_settings(tmp_path):
    """Twins of one name get results of their own; then a run with other options, and files that a user put there."""
    data, results = tmp_path / "data", tmp_path / "results"
    save_jpeg(data, "a.jpg", photograph((40, 40), corner=(0, 0)))
    save_jpeg(data, "a.jpeg", photograph((40, 40), corner=(40, 0)))
    save_jpeg(data, "b.jpg", photograph((40, 40), corner=(80, 0)))
    photograph((40, 40), corner=(0, 0)).save(data / "a.bmp")
    options = ("--conv", "direct", "--format", "png")
    command = ("run_car_images.py", tmp_path, "pretrained", "data", "results", *options)
    printed = run(*command, "--strength", 0).out
    assert "told apart from others of their name: 1 (a.jpeg becomes a.jpeg_car)" in printed
    assert shown(results) == ["a.jpeg_car.png", "a_car.png", "b_car.png", "figures.csv"]
    for name in ("a.jpg", "a.jpeg"):
        made = "a_car.png" if name == "a.jpg" else "a.jpeg_car.png"
        np.testing.assert_array_equal(pixels(results / made), pixels(data / name))
    rows = figures(results / "figures.csv")
    assert (
        set(rows) == {"a", "a.jpeg", "b"} and float(rows["a.jpeg"]["mse_before"]) > 100
    )  # of another picture

    before = {path.name: path.read_bytes() for path in results.iterdir()}
    printed = run(*command, "--skip-existing", status=1).err
    assert "--strength 0.0 there, 1.0 now" in printed and "weights" not in printed.split("now")[0]
    assert printed.count("\n") == 1 and "leave --skip-existing out" in printed
    assert {path.name: path.read_bytes() for path in results.iterdir()} == before

    Image.new("RGB", (9, 9)).save(results / "a_car.png")  # changed by the user
    (results / "b_compare.png").write_text("theirs")
    printed = run(*command, "--compare", status=1).out
    assert (
        "left out: a.jpg: a_car.png is in " in printed and "left out: b.jpg: b_compare.png is in" in printed
    )
    assert "corrected 1 of 3 images" in printed and ", left out 2" in printed
    assert Image.open(results / "a_car.png").size == (9, 9)
    assert (results / "b_compare.png").read_text() == "theirs"
    assert (results / "b_car.png").read_bytes() == before["b_car.png"]
    assert (results / "a.jpeg_car.png").read_bytes() != before["a.jpeg_car.png"]


def files_in(folder, pattern):
    """{path in the folder: bytes} of the files of a pattern, in it and the folders in it."""
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob(pattern)}


def journal_of(path):
    """A journal as {file: (digest, source, settings)}."""
    lines = map(json.loads, path.read_text().splitlines())
    return {e["file"]: (e["digest"], e["source"], e["settings"]) for e in lines if "file" in e}


def test_shards_together_are_the_whole_and_existing_ones_are_passed_over(tmp_path):
    """Of a tree: files byte for byte, rows of figures, lines of the journals; each part has about a half."""
    names = ["0", "1", "new/2", "new/3", "new/old/4"]
    for name in names:
        picture, place = photograph((40, 40), corner=(int(name[-1]), 0)), (tmp_path / "data" / name).parent
        save_jpeg(place, f"{name[-1]}.jpg", picture)
        picture.save(place / f"{name[-1]}.bmp")
    (tmp_path / "data/new/bad.jpg").write_bytes(b"no JPEG")
    for shard, status in (("1/2", 1), ("2/2", 0)):
        options = ("--recursive", "--shard", shard)
        run("run_car_images.py", tmp_path, "pretrained", "data", "results", *options, status=status)
    whole_run = ("run_car_images.py", tmp_path, "pretrained", "data", "whole", "--recursive")
    run(*whole_run, status=1)
    whole, parts = tmp_path / "whole", tmp_path / "results"
    assert files_in(parts, "*.bmp") == files_in(whole, "*.bmp")
    assert sorted(files_in(whole, "*.bmp")) == [f"{name}_car.bmp" for name in names]
    tables = [figures(parts / f"figures_{part}_of_2.csv") for part in (1, 2)]
    assert [list(table) for table in tables] == [["0", "new/2", "new/bad"], ["1", "new/3", "new/old/4"]]
    rows, rows_of_whole = {**tables[0], **tables[1]}, figures(whole / "figures.csv")
    for row in (*rows.values(), *rows_of_whole.values()):
        row.pop("seconds")
    assert rows == rows_of_whole
    if shutil.which("awk"):  # as cluster/README.md puts the tables together
        together = f"awk 'NR == 1 || FNR > 1' {shlex.quote(str(parts))}/figures_*_of_2.csv > all.csv"
        assert together.partition(" /")[0] in (ROOT / "cluster/README.md").read_text()
        subprocess.run(together, shell=True, check=True, cwd=tmp_path)
        assert list(figures(tmp_path / "all.csv")) == [*tables[0], *tables[1]]
    journals = [journal_of(parts / f".car_results_{part}_of_2.jsonl") for part in (1, 2)]
    assert [len(journal) for journal in journals] == [2, 3]
    assert journals[0] | journals[1] == journal_of(whole / ".car_results.jsonl")

    before = figures(whole / "figures.csv")
    (whole / "new/3_car.bmp").unlink()
    (tmp_path / "data/1.jpg").write_bytes(b"never decoded")
    (tmp_path / "data/new/bad.jpg").unlink()
    printed = run(*whole_run, "--skip-existing").out
    assert "corrected 1 of 5 images" in printed and "4 were there already" in printed
    again = figures(whole / "figures.csv")
    assert again["0"] == before["0"]
    assert again["new/3"] == {**before["new/3"], "seconds": again["new/3"]["seconds"]}
    assert list(again) == names


def test_a_file_finer_than_all_sets_stays_as_it_is(folder):
    np.testing.assert_array_equal(pixels(folder / "results/fine_car.png"), pixels(folder / "data/fine.jpg"))


@pytest.mark.parametrize(
    "args, told",
    [
        (["nothing", "data", "results"], "holds no trained net"),
        (["pretrained", "empty", "results"], "holds no JPEG to correct; --recursive"),
        (["pretrained", "data", "results", "--split", "test"], "split.json"),
    ],
)
def test_faults_of_the_user_are_said_in_a_line(tmp_path, args, told):
    save_jpeg(tmp_path / "data", "a.jpg", photograph((40, 40)))
    (tmp_path / "empty").mkdir()
    printed = run("run_car_images.py", tmp_path, *args, status=1)
    assert told in printed.err and not (tmp_path / "results").exists()
    assert len(printed.err.splitlines()) == 1


@pytest.mark.parametrize(
    "args, told",
    [
        (["nowhere", "results"], "there is no folder and no file"),
        (["data", "results", "--strength", "2"], "--strength"),
        (["data", "results", "--shard", "3/2"], "--shard"),
        (["data", "results", "--patch-size", "15"], "whole number of 16 or more"),
        (["data", "data"], "another folder"),
        (["data", "results", "--suffix", "../x"], "--suffix: a file's name cannot hold /"),
        (["data", "results", "--jpeg-quality", "90"], "only with --format jpg"),
        (["data", "results", "--format", "jpg", "--jpeg-quality", "101"], "whole number of 1 to 100"),
        (["data", "results", "--format", "gif"], "invalid choice"),
        (["data", "results", "--format", "webp", "--bits", "16"], "16 only with --format png or tiff"),
        (["data", "results", "--bits", "12"], "invalid choice"),
        (["data", "results", "--conv", "fast", "--precision", "bfloat16"], "leave --conv out"),
    ],
)
def test_bad_arguments_end_with_usage_and_2(refused, tmp_path, args, told):
    (tmp_path / "data").mkdir()
    said = refused("run_car_images.py", tmp_path, "pretrained", *args)
    assert "usage: run_car_images.py" in said and told in said
    assert not (tmp_path / "results").exists()


def test_bad_arguments_from_the_shell(tmp_path):
    printed = run("run_car_images.py", tmp_path, "pretrained", "nowhere", "results", status=2)
    assert "usage:" in printed.err and "there is no folder" in printed.err


def test_a_lossless_jpeg_stays_and_a_neutral_one_stays_neutral(tmp_path):
    (tmp_path / "data").mkdir()
    lossless = np.asarray(photograph((40, 30)))
    (tmp_path / "data/a.jpg").write_bytes(lossless_jpeg(lossless))
    save_jpeg(tmp_path / "data", "b.jpg", photograph((64, 48), "L").convert("RGB"))
    printed = run("run_car_images.py", tmp_path, "pretrained", "data", "results").out
    assert (
        "corrected 1 of 2" in printed
        and "unchanged 1 (lossless, black and white alone, or no JPEG found in it)" in printed
    )
    np.testing.assert_array_equal(pixels(tmp_path / "results/a_car.bmp"), lossless)
    result = pixels(tmp_path / "results/b_car.bmp")
    assert (result == result[..., :1]).all() and (result != pixels(tmp_path / "data/b.jpg")).mean() > 0.3


def test_a_truth_of_12_bits_is_scaled_by_them_or_as_told(tmp_path):
    clean = photograph((64, 48), "L")
    save_jpeg(tmp_path / "data", "a.jpg", clean)
    Image.fromarray((np.asarray(clean).astype(np.uint32) * 4095 // 255).astype(np.uint16)).save(
        tmp_path / "data/a.bmp", "PNG"
    )
    printed = run("run_car_images.py", tmp_path, "pretrained", "data", "results").out
    assert "pictures of 16 bits: 1 of 1 images use 12 of 16 bits: scaled by that (--truth-bits)" in printed
    with open(tmp_path / "results/figures.csv", newline="") as file:
        row = next(csv.DictReader(file))
    assert 20 < float(next(value for key, value in row.items() if "psnr" in key)) < 50
    printed = run(
        "run_car_images.py", tmp_path, "pretrained", "data", "results", "--truth-bits", 11, status=1
    ).out
    assert "which 11 bits do not hold (--truth-bits)" in printed
