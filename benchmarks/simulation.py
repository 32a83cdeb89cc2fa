"""Cores that correct pictures from one store, event by event: the queues that a formula would hide.

scale.py gives it what was measured, and prints what comes of it. A core reads a picture while it computes
the one before, and writes it while it computes the next, as car/folder.py does. All reads and writes pass the
store in the order of their times.
"""

import bisect
import heapq
from collections import deque
from collections.abc import Generator, Sequence
from typing import NamedTuple

import numpy as np

from car.arrays import Doubles


class Work(NamedTuple):
    """Pictures, in the order of their names; float64 [N] each."""

    seconds: Doubles  # that a core of full speed takes
    read: Doubles  # bytes
    written: Doubles  # bytes


class Fleet(NamedTuple):
    """Cores, and what goes wrong with them."""

    speeds: Doubles  # of each core, 1 is full speed
    cores_a_node: int = 1
    start: float = 0.0  # seconds until a process has its first picture
    hours_to_loss: float = np.inf  # of a node, mean
    replaced: float = 0.0  # seconds until another node stands in the place of a lost one


class Way(NamedTuple):
    """How pictures are shared out."""

    blocks: Sequence[Sequence[int]]  # of numbers of pictures; cores take one after the other
    start_each: bool  # a block is a process (--shard): it starts, and after a loss the rest of it is done
    blocks_a_second: float = np.inf  # that a driver hands out


class Store(NamedTuple):
    """Where the pictures lie, and what it bears of all cores together."""

    requests: float = np.inf  # a second
    bandwidth: float = np.inf  # bytes a second
    latency: float = 0.0  # seconds that each reading or writing takes anyway
    each: float = 1.0  # requests that reading or writing a picture takes


class Server:
    """Serves one after the other, so much a second."""

    def __init__(self, rate: float) -> None:
        self._rate, self._free = rate, 0.0

    def serve(self, now: float, amount: float) -> float:
        """When it is done."""
        self._free = max(now, self._free) + amount / self._rate
        return self._free


class Outcome(NamedTuple):
    """What came of it."""

    seconds: float  # until the last picture was written
    share: float  # of the cores' time, each until it was done, that went into results
    ends: Doubles  # when each core was done, seconds
    lost: int  # processes that ended with their node


def shards(count: int, parts: int) -> list[Sequence[int]]:
    """As `--shard`: part I has each parts-th picture."""
    return [range(part, count, parts) for part in range(parts)]


def runs(count: int, size: int) -> list[Sequence[int]]:
    """Blocks of neighbours, as Ray cuts a list."""
    return [range(first, min(first + size, count)) for first in range(0, count, size)]


def simulate(work: Work, way: Way, fleet: Fleet, store: Store, seed: int = 0) -> Outcome:
    """Let the cores do the work."""
    rng = np.random.default_rng(seed)
    nodes = -(-len(fleet.speeds) // fleet.cores_a_node)
    between = [rng.exponential(3600 * fleet.hours_to_loss, 100) for _ in range(nodes)]
    losses = [[*np.cumsum(hours).tolist(), np.inf] for hours in between]
    seconds, read, size_of_result = (each.tolist() for each in work)
    speeds, queue = fleet.speeds.tolist(), deque(way.blocks)
    driver, requests, transfer = map(Server, (way.blocks_a_second, store.requests, store.bandwidth))
    ends, lost = np.zeros(len(fleet.speeds)), 0

    def move(now: float, size: float) -> float:
        """When a picture of so many bytes is read or written."""
        return store.latency + transfer.serve(requests.serve(now, store.each), size)

    def core(number: int) -> Generator[float, float, None]:
        """Yields when it goes on, and is sent the time when it does."""
        nonlocal lost
        speed, dies = speeds[number], losses[number // fleet.cores_a_node]
        now, started, written, last = 0.0, False, 0.0, 0.0
        while queue:
            block = queue.popleft()
            now = yield driver.serve(now, 1)
            if way.start_each or not started:
                now = yield now + fleet.start
                started = True
            there = move(now, read[block[0]])
            for place, picture in enumerate(block):
                now = yield max(now, there)
                if place + 1 < len(block):
                    there = move(now, read[block[place + 1]])
                done = now + seconds[picture] / speed
                if (end := dies[bisect.bisect_left(dies, last)]) < done:
                    lost += 1
                    now = last = yield end + fleet.replaced
                    queue.appendleft(block[place:] if way.start_each else block)
                    started = False
                    break
                now = last = yield max(done, written)  # one picture is written while the next is computed
                written = move(now, size_of_result[picture])
        ends[number] = max(now, written)

    cores = [core(number) for number in range(len(fleet.speeds))]
    events = [(next(one), number) for number, one in enumerate(cores) if queue]
    heapq.heapify(events)
    while events:
        now, number = events[0]
        try:
            heapq.heapreplace(events, (cores[number].send(now), number))
        except StopIteration:
            heapq.heappop(events)
    return Outcome(
        float(ends.max()),
        float(work.seconds.sum() / ends.sum()),
        ends,
        lost,
    )
