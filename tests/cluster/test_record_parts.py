"""cluster/record_parts.py: what a process of the cluster does, without a cluster."""

import os
import pickle
from pathlib import Path

import pytest
from conftest import ROOT
from PIL import Image as Pictures

fs = pytest.importorskip("pyarrow.fs")

from car import record_set
from cluster import record_parts, storage
from cluster.record_parts import Assembly, Folder, Image, Made, Part, Range


def made(number: int, record_bytes: int, **files: int) -> Made:
    return Made(number, "", files, record_bytes, record_set.Written())


def test_files_of_10_000_records_are_ranges_of_the_parts() -> None:
    parts = [made(0, 10, a=6_000), made(1, 0), made(2, 10, b=10_000, c=4_500)]
    assert record_parts.plan(parts, "val") == [
        Assembly("val_1.tfrecords", 10_000, [Range("a", 0, 60_000), Range("b", 0, 40_000)]),
        Assembly("val_2.tfrecords", 10_000, [Range("b", 40_000, 60_000), Range("c", 0, 40_000)]),
        Assembly("val_3.tfrecords", 500, [Range("c", 40_000, 5_000)]),
    ]


def test_a_part_is_made_once_and_again_where_something_changed(tmp_path: Path) -> None:
    systems = {storage.LOCAL: fs.LocalFileSystem()}
    parts = Folder(systems, storage.Address(storage.LOCAL, str(tmp_path / "parts")))
    sources, written = {}, tmp_path / "parts/part_000003_1.tfrecords"
    for name in ("camera", "coffee", "gone"):
        sources[name] = tmp_path / f"{name}.png"
        if name != "gone":
            Pictures.open(ROOT / f"samples/{name}.bmp").save(sources[name])
    some = [Image(name, None, storage.Address(storage.LOCAL, str(path))) for name, path in sources.items()]
    cutting = record_set.Cutting(32, 32, quality=[10])
    with parts.cleared():
        writer = record_parts.Writer(cutting, parts)

        def write() -> Made:
            result: Made = pickle.loads(writer({"part": pickle.dumps(Part(3, some))})["made"])
            return result

        first = write()
        assert first.written.patches == {"camera": 256, "coffee": 216}
        assert [name for name, _ in first.written.bad] == ["gone"]
        assert written.stat().st_size == 472 * first.record_bytes
        time = written.stat().st_mtime_ns
        assert write() == first and written.stat().st_mtime_ns == time
        about = tmp_path / "parts/part_000003.json"
        whole = about.read_bytes()
        for harmed in (whole[:-9], b"[]", whole.replace(b"camera", b"c", 1) + b"}"):
            about.write_bytes(harmed)
            assert write() == first and about.read_bytes() == whole
            assert written.stat().st_mtime_ns > time
            time = written.stat().st_mtime_ns
        os.truncate(written, written.stat().st_size - 1)
        assert write() == first and written.stat().st_size == 472 * first.record_bytes
        Pictures.open(sources["camera"]).rotate(180).save(sources["camera"])
        turned = write()
        assert turned.made_of != first.made_of
        assert turned.written.digests["camera"] != first.written.digests["camera"]
        assert sorted(path.name for path in (tmp_path / "parts").iterdir()) == [about.name, written.name]
