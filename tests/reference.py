"""Other programs' side of the formats: written from the contract, sharing no code with the suite."""

import struct
from collections.abc import Iterator, Sequence, Set
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL.JpegImagePlugin import JpegImageFile

Array = npt.NDArray[Any]

LAYERS = ((9, 1, 64), (7, 64, 32), (1, 32, 16), (5, 16, 1))


def read_records(path: Path) -> Iterator[bytes]:
    """Yield the payloads of a TFRecord file: length, its checksum, payload, its checksum."""
    data = path.read_bytes()
    place = 0
    while place < len(data):
        (length,) = struct.unpack_from("<Q", data, place)
        yield data[place + 12 : place + 12 + length]
        place += 12 + length + 4


def read_patches(path: Path) -> tuple[Array, Array]:
    """All pairs of a record file as (jpg, bmp), int16 [N, side, side] each."""
    import tensorflow as tf

    pairs = []
    for record in read_records(path):
        feature = tf.train.Example.FromString(record).features.feature
        assert set(feature) == {"train/image1", "train/image2"}
        pair = [np.frombuffer(feature[name].bytes_list.value[0], "<i2") for name in sorted(feature)]
        side = int(pair[0].size ** 0.5)
        pairs.append([patch.reshape(side, side) for patch in pair])
    jpg, bmp = zip(*pairs, strict=True)
    return np.stack(jpg), np.stack(bmp)


def write_patches(path: Path, jpg: Array, bmp: Array) -> None:
    """Write pairs [N, side, side] as the contract says, with nothing beside the file."""
    import tensorflow as tf

    with tf.io.TFRecordWriter(str(path)) as writer:
        for pair in zip(jpg, bmp, strict=True):
            values = [
                tf.train.Feature(bytes_list=tf.train.BytesList(value=[p.astype("<i2").tobytes()]))
                for p in pair
            ]
            feature = {"train/image1": values[0], "train/image2": values[1]}
            writer.write(tf.train.Example(features=tf.train.Features(feature=feature)).SerializeToString())


def direct_convolution(weights_file: Path, luma: Array, residual: bool = True) -> Array:
    """The net over a whole mirrored image in float64 by plain sums of shifted products: [H, W] grey levels."""
    weights = np.load(weights_file)
    maps = np.pad(luma.astype(np.float64), 9, mode="symmetric")[..., np.newaxis] / 255
    for number, (side, _, _) in enumerate(LAYERS, start=1):
        kernel = weights[f"layer{number}_kernel"].astype(np.float64)
        height, width = maps.shape[0] - side + 1, maps.shape[1] - side + 1
        total = np.zeros((height, width, kernel.shape[3])) + weights[f"layer{number}_bias"]
        for y in range(side):
            for x in range(side):
                total += maps[y : y + height, x : x + width] @ kernel[y, x]
        maps = total if number == 4 and residual else np.maximum(total, 0)
    return maps[..., 0] * 255 + (luma if residual else 0)


def zero_padded(weights_file: Path, luma: Array) -> Array:
    """The net with zeros outside at every layer, as the original padded its patches."""
    weights = np.load(weights_file)
    maps = luma[..., None].astype(np.float64) / 255
    for number, side in enumerate((9, 7, 1, 5), start=1):
        kernel, reach = weights[f"layer{number}_kernel"].astype(np.float64), side // 2
        padded = np.pad(maps, ((reach, reach), (reach, reach), (0, 0)))
        total = sum(
            padded[y : y + luma.shape[0], x : x + luma.shape[1]] @ kernel[y, x]
            for y in range(side)
            for x in range(side)
        )
        total = total + weights[f"layer{number}_bias"]
        maps = total if number == 4 else np.maximum(total, 0)
    return maps[..., 0] * 255 + luma


def plain_ssim(a: Array, b: Array) -> float:
    """SSIM by its paper, in float64: 11x11 Gaussian of deviation 1.5, K = 0.01, 0.03."""
    window = np.exp(-((np.arange(11) - 5) ** 2) / (2 * 1.5**2))
    window /= window.sum()

    def blur(plane: Array) -> Array:
        rows = np.stack([plane[i : plane.shape[0] - 10 + i] for i in range(11)], axis=-1) @ window
        return np.stack([rows[:, i : rows.shape[1] - 10 + i] for i in range(11)], axis=-1) @ window

    mean_a, mean_b = blur(a), blur(b)
    c1, c2 = (0.01 * 255) ** 2, (0.03 * 255) ** 2
    variance_a, variance_b = blur(a * a) - mean_a**2, blur(b * b) - mean_b**2
    covariance = blur(a * b) - mean_a * mean_b
    return float(
        np.mean(
            (2 * mean_a * mean_b + c1)
            * (2 * covariance + c2)
            / ((mean_a**2 + mean_b**2 + c1) * (variance_a + variance_b + c2))
        )
    )


LUMA_50 = np.array(  # ITU T.81, table K.1
    [
        *(16, 11, 10, 16, 24, 40, 51, 61, 12, 12, 14, 19, 26, 58, 60, 55, 14, 13, 16, 24, 40, 57, 69, 56),
        *(14, 17, 22, 29, 51, 87, 80, 62, 18, 22, 37, 56, 68, 109, 103, 77, 24, 35, 55, 64, 81, 104, 113, 92),
        *(49, 64, 78, 87, 103, 121, 120, 101, 72, 92, 95, 98, 112, 100, 103, 99),
    ]
)
CHROMA_50 = np.array(  # table K.2
    [
        *(17, 18, 24, 47, 99, 99, 99, 99, 18, 21, 26, 66, 99, 99, 99, 99),
        *(24, 26, 56, 99, 99, 99, 99, 99, 47, 66, 99, 99, 99, 99, 99, 99),
        *(99,) * 32,
    ]
)


def corrected_plane(log: Path, samples: Array, steps: Array | None, table: Array = LUMA_50) -> Array:
    """A decoded plane as the suite must correct it: the set of weights by the steps, the change kept to them."""
    if samples.min() == samples.max():
        return np.zeros(samples.shape)
    weights, gain = log / "model_checkpoint.npz", 1.0
    strength, has_gains = 1.0, table is LUMA_50
    bank = {} if steps is None else bank_of(log)
    with np.load(weights) as arrays:
        finest, coarsest = arrays.get("coarseness", (0, np.inf))
    if steps is not None and not bank:
        if finest > 2 * coarseness(steps, table):
            return np.zeros(samples.shape)
        gain = min(1, coarsest / coarseness(steps, table))
    if bank and steps is not None:
        factor, strength, has_gains = chosen(set(bank), steps, table)
        if not strength:
            return np.zeros(samples.shape)
        weights, gain = bank[factor] / weights.name, min(1, factor / coarseness(steps, table))
    seen = (samples - 127.5) * gain + 127.5
    change = np.clip(samples + (direct_convolution(weights, seen) - seen) / gain, 0, 255) - samples
    if steps is None:
        return change
    with np.load(weights) as arrays:
        gains = arrays["gains"] if "gains" in arrays and has_gains else np.ones((8, 8))
    return strength * limited(change, samples, steps.reshape(8, 8), gains, table is not LUMA_50)


def bank_of(log: Path) -> dict[float, Path]:
    """The folders of the sets by the coarseness of the files that each is for."""
    qualities = {folder: int(folder.name[1:]) for folder in log.glob("q*")}
    return {50 / q if q < 50 else 2 - q / 50: folder for folder, q in qualities.items()}


def corrected_beside_luma(
    log: Path, luma: Array, planes: Sequence[Array], steps: Sequence[Array]
) -> list[Array] | None:
    """The changes of Cb and Cr by the net that sees corrected luma; None where they go each alone."""
    bank = bank_of(log)
    factor = chosen(set(bank), steps[0], CHROMA_50)[0] if bank else 0
    if not factor or (steps[0] != steps[1]).any() or any(p.min() == p.max() for p in planes):
        return None
    file = bank[factor] / "chroma.npz"
    if not file.exists():
        return None
    gain = min(1, factor / coarseness(steps[0], CHROMA_50))
    (height, width), seen = planes[0].shape, np.clip(np.rint(luma), 0, 255)
    down, across = -(-luma.shape[0] // height), -(-luma.shape[1] // width)
    rows, columns = (
        [*range(n)][6 - 1 :: -1] + [*range(n)] + [*range(n)][: -6 - 1 : -1] for n in (height, width)
    )
    maps = np.zeros((height + 12, width + 12, 6))
    for y, row in enumerate(rows):
        for x, column in enumerate(columns):
            # Above and to the left of the plane the cell itself is seen as in a mirror, and beyond it too.
            upside = y < 6 or y >= height + 6
            mirror = x < 6 or x >= width + 6
            maps[y, x, :2] = [(plane[row, column] - 128) / 32 for plane in planes]
            for part in range(4):
                dy, dx = divmod(part, 2)
                dy, dx = (dy ^ upside) % down, (dx ^ mirror) % across
                place = min(down * row + dy, luma.shape[0] - 1), min(across * column + dx, luma.shape[1] - 1)
                maps[y, x, 2 + part] = (seen[place] - 127.5) / 64
    maps *= gain
    with np.load(file) as arrays:
        for number in range(1, 5):
            kernel, bias = (arrays[f"layer{number}_{name}"].astype(float) for name in ("kernel", "bias"))
            side = kernel.shape[0]
            inner = maps.shape[0] - side + 1, maps.shape[1] - side + 1
            total = bias + np.zeros((*inner, len(bias)))
            for y in range(side):
                for x in range(side):
                    total += maps[y : y + inner[0], x : x + inner[1]] @ kernel[y, x]
            maps = total if number == 4 else np.maximum(total, 0)
    changes = []
    for number, plane in enumerate(planes):
        change = np.clip(plane + 32 * maps[..., number] / gain, 0, 255) - plane
        changes.append(limited(change, plane, steps[number].reshape(8, 8), np.ones((8, 8)), True))
    return changes


def coarseness(steps: Array, table: Array, among: Sequence[int] = range(64)) -> float:
    """The geometric mean of the factors between two tables [64], where a byte holds the step."""
    factors = [float(steps[n]) / float(table[n]) for n in among if steps[n] < 255]
    return float(np.prod(np.array(factors, np.longdouble)) ** (1 / len(factors)))


def chosen(bank: Set[float], steps: Array, table: Array) -> tuple[float, float, bool]:
    """Which of the sets, at what strength, with its gains or without, by what car/choice.py promises."""
    own = coarseness(steps, table)
    if table is CHROMA_50:
        fitting = [factor for factor in bank if factor <= 1.4 * own]
        return max(fitting, default=0), float(bool(fitting)), False
    low = [8 * u + v for u in range(8) for v in range(8) if u + v < 7]
    tilted = coarseness(steps, table, low) / own > 1.5
    reach, strength = (1.1, 0.75) if tilted and own < 0.5 else (1.25, 1.0)
    fitting = [factor for factor in bank if factor <= reach * own]
    if fitting:
        return max(fitting), strength, not tilted
    finest = min(bank)
    return finest, strength * (own / finest) ** 2 if finest < 3 * own else 0.0, not tilted


COSINES = np.array([np.cos((2 * np.arange(8) + 1) * u * np.pi / 16) / (2 if u else 8**0.5) for u in range(8)])


def mirrored(plane: Array) -> Array:
    """Both sides made multiples of 8, rows and columns there and back as in a mirror."""
    tall, wide = ([*range(n), *range(n)[::-1]] * 8 for n in plane.shape)
    height, width = plane.shape
    return plane[tall[: -(-height // 8) * 8]][:, wide[: -(-width // 8) * 8]]


def kept_to_steps(change: Array, samples: Array, steps: Array, gains: Array) -> Array:
    """Block by block, each cosine coefficient of the change times its gain, within 0.35 of its step.

    Within 0.3 where a pixel is 0 or 255, and no change at all where all are. Where the picture ends within
    a block, it goes on as in a mirror.
    """
    height, width = change.shape
    change, samples = mirrored(change), mirrored(samples)
    kept = change.copy()
    for top in range(0, change.shape[0] - 7, 8):
        for left in range(0, change.shape[1] - 7, 8):
            block = slice(top, top + 8), slice(left, left + 8)
            coefficients = gains * (COSINES @ change[block] @ COSINES.T)
            reach = 0.35 if samples[block].min() > 0 and samples[block].max() < 255 else 0.3
            coefficients = np.clip(coefficients, -reach * steps, reach * steps)
            kept[block] = COSINES.T @ coefficients @ COSINES
            if samples[block].max() == 0 or samples[block].min() == 255:
                kept[block] = 0
    return kept[:height, :width]


def limited(change: Array, samples: Array, steps: Array, gains: Array, is_chroma: bool = False) -> Array:
    """The same, each block times how far it is trusted."""
    height, width = change.shape
    of_blocks = trusted(mirrored(change), mirrored(samples), steps, gains, is_chroma)
    weights = np.kron(of_blocks, np.ones((8, 8)))
    return kept_to_steps(change, samples, steps, gains) * weights[:height, :width]


def trusted(change: Array, samples: Array, steps: Array, gains: Array, is_chroma: bool = False) -> Array:
    """How far each block is trusted, 0..1, by what car/limits.py promises; sides are multiples of 8."""
    rows, columns = samples.shape[0] // 8, samples.shape[1] // 8
    high = np.add.outer(np.arange(8), np.arange(8)) >= 6
    held, asked, pixels = {}, {}, {}
    for y in range(rows):
        for x in range(columns):
            block = slice(8 * y, 8 * y + 8), slice(8 * x, 8 * x + 8)
            pixels[y, x] = samples[block].astype(float)
            held[y, x] = COSINES @ pixels[y, x] @ COSINES.T
            asked[y, x] = gains * (COSINES @ change[block] @ COSINES.T) / steps

    def detail(place: tuple[int, int]) -> Array:
        return np.where(np.add.outer(np.arange(8), np.arange(8)) > 0, held[place], 0)

    def is_flat(place: tuple[int, int]) -> bool:
        return bool((abs(detail(place)) <= steps / 2).all())

    def ramp(value: float, start: float, end: float) -> float:
        return min(max((value - start) / (end - start), 0.0), 1.0)

    weights = np.ones((rows, columns))
    for y in range(rows):
        for x in range(columns):
            near = [
                (min(max(y + dy, 0), rows - 1), min(max(x + dx, 0), columns - 1))
                for dy in (-1, 0, 1)
                for dx in (-1, 0, 1)
            ]
            strength = np.mean([np.square(held[n][high]).mean() for n in near]) ** 0.5
            of_all = np.mean([np.square(detail(n)).sum() for n in near])
            share = (np.mean([np.square(held[n][high]).sum() for n in near]) / max(of_all, 1)) ** 0.5
            total = sum(np.square(asked[n]).sum() for n in near)
            weakening = sum(
                np.square(asked[n])[(abs(held[n]) > steps / 2) & (held[n] * asked[n] < 0)].sum() for n in near
            )
            unlike = max(ramp(strength, 50, 62), ramp(share, 0.82, 0.9) * ramp(strength, 6, 12))
            wrong = max(
                ramp(weakening / max(total, 1e-6), 0.4, 0.55),
                ramp(abs(asked[y, x]).max(), 1, 2),
                ramp(strength, 85, 100),
            )
            weights[y, x] = 1 - unlike * wrong
            if not is_chroma:
                weights[y, x] = min(weights[y, x], max(ramp(strength, 0.3, 0.6), ramp(steps[0, 1], 2, 3)))
            for dy, dx, step in (
                (-1, 0, steps[1, 0]),
                (1, 0, steps[1, 0]),
                (0, -1, steps[0, 1]),
                (0, 1, steps[0, 1]),
            ):
                other = y + dy, x + dx
                if other in held and is_flat((y, x)) and is_flat(other):
                    jump = abs(held[y, x][0, 0] - held[other][0, 0]) / 8 - steps[0, 0] / 8
                    weights[y, x] = min(weights[y, x], 1 - ramp(jump / step, 0.2, 0.32))
            beside = [(y - 1, x), (y + 1, x), (y, x - 1), (y, x + 1)]
            in_steps = {n: np.rint(detail(n) / steps)[~high] for n in [(y, x), *beside] if n in held}
            alike = all(abs(in_steps[n] - in_steps[y, x]).max() <= 1 for n in in_steps)
            repeats = alike * ramp(np.square(in_steps[y, x]).sum() ** 0.5, 8, 16)
            smooth_or_fine = max(1 - ramp(strength, 6, 12), 1 - ramp(steps[0, 1], 2, 3))
            weights[y, x] = min(weights[y, x], 1 - repeats * smooth_or_fine)
            levels = {level for n in near for level in pixels[n].flat}
            if levels == {128.0} if is_chroma else len(levels) == 1 and levels.pop() < 16:
                weights[y, x] = 0
    return weights


def doubled(plane: Array, height: int, width: int) -> Array:
    """Chroma interpolated to the luma's size: 3/4 of the nearer sample and 1/4 of the farther one."""
    for axis, length in enumerate((height, width)):
        plane = np.moveaxis(plane, axis, 0)
        if plane.shape[0] != length:
            padded = np.concatenate([plane[:1], plane, plane[-1:]])
            fine = np.stack([plane * 3 + padded[:-2], plane * 3 + padded[2:]], axis=1) / 4
            plane = fine.reshape(-1, *plane.shape[1:])[:length]
        plane = np.moveaxis(plane, 0, axis)
    return plane


def undoubled(planes: Array) -> Array:
    """Samples before libjpeg doubled them across, [H, W, C]: of each pair of neighbours between the same two."""
    width = planes.shape[1]
    found: list[list[Array]] = [[] for _ in range((width + 1) // 2)]
    for left in range(1, width - 1, 2):
        a, b = planes[:, left], planes[:, left + 1]
        found[left // 2].append((3 * a - b) / 2)
        found[left // 2 + 1].append((3 * b - a) / 2)
    found[0] = [planes[:, 0]]
    if width % 2 == 0:
        found[-1] = [planes[:, -1]]
    samples: Array = np.stack([np.mean(values, axis=0) for values in found], axis=1)
    return np.clip(np.rint(samples), 0, 255)


def corrected_jpeg(log: Path, path: Path) -> Array:
    """What run_car_images.py must write for a JPEG of the YCbCr or grey kind, in float64."""
    image = JpegImageFile(path)
    decoded, sampling, tables = np.asarray(image), [c[1:3] for c in image.layer], image.quantization
    steps = [np.array(tables[c[3]]) for c in image.layer]
    size, image = image.size, JpegImageFile(path)
    image.draft("YCbCr", None)
    planes = np.asarray(image).reshape(*decoded.shape[:2], -1).astype(np.float64)
    luma = planes[..., 0]
    change = corrected_plane(log, luma, steps[0])
    if decoded.ndim == 2:
        return decoded + change
    halved = sampling[0] == (2, 2) and min(size) > 1
    if halved:
        image = JpegImageFile(path)
        image.draft("YCbCr", (size[0] // 2, size[1] // 2))
        planes = np.asarray(image).astype(np.float64)
    elif sampling[0] == (2, 1):
        planes = undoubled(planes)
    known = halved or sampling[0] in ((1, 1), (2, 1))
    chroma = [planes[..., 1], planes[..., 2]]
    beside = corrected_beside_luma(log, luma + change, chroma, steps[1:]) if known else None
    blue, red = beside or (
        corrected_plane(log, plane, steps[n] if known else None, CHROMA_50)
        for n, plane in enumerate(chroma, start=1)
    )
    if halved or sampling[0] == (2, 1):
        blue, red = (doubled(plane, *decoded.shape[:2]) for plane in (blue, red))
    in_rgb = (1.402 * red, -0.344136 * blue - 0.714136 * red, 1.772 * blue)
    return decoded + np.stack([change + colour for colour in in_rgb], axis=-1)


def cmyk_profile() -> bytes:
    """An ICC profile (v2, lut8) of a press where cyan prints as Lab (50, -60, 50), black as black, the rest not at all."""
    identity = bytes(range(256))
    table = bytearray()
    for corner in range(16):  # 2 grid points an ink; cyan varies slowest
        lightness, a, b = (0, 0, 0) if corner & 1 else (50, -60, 50) if corner & 8 else (100, 0, 0)
        table += bytes([round(lightness * 2.55), a + 128, b + 128])
    matrix = struct.pack(">9i", 65536, 0, 0, 0, 65536, 0, 0, 0, 65536)
    lut = b"mft1" + bytes(4) + bytes([4, 3, 2, 0]) + matrix + identity * 4 + bytes(table) + identity * 3
    white = b"XYZ " + bytes(4) + struct.pack(">3i", 63190, 65536, 54061)
    tags, place, body = b"", 128 + 4 + 2 * 12, b""
    for name, content in ((b"A2B0", lut), (b"wtpt", white)):
        content += bytes(-len(content) % 4)
        tags += name + struct.pack(">2I", place + len(body), len(content))
        body += content
    size = place + len(body)
    header = (
        struct.pack(">I4sI4s4s4s", size, bytes(4), 0x02100000, b"prtr", b"CMYK", b"Lab ")
        + bytes(12)
        + b"acsp"
    )
    header += bytes(28) + struct.pack(">3i", 63190, 65536, 54061)
    return header.ljust(128, b"\0") + struct.pack(">I", 2) + tags + body


def lossless_jpeg(pixels: Array) -> bytes:
    """Grey [H, W] or RGB [H, W, 3] as a lossless JPEG (T.81, Annex H): predictor 1, Huffman codes of 4 bits."""
    samples = np.atleast_3d(pixels).astype(int)
    height, width, components = samples.shape
    predicted = np.empty_like(samples)
    predicted[:, 1:] = samples[:, :-1]
    predicted[1:, 0] = samples[:-1, 0]
    predicted[0, 0] = 128
    bits = ""
    for difference in (samples - predicted).ravel():
        size = abs(int(difference)).bit_length()
        low = difference if difference >= 0 else difference + (1 << size) - 1
        bits += f"{size:04b}" + (f"{low:0{size}b}" if size else "")
    bits += "1" * (-len(bits) % 8)
    scan = bytes(int(bits[n : n + 8], 2) for n in range(0, len(bits), 8)).replace(b"\xff", b"\xff\0")
    names = range(ord("R"), ord("R") + 1) if components == 1 else b"RGB"
    frame = struct.pack(">BHHB", 8, height, width, components) + b"".join(bytes([n, 0x11, 0]) for n in names)
    codes = bytes([0, 0, 0, 0, 9]) + bytes(12) + bytes(range(9))
    start = bytes([components]) + b"".join(bytes([n, 0]) for n in names) + bytes([1, 0, 0])
    segments = ((0xC3, frame), (0xC4, codes), (0xDA, start))
    head = b"".join(bytes([0xFF, m]) + struct.pack(">H", len(d) + 2) + d for m, d in segments)
    return b"\xff\xd8" + head + scan + b"\xff\xd9"


Tag = tuple[int, int, int, bytes | int]  # tag, type, count, and the value's bytes or its place


def directory(order: str, place: int, tags: Sequence[Tag], following: int = 0, cut: int = 0) -> bytes:
    """A directory of a TIFF at its place, and behind it the values of over 4 bytes; cut: bytes that its end lacks."""
    table, values = struct.pack(f"{order}H", len(tags)), b""
    behind = place + 2 + 12 * len(tags) + 4
    for tag, kind, count, value in tags:
        table += struct.pack(f"{order}HHI", tag, kind, count)
        if isinstance(value, int):
            table += struct.pack(f"{order}I", value)
        elif len(value) <= 4:
            table += value.ljust(4, b"\0")
        else:
            table += struct.pack(f"{order}I", behind + len(values))
            values += value
    whole = table + struct.pack(f"{order}I", following) + values
    return whole[: len(whole) - cut]


def tiff(order: str, *directories: bytes) -> bytes:
    """A TIFF of these directories, the first at 8. order: "<" or ">"."""
    header = b"II*\0" if order == "<" else b"MM\0*"
    return header + struct.pack(f"{order}I", 8) + b"".join(directories)
