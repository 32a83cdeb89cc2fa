"""benchmarks/simulation.py, where the answer is known: by arithmetic, or from the theory of queues."""

import sys

import numpy as np
import pytest
from conftest import ROOT

sys.path.append(str(ROOT / "benchmarks"))
from simulation import Fleet, Outcome, Store, Way, Work, runs, shards, simulate


def pictures(*seconds: float, size: float = 0.0) -> Work:
    each = np.full(len(seconds), size)
    return Work(np.array(seconds), each, each)


def by_shards(work: Work, parts: int, fleet: Fleet, store: Store | None = None) -> Outcome:
    return simulate(work, Way(shards(len(work.seconds), parts), True), fleet, store or Store())


def test_parts_are_each_nth_and_blocks_are_neighbours() -> None:
    assert [list(part) for part in shards(5, 2)] == [[0, 2, 4], [1, 3]]
    assert [list(block) for block in runs(5, 2)] == [[0, 1], [2, 3], [4]]


def test_one_core_does_one_after_the_other() -> None:
    outcome = by_shards(pictures(1, 2, 3), 1, Fleet(np.array([0.5]), start=4))
    assert outcome.seconds == 4 + 12 and outcome.share == 6 / 16


def test_the_slowest_part_is_the_last() -> None:
    outcome = by_shards(pictures(1, 5, 1, 5), 2, Fleet(np.ones(2), start=3))
    assert list(outcome.ends) == [5, 13] and outcome.share == 12 / 18


def test_blocks_even_out_what_shards_do_not() -> None:
    work, fleet = pictures(*[1, 5] * 10), Fleet(np.ones(2), start=3)
    assert by_shards(work, 2, fleet).seconds == 53
    even = simulate(work, Way(runs(20, 1), False), fleet, Store())
    assert 3 + 30 <= even.seconds <= 3 + 30 + 5  # Graham's bound: the mean and the longest
    assert (
        simulate(work, Way(runs(20, 1), False, 0.1), fleet, Store()).seconds > 190
    )  # a driver of 0.1 a second


def test_reading_and_writing_hide_behind_computing_up_to_the_store() -> None:
    work = pictures(*[2.0] * 50, size=10)
    hidden = by_shards(work, 1, Fleet(np.ones(1)), Store(bandwidth=11, latency=0.05))
    assert hidden.seconds == pytest.approx(
        100 + 2 * (10 / 11 + 0.05), abs=1
    )  # the first's reading, the last's writing
    for store in (Store(bandwidth=5), Store(requests=1, each=2)):
        assert by_shards(work, 1, Fleet(np.ones(1)), store).seconds == pytest.approx(50 * 4, rel=0.02)
        assert by_shards(work, 2, Fleet(np.ones(2)), store).seconds == pytest.approx(50 * 4, rel=0.02)


def test_many_cores_at_one_store_wait_as_the_machine_repairman_says() -> None:
    """Closed queue of n cores, exponential computing of mean 1, exponential reading of mean 1/8, none written."""
    rng, count, cores, rate = np.random.default_rng(1), 40_000, 6, 8.0
    sizes = rng.exponential(1, count)
    work = Work(rng.exponential(1, count), sizes, np.zeros(count))
    # One picture a block and a start each: nothing is read ahead.
    outcome = simulate(work, Way(runs(count, 1), True), Fleet(np.ones(cores)), Store(bandwidth=rate))
    weights = np.cumprod([1.0, *((cores - k) / rate for k in range(cores))])
    throughput = rate * (1 - weights[0] / weights.sum())
    assert count / outcome.seconds == pytest.approx(throughput, rel=0.02)


def test_what_a_lost_node_had_begun_is_done_again() -> None:
    work = pictures(*[1.0] * 4000)
    fleet = Fleet(np.ones(4), cores_a_node=2, start=5, hours_to_loss=0.05, replaced=60)
    for way in (Way(shards(4000, 4), True), Way(runs(4000, 10), False)):
        outcome = simulate(work, way, fleet, Store())
        assert outcome.lost >= 4 and outcome.seconds > 1000 + 5 + 60
        redone = outcome.ends.sum() - 4000 - 4 * 5  # waits and starts, and what was begun
        least, most = 65 * outcome.lost, (65 + 10) * outcome.lost
        assert least < redone < most + 4 * 10


def test_the_store_of_a_scale_is_shared_as_the_whole_one() -> None:
    """A thousandth of the pictures, a hundredth of cores and store: a tenth of the time, where the store is it."""
    times = []
    for part in (1, 10):
        work = pictures(*[1.0] * (4000 * part), size=1)
        store = Store(requests=5 * part, bandwidth=100 * part)
        way = Way(runs(len(work.seconds), 4), False)
        times.append(simulate(work, way, Fleet(np.ones(20 * part)), store).seconds)
    assert times == pytest.approx([1600, 1600], rel=0.02)
