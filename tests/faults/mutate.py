"""Files harmed as disks, transfers and ill-wishers harm them: bytes in, hypothesis strategies of bytes out."""

import re
import struct
from collections.abc import Callable

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

Harmed = st.SearchStrategy[bytes]
Draw = Callable[[st.SearchStrategy[int]], int]

FRAME = re.compile(rb"\xff[\xc0-\xc3\xc5-\xc7\xc9-\xcb\xcd-\xcf]")  # SOF: a JPEG's size and components
SCAN = b"\xff\xda"  # SOS


def examples(strategy: Harmed, count: int) -> list[bytes]:
    """`count` different examples, the same at every call."""
    found: dict[bytes, None] = {}

    @settings(
        max_examples=3 * count,
        derandomize=True,
        database=None,
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(strategy)
    def collect(data: bytes) -> None:
        if len(found) < count:
            found[data] = None

    collect()
    assert len(found) == count, f"only {len(found)} of {count} mutants differ"
    return list(found)


# ---- any file ------------------------------------------------------------------------------


@st.composite
def flipped(draw: Draw, data: bytes) -> bytes:
    """One to eight bits turned over."""
    harmed = bytearray(data)
    for _ in range(draw(st.integers(1, 8))):
        harmed[draw(st.integers(0, len(data) - 1))] ^= 1 << draw(st.integers(0, 7))
    return bytes(harmed)


@st.composite
def cut(draw: Draw, data: bytes) -> bytes:
    """Only the beginning is left: 0 bytes at the least, all but one at the most."""
    return data[: draw(st.integers(0, len(data) - 1))]


@st.composite
def beheaded(draw: Draw, data: bytes) -> bytes:
    """Only the end is left."""
    return data[draw(st.integers(1, len(data) - 1)) :]


@st.composite
def zeroed(draw: Draw, data: bytes) -> bytes:
    """A range of bytes is zeros, as after a crash of a file system."""
    start = draw(st.integers(0, len(data) - 1))
    length = draw(st.integers(1, len(data) - start))
    return data[:start] + bytes(length) + data[start + length :]


@st.composite
def swapped(draw: Draw, data: bytes) -> bytes:
    """Two neighbouring ranges of bytes have changed places."""
    a, b, c = sorted(draw(st.integers(0, len(data))) for _ in range(3))
    return data[:a] + data[b:c] + data[a:b] + data[c:]


@st.composite
def doubled(draw: Draw, data: bytes) -> bytes:
    """A range of bytes stands there twice."""
    a, b = sorted(draw(st.integers(0, len(data))) for _ in range(2))
    return data[:b] + data[a:]


@st.composite
def filled(draw: Draw, data: bytes) -> bytes:
    """Up to 64 foreign bytes in the middle."""
    place = draw(st.integers(0, len(data)))
    return data[:place] + draw(st.binary(min_size=1, max_size=64)) + data[place:]  # type: ignore[arg-type,operator]


def harmed(data: bytes) -> Harmed:
    """Any of the above, and what has nothing to do with the file: no bytes, text, noise. Never the file itself."""
    foreign = st.one_of(
        st.just(b""), st.binary(max_size=300), st.text(max_size=100).map(lambda text: text.encode())
    )
    ways = (flipped, flipped, cut, beheaded, zeroed, swapped, doubled, filled)
    return st.one_of(*(way(data) for way in ways), foreign).filter(lambda harmed: harmed != data)


# ---- JPEGs ---------------------------------------------------------------------------------


def segments_of(data: bytes) -> list[bytes]:
    """A JPEG cut before each of its markers, up to the first scan; that and what follows is one piece."""
    pieces, place = [data[:2]], 2
    while data[place : place + 2] != SCAN:
        end = place + 2 + int.from_bytes(data[place + 2 : place + 4], "big")
        pieces.append(data[place:end])
        place = end
    return [*pieces, data[place:]]


@st.composite
def with_segments_swapped(draw: Draw, data: bytes) -> bytes:
    """Two segments, or only their markers, have changed places."""
    pieces = segments_of(data)
    first, second = (draw(st.integers(1, len(pieces) - 1)) for _ in range(2))
    a, b = pieces[first], pieces[second]
    whole = draw(st.booleans())
    pieces[first], pieces[second] = (b, a) if whole else (b[:2] + a[2:], a[:2] + b[2:])
    return b"".join(pieces)


def frame_of(data: bytes) -> int:
    """Where a JPEG's frame header begins."""
    pieces = segments_of(data)
    number = next(n for n, piece in enumerate(pieces) if FRAME.match(piece))
    return sum(map(len, pieces[:number]))


def sized(data: bytes, width: int, height: int) -> bytes:
    """The JPEG with another size in its header."""
    place = frame_of(data)
    return data[: place + 5] + struct.pack(">2H", height, width) + data[place + 9 :]


@st.composite
def with_wrong_size(draw: Draw, data: bytes) -> bytes:
    """A size that is a little wrong, or huge, or nothing."""
    length = st.one_of(st.integers(0, 100), st.sampled_from([20_000, 65_535]))
    return sized(data, draw(length), draw(length))


@st.composite
def with_wrong_frame(draw: Draw, data: bytes) -> bytes:
    """Another byte in the frame header: kind of coding, bits, components, sampling, table."""
    place = frame_of(data) + 1
    length = int.from_bytes(data[place + 1 : place + 3], "big")
    at = place + draw(st.integers(0, length))
    return data[:at] + bytes([draw(st.integers(0, 255))]) + data[at + 1 :]


@st.composite
def with_wrong_steps(draw: Draw, data: bytes) -> bytes:
    """A quantisation table of one value: 0, 1, 255; or of 16-bit steps."""
    place, value = data.index(b"\xff\xdb"), draw(st.sampled_from([0, 1, 255, 256, 65_535]))
    end = place + 2 + int.from_bytes(data[place + 2 : place + 4], "big")
    number = data[place + 4] & 15
    table = bytes([number]) + bytes([min(value, 255)]) * 64
    if value > 255:
        table = bytes([16 | number]) + struct.pack(">H", value) * 64
    return data[:place] + b"\xff\xdb" + struct.pack(">H", 2 + len(table)) + table + data[end:]


def with_scans(data: bytes, count: int) -> bytes:
    """A progressive JPEG whose last scan comes `count` times more."""
    place = data.rindex(SCAN)
    return data[:place] + data[place:-2] * count + data[place:]


def harmed_jpeg(data: bytes) -> Harmed:
    """Any harm, half of it to what only JPEGs have."""
    ways = (with_segments_swapped, with_wrong_size, with_wrong_frame, with_wrong_steps)
    repeated = st.integers(2, 3000).map(lambda count: with_scans(data, count))
    own = st.one_of(*(way(data) for way in ways), repeated)
    return st.one_of(harmed(data), own).filter(lambda harmed: harmed != data)
