"""Large pictures: memory by the pixel, whatever their number and sampling."""

import time
from pathlib import Path

from conftest import ROOT, start
from PIL import Image
from processes import end
from test_many import resident


def peak(folder: Path, data: str) -> float:
    """MB that run_car_images.py takes at the most for a folder."""
    process = start("run_car_images.py", folder, ROOT / "pretrained", data, f"of {data}", fresh=True)
    most = 0.0
    while process.poll() is None:
        most = max(most, resident(process.pid))
        time.sleep(0.01)
    end(process)
    return most


def save(path: Path, width: int, sampling: str, quality: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    picture = Image.open(ROOT / "samples/astronaut.bmp").convert("RGB").resize((width, width * 3 // 4))
    picture.save(path, "JPEG", quality=quality, subsampling=sampling)


def test_three_large_pictures_take_the_memory_of_one(tmp_path: Path, long: bool) -> None:
    """The short form's are so fine that no net is needed: reading and writing takes the most."""
    for sampling in ("4:4:4", "4:2:2", "4:2:0") if long else ("4:4:4",):
        check(tmp_path / sampling.replace(":", ""), sampling, long)


def check(folder: Path, sampling: str, long: bool) -> None:
    width, quality = (8192, 60) if long else (4864, 99)
    save(folder / "small/a.jpg", 64, sampling, quality)
    for name in "abc":
        save(folder / f"three/{name}.jpg", width, sampling, quality)
    megapixels = width * (width * 3 // 4) / 1e6
    of_one_pixel = (peak(folder, "three") - peak(folder, "small")) / megapixels
    print(f"\nthree of {megapixels:.0f} megapixels, {sampling}: {of_one_pixel:.1f} bytes a pixel of one")
    assert 6 < of_one_pixel < 24
