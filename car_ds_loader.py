"""The tf.data pipelines that feed training and validation.

The record's schema, and the files that hold records, are in car/records.py.
"""

from collections.abc import Callable

import numpy as np
import tensorflow as tf

from car.records import RecordSet, parse_batch, records_from

# Flips and turns of a patch: 1 upside down, 2 left to right, 4 rows for columns, and their sums.
Turns = tuple[int, ...]
AS_IT_IS: Turns = (0,)
MIRRORED: Turns = (0, 2)
ALL_TURNS: Turns = tuple(range(8))
SHUFFLE_BYTES = 256 * 2**20  # memory for shuffling; more than this buys no better mixing


Read = Callable[[tf.Tensor, tf.Tensor, tf.Tensor], tf.data.Dataset]  # (path, first place, count) of a file


def read_records(path: tf.Tensor, first: tf.Tensor, count: tf.Tensor) -> tf.data.Dataset:
    """The serialized records of a file."""
    return tf.data.TFRecordDataset(path, buffer_size=2**20)


def count_records(path: tf.Tensor, first: tf.Tensor, count: tf.Tensor) -> tf.data.Dataset:
    """In place of each record of a file its place in the set, from 0."""
    return tf.data.Dataset.range(first, first + count)


def shuffled_records(records: RecordSet, seed: tf.Tensor, read: Read = read_records) -> tf.data.Dataset:
    """All records once, patches (not batches) shuffled, as `read` gives them. seed: int64 scalar tensor."""
    counts = np.array([file.count for file in records.files], np.int64)
    paths = [str(file.path) for file in records.files]
    files = tf.data.Dataset.from_tensor_slices((paths, counts.cumsum() - counts, counts))
    files = files.shuffle(len(records.files), seed=seed, reshuffle_each_iteration=False)
    # The order is the same; to count costs less than to hand the work to other threads.
    parallel = {"num_parallel_calls": tf.data.AUTOTUNE, "deterministic": True} if read is read_records else {}
    mixed = files.interleave(read, cycle_length=min(16, len(records.files)), **parallel)
    room = min(records.total, SHUFFLE_BYTES // (4 * records.side**2))
    return mixed.shuffle(room, seed=seed, reshuffle_each_iteration=False)


def read_at(records: RecordSet, places: tf.Tensor) -> tf.Tensor:
    """The serialized records [N] at these places of the set, int64 [N]; nothing else is read."""
    counts = np.array([file.count for file in records.files], np.int64)
    file = tf.searchsorted(counts.cumsum(), places, side="right")
    starts = (places - tf.gather(counts.cumsum() - counts, file)) * records.frame
    paths = tf.gather([str(file.path) for file in records.files], file)

    def one(path: tf.Tensor, start: tf.Tensor) -> tf.data.Dataset:
        return records_from(path, start, records.frame).take(1)

    found = tf.data.Dataset.from_tensor_slices((paths, starts)).flat_map(one)
    batch = found.batch(tf.size(places, tf.int64), drop_remainder=True).get_single_element()
    return tf.ensure_shape(batch, places.shape)


def flip_and_turn(
    jpg: tf.Tensor, bmp: tf.Tensor, seed: tf.Tensor, turns: Turns
) -> tuple[tf.Tensor, tf.Tensor]:
    """One of these flips and turns for the whole batch; seed: int64 [2] tensor."""
    draw = tf.gather(turns, tf.random.stateless_uniform([], seed, maxval=len(turns), dtype=tf.int32))

    def apply(patches: tf.Tensor) -> tf.Tensor:
        patches = tf.cond(draw >= 4, lambda: tf.transpose(patches, [0, 2, 1, 3]), lambda: patches)
        patches = tf.cond(draw % 2 == 1, lambda: patches[:, ::-1], lambda: patches)
        return tf.cond(draw // 2 % 2 == 1, lambda: patches[:, :, ::-1], lambda: patches)

    return apply(jpg), apply(bmp)


def training_batches(
    records: RecordSet,
    batch_size: int,
    seed: int,
    first_step: int,
    turns: Turns = AS_IT_IS,
    share: tf.distribute.InputContext | None = None,
) -> tf.data.Dataset:
    """Endless batches (jpg, bmp), float32 [batch, side, side, 1] in grey levels, from a step on.

    Each batch is flipped and turned in one of the turns. Each epoch has an order of its own, which depends on
    seed and epoch alone: started at first_step, the pipeline gives what an unbroken run would see there.

    share: of one of several processes. It gets its slice of each of these batches, cut for its replicas, and
    reads no other records: the order needs none. The records must be of one length (records.frame).
    """
    first_epoch, offset = divmod(first_step * batch_size, records.total)
    size = batch_size // share.num_input_pipelines if share else batch_size
    number = share.input_pipeline_id if share else 0

    def epoch(number: tf.Tensor) -> tf.data.Dataset:
        return shuffled_records(records, seed * 1_000_003 + number, count_records if share else read_records)

    def parse(step: tf.Tensor, batch: tf.Tensor) -> tuple[tf.Tensor, ...]:
        if share:
            batch = read_at(records, batch[number * size : (number + 1) * size])
        jpg, bmp = parse_batch(batch, records.side)
        if turns != AS_IT_IS:
            jpg, bmp = flip_and_turn(jpg, bmp, tf.stack([tf.cast(seed, tf.int64), step]), turns)
        shape = [size, records.side, records.side, 1]
        return tuple(tf.ensure_shape(tf.cast(patch, tf.float32), shape) for patch in (jpg, bmp))

    # Its tuning brings no speed, and its thread sleeps through the end of a run, for up to half a minute.
    untuned = tf.data.Options()
    untuned.autotune.enabled = False
    epochs = tf.data.Dataset.range(first_epoch, np.iinfo(np.int64).max)
    batches = (
        epochs.flat_map(epoch)
        .skip(offset)
        .batch(batch_size, drop_remainder=True, num_parallel_calls=tf.data.AUTOTUNE)
        .enumerate(first_step)
        .map(parse, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True)
    )
    if share and share.num_replicas_in_sync > share.num_input_pipelines:
        batches = batches.rebatch(batch_size // share.num_replicas_in_sync, drop_remainder=True)
    return batches.prefetch(tf.data.AUTOTUNE).with_options(untuned)


def validation_batches(records: RecordSet, patches: int, batch_size: int) -> tf.data.Dataset:
    """The same `patches` records (or all there are), whatever the run's seed; the last batch may be smaller.

    Kept in memory as int16; yields (jpg, bmp), int16 [N, side, side, 1].
    """
    chosen = shuffled_records(records, tf.constant(1, tf.int64)).take(patches)
    return chosen.batch(batch_size).map(lambda batch: parse_batch(batch, records.side)).cache()


def validation_places(records: RecordSet, patches: int) -> list[int]:
    """The place in the set, from 0, of each of the records that validation_batches gives."""
    chosen = shuffled_records(records, tf.constant(1, tf.int64), count_records).take(patches)
    return [int(place) for place in chosen.as_numpy_iterator()]


def distributed(
    strategy: tf.distribute.Strategy,
    processes: int,
    records: RecordSet,
    batches: Callable[[tf.distribute.InputContext | None], tf.data.Dataset],
) -> tf.distribute.DistributedDataset:
    """The batches of training shared among the strategy's replicas, each batch among all of them.

    batches: a function of the share (training_batches). Several processes read no more than theirs each, but
    where the records differ in length: then each reads all and keeps its part.
    """
    if processes > 1 and records.frame:
        return strategy.distribute_datasets_from_function(batches)
    options = tf.data.Options()
    options.experimental_distribute.auto_shard_policy = tf.data.experimental.AutoShardPolicy.DATA
    return strategy.experimental_distribute_dataset(batches(None).with_options(options))
