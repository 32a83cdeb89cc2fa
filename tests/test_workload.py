"""car/workload.py: how much work pictures are, against their sizes."""

import os
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from car import workload
from car.find import Picture


def save(path: Path, mode: str = "RGB", **options: object) -> Picture:
    noise = np.random.default_rng(0).integers(0, 256, (60, 80, 3), np.uint8)
    Image.fromarray(noise).convert(mode).save(path, "JPEG", **options)
    return Picture(path, path.name)


@pytest.mark.parametrize(
    "mode, options, planes",
    [("L", {}, 1.0), ("RGB", {"subsampling": 0}, 3.0), ("RGB", {"subsampling": 2}, 1.5), ("CMYK", {}, 4.0)],
)
def test_the_samples_of_a_jpeg(tmp_path: Path, mode: str, options: dict[str, object], planes: float) -> None:
    assert workload.samples_of(save(tmp_path / "a.jpg", mode, **options).path) == planes * 80 * 60


@pytest.mark.parametrize("name", ["a.png", "a.TIF", "a.webp", "a.bmp"])
def test_the_samples_of_other_types_are_those_of_their_luma(tmp_path: Path, name: str) -> None:
    Image.new("RGB", (80, 60)).save(tmp_path / name)
    assert workload.samples_of(tmp_path / name) == 80 * 60
    assert workload.samples_of(save(tmp_path / name, subsampling=0).path) == 3 * 80 * 60  # a JPEG in truth
    (tmp_path / name).write_bytes(b"no picture")
    assert workload.samples_of(tmp_path / name) == 0


def test_work_by_bytes_and_then_by_headers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    a, b = save(tmp_path / "a.jpg", quality=95), save(tmp_path / "b.jpg", quality=5)
    (tmp_path / "c.jpg").write_bytes(b"no picture")
    pictures = [a, b, *(Picture(tmp_path / name, name) for name in ("c.jpg", "gone.jpg"))]
    with monkeypatch.context() as patch:
        patch.setattr(workload, "_read_headers", lambda pictures, work: None)
        by_bytes = workload.of(pictures)
    sizes = [p.path.stat().st_size for p in pictures[:3]] + [0]
    assert by_bytes == [55_000 + 5 * size for size in sizes] and by_bytes[0] > by_bytes[1] + 20_000
    work, began = workload.of(pictures), time.monotonic()
    while work[1] == by_bytes[1] and time.monotonic() - began < 10:
        time.sleep(0.01)
    assert work == [55_000 + 7200, 55_000 + 7200, *by_bytes[2:]]


def test_a_pipe_is_not_opened(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.jpg")
    assert workload.pixels_of(tmp_path / "pipe.jpg") == 0 and workload.samples_of(tmp_path) == 0
