"""Other programs' side of the formats: written from the contract, sharing no code with the suite."""

import struct

import numpy as np

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
