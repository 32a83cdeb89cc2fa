"""run_car_images.py on a photographer's tree, a list of paths and a single picture, from the shell."""

import shutil
from pathlib import Path

import numpy as np
import pytest
from conftest import ROOT, run
from PIL import Image

Capture = pytest.CaptureFixture[str]
COMMAND = "run_car_images.py"


def photograph(left: int) -> Image.Image:
    return Image.open(ROOT / "samples/astronaut.bmp").crop((left, 60, left + 48, 100))


def results_in(folder: Path) -> list[str]:
    """The files of a tree without figures.csv and what is hidden."""
    files = (path.relative_to(folder) for path in folder.rglob("*") if path.is_file())
    return sorted(f.as_posix() for f in files if f.name[0] != "." and f.name != "figures.csv")


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """WORKDIR with photos/: names as people have them, twins, a clean picture, and what is no picture."""
    work = tmp_path_factory.mktemp("work")
    names = (
        "Straße am Meer.JPG",
        "2019/Ürlaub/IMG 1.jpg",
        "2019/Ürlaub/IMG 1.jpeg",
        "2019/a.jfif",
        "2020/a.jpg",
    )
    for number, name in enumerate(names):
        path = work / "photos" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        photograph(100 + 20 * number).save(path, "JPEG", quality=20)
    photograph(180).save(work / "photos/2020/a.png")
    (work / "photos/2020/broken.jpg").write_bytes(b"\xff\xd8\xff\xe0 cut")
    (work / "photos/2020/clip.mp4").touch()
    return work


def test_a_tree_gives_the_same_tree(tree: Path) -> None:
    """The results lie inside the tree, as people put them, and are not taken for pictures themselves."""
    options = ("--recursive", "--format", "png", "--suffix", "")
    command = (COMMAND, tree, ROOT / "pretrained", "photos", "photos/done", *options)
    printed = run(*command, status=1).out
    assert results_in(tree / "photos/done") == [
        "2019/a.png",
        "2019/Ürlaub/IMG 1.jpeg.png",
        "2019/Ürlaub/IMG 1.png",
        "2020/a.png",
        "Straße am Meer.png",
    ]
    assert "passed over: 1 .mp4\n" in printed and "2020/broken.jpg: its header is damaged" in printed
    assert "corrected 5 of 6 images" in printed and "2020/a.jpg: MSE" in printed
    told = "2019/Ürlaub/IMG 1.jpeg becomes 2019/Ürlaub/IMG 1.jpeg)"
    assert f"told apart from others of their name: 1 ({told}" in printed
    whole = {name: (tree / "photos/done" / name).read_bytes() for name in results_in(tree / "photos/done")}

    # Again: nothing is done twice, and what was lost is made as it was.
    (tree / "photos/done/2019/Ürlaub/IMG 1.png").unlink()
    shutil.rmtree(tree / "photos/done/2020")
    printed = run(*command, "--skip-existing", status=1).out
    assert "corrected 2 of 6 images" in printed and "3 were there already" in printed
    assert {name: (tree / "photos/done" / name).read_bytes() for name in whole} == whole


def test_a_list_and_a_single_picture(tree: Path) -> None:
    (tree / "list.txt").write_text("photos/2019/a.jfif\nphotos/2020/gone.jpg\n", "utf-8")
    printed = run(COMMAND, tree, ROOT / "pretrained", "list.txt", "of_list", status=1).out
    assert results_in(tree / "of_list") == ["photos/2019/a_car.bmp"]
    assert "left out: photos/2020/gone.jpg: is not there" in printed and "corrected 1 of 2" in printed
    run(COMMAND, tree, ROOT / "pretrained", "photos/2019/a.jfif", "of_one")
    assert results_in(tree / "of_one") == ["a_car.bmp"]
    one, listed = (tree / "of_one/a_car.bmp", tree / "of_list/photos/2019/a_car.bmp")
    assert one.read_bytes() == listed.read_bytes()
    changed = np.asarray(Image.open(one)) != np.asarray(Image.open(tree / "photos/2019/a.jfif"))
    assert changed.mean() > 0.3


def test_without_recursive_the_subfolders_are_told(tree: Path) -> None:
    printed = run(COMMAND, tree, ROOT / "pretrained", "photos", "flat").out
    assert "5 more pictures lie in 2 subfolders, passed over: --recursive takes them" in printed
    assert results_in(tree / "flat") == ["Straße am Meer_car.bmp"]
