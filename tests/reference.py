"""Other programs' side of the formats: written from the contract, sharing no code with the suite."""

import struct

import numpy as np
from PIL import Image

LAYERS = ((9, 1, 64), (7, 64, 32), (1, 32, 16), (5, 16, 1))


def read_records(path):
    """Yield the payloads of a TFRecord file: length, its checksum, payload, its checksum."""
    data = path.read_bytes()
    place = 0
    while place < len(data):
        (length,) = struct.unpack_from("<Q", data, place)
        yield data[place + 12 : place + 12 + length]
        place += 12 + length + 4


def read_patches(path):
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


def write_patches(path, jpg, bmp):
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


def direct_convolution(weights_file, luma, residual=True):
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


LUMA_50 = np.array(  # ITU T.81, table K.1
    [
        *(16, 11, 10, 16, 24, 40, 51, 61, 12, 12, 14, 19, 26, 58, 60, 55, 14, 13, 16, 24, 40, 57, 69, 56),
        *(14, 17, 22, 29, 51, 87, 80, 62, 18, 22, 37, 56, 68, 109, 103, 77, 24, 35, 55, 64, 81, 104, 113, 92),
        *(49, 64, 78, 87, 103, 121, 120, 101, 72, 92, 95, 98, 112, 100, 103, 99),
    ]
)


def corrected_plane(log, samples, steps):
    """A decoded plane as the suite must correct it: the set of weights by the steps, the change kept to them."""
    weights, gain = log / "model_checkpoint.npz", 1
    bank = {50 / int(folder.name[1:]): folder for folder in log.glob("q*")} if steps is not None else {}
    if bank:
        coarse = np.median(
            [step / standard for step, standard in zip(steps, LUMA_50, strict=True) if step < 255]
        )
        factor = min(bank, key=lambda factor: max(factor / coarse, coarse / factor))
        weights, gain = bank[factor] / weights.name, factor / coarse
    seen = (samples - 127.5) * gain + 127.5
    change = np.clip(samples + (direct_convolution(weights, seen) - seen) / gain, 0, 255) - samples
    return change if steps is None else kept_to_steps(change, samples, steps.reshape(8, 8))


def kept_to_steps(change, samples, steps):
    """Block by block, each cosine coefficient of the change within 0.3 of its step."""
    rows = [np.cos((2 * np.arange(8) + 1) * u * np.pi / 16) / (2 if u else 8**0.5) for u in range(8)]
    cosines, kept = np.array(rows), change.copy()
    for top in range(0, change.shape[0] - 7, 8):
        for left in range(0, change.shape[1] - 7, 8):
            block = slice(top, top + 8), slice(left, left + 8)
            if samples[block].min() > 0 and samples[block].max() < 255:
                coefficients = np.clip(cosines @ change[block] @ cosines.T, -0.3 * steps, 0.3 * steps)
                kept[block] = cosines.T @ coefficients @ cosines
    return kept


def doubled(plane, height, width):
    """Chroma interpolated to the luma's size: 3/4 of the nearer sample and 1/4 of the farther one."""
    for axis, length in enumerate((height, width)):
        plane = np.moveaxis(plane, axis, 0)
        padded = np.concatenate([plane[:1], plane, plane[-1:]])
        fine = np.stack([plane * 3 + padded[:-2], plane * 3 + padded[2:]], axis=1) / 4
        plane = np.moveaxis(fine.reshape(-1, *plane.shape[1:])[:length], 0, axis)
    return plane


def corrected_jpeg(log, path):
    """What run_car_images.py must write for a JPEG of the YCbCr or grey kind, in float64."""
    image = Image.open(path)
    decoded, sampling, tables = np.asarray(image), [c[1:3] for c in image.layer], image.quantization
    steps = [np.array(tables[c[3]]) for c in image.layer]
    size, image = image.size, Image.open(path)
    image.draft("YCbCr", None)
    planes = np.asarray(image).reshape(*decoded.shape[:2], -1).astype(np.float64)
    change = corrected_plane(log, planes[..., 0], steps[0])
    if decoded.ndim == 2:
        return decoded + change
    halved = sampling[0] == (2, 2) and min(size) > 1
    if halved:
        image = Image.open(path)
        image.draft("YCbCr", (size[0] // 2, size[1] // 2))
        planes = np.asarray(image).astype(np.float64)
    known = halved or sampling[0] == (1, 1)
    blue, red = (corrected_plane(log, planes[..., n], steps[n] if known else None) for n in (1, 2))
    if halved:
        blue, red = (doubled(plane, *decoded.shape[:2]) for plane in (blue, red))
    in_rgb = (1.402 * red, -0.344136 * blue - 0.714136 * red, 1.772 * blue)
    return decoded + np.stack([change + colour for colour in in_rgb], axis=-1)


def cmyk_profile():
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
