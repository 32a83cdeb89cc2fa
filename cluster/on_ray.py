"""A Ray cluster as the commands here use it: joined or started, and rows of work sent through it."""

import contextlib
import importlib.util
import logging
import os
import pickle
import queue
import socket
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from car import cli, stop
from car.errors import UserError

ROOT = Path(__file__).resolve().parent.parent
OF_WORKERS = ("car", "cluster")  # folders that they need, beside the modules of the root
OBJECT_STORE_BYTES = 256 * 2**20  # of a cluster started here: what goes through it are names and figures
IN_HAND = 2  # blocks of a process: the one it works on, and the next
TRIES = 4  # of work with which processes end, as where a picture takes more memory than there is
SECONDS_FOR_AN_ANSWER = 10
SECONDS_BETWEEN_LOOKS = 0.2  # for a signal

Row = dict[str, bytes]


class Lost(UserError):
    """A row with which each process ended that had it in hand."""

    def __init__(self, number: int) -> None:
        """number: of the row, from 0."""
        super().__init__(f"{TRIES} processes ended with the same work in hand, as if it took all memory")
        self.number = number

    def __reduce__(self) -> tuple[type["Lost"], tuple[int]]:
        return Lost, (self.number,)


class Attempts:
    """How often each row was begun: Ray tries without an end, and counts the loss of a machine as several."""

    def __init__(self) -> None:
        self._count: Counter[int] = Counter()

    def begin(self, number: int) -> int:
        """Count an attempt at a row; return how many there were."""
        self._count[number] += 1
        return self._count[number]


class Telling:
    """A worker that tells a fault as what came of a row: of one that is raised Ray keeps the text alone."""

    def __init__(self, attempts: Any, worker: Callable[..., Any], *arguments: Any) -> None:
        """attempts: Attempts, as an actor of Ray."""
        self._attempts, self._worker = attempts, worker(*arguments)

    def __call__(self, row: Row) -> Row:
        """What came of a row and None, or None and the fault, pickled under "told"."""
        try:
            self._begin(int(row["number"]))
            return {"told": pickle.dumps((self._worker(row), None))}
        except (UserError, OSError) as fault:
            return {"told": pickle.dumps((None, fault))}

    def _begin(self, number: int) -> None:
        import ray

        # RayActorError: its machine was lost, and it begins to count again.
        with contextlib.suppress(ray.exceptions.RayActorError):
            if ray.get(self._attempts.begin.remote(number)) > TRIES:
                raise Lost(number)


def check_installed() -> None:
    """Raise UserError where what the commands here need is not installed."""
    if any(importlib.util.find_spec(name) is None for name in ("ray", "pyarrow")):
        raise UserError("this needs Ray: python -m pip install -r cluster/requirements.txt")


@contextlib.contextmanager
def joined(address: str | None) -> Iterator[None]:
    """Be part of a cluster; without an address of one that is made of this machine. Raises UserError.

    Ray's own lines are kept off the terminal. What was done is said by the commands themselves.
    """
    check_installed()
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # nothing is sent anywhere
    os.environ.setdefault(
        "RAY_ENABLE_AUTO_CONNECT", "0"
    )  # else a thread that goes on after the end starts one
    with cli.silenced():
        import ray

        address = address or os.environ.get("RAY_ADDRESS")
        if address:
            _check_answers(address)
            # Other machines have no checkout of this suite, or another one.
            others = [entry.name for entry in ROOT.iterdir() if entry.suffix != ".py"]
            excluded = sorted(set(others) - set(OF_WORKERS))
            options: dict[str, Any] = {
                "runtime_env": {"working_dir": str(ROOT), "excludes": [f"/{name}" for name in excluded]}
            }
        else:
            paths = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH")]))
            options = {
                "runtime_env": {"env_vars": {"PYTHONPATH": paths}},
                "object_store_memory": OBJECT_STORE_BYTES,
                "include_dashboard": False,
            }
        try:
            ray.init(address or "local", log_to_driver=False, logging_level="ERROR", **options)
        except (ConnectionError, ValueError, RuntimeError) as error:
            where = f"the cluster at {address} cannot be joined" if address else "Ray cannot be started here"
            raise UserError(f"{where}: {str(error).splitlines()[0]}") from error
        # "Task failed, will be retried": Ray's own switch for such lines, which it has no option for.
        ray._private.worker._worker_logs_enabled = False
        try:
            stop.watch_again()  # Ray has its own answer to SIGTERM
            yield
        finally:
            # After a stop Ray Data's threads log how the cluster went away under their hands.
            logging.disable(logging.CRITICAL)
            ray.shutdown()


def _check_answers(address: str) -> None:
    """Raise UserError where nothing listens at HOST:PORT, which Ray itself finds out after minutes."""
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if port.isdecimal():
        try:
            socket.create_connection((host, int(port)), timeout=SECONDS_FOR_AN_ANSWER).close()
        except OSError as error:
            raise UserError(
                f"the cluster at {address} cannot be joined: {error.strerror or error}"
            ) from error


def processes(cores: int, on_gpus: bool = True) -> tuple[int, dict[str, int]]:
    """How many processes of so many cores the cluster holds, and what each takes.

    on_gpus: whether it is a GPU, where the cluster has some.
    """
    import ray

    there = ray.cluster_resources()
    if on_gpus and (gpus := int(there.get("GPU", 0))):
        return gpus, {"num_cpus": 1, "num_gpus": 1}
    return max(1, int(there.get("CPU", 1)) // cores), {"num_cpus": cores}


def through(
    rows: Sequence[Row],
    worker: Callable[..., Any],
    arguments: Sequence[Any],
    cores: int = 1,
    on_gpus: bool = True,
    given_up: Callable[[int], Row] | None = None,
) -> Iterator[Row]:
    """Send rows through a worker's processes; yield what comes of each, in the order in which they end.

    worker: a class whose objects are made of `arguments` once in each process, and called with a row. Rows of
    a process or a machine that is lost are done again elsewhere. given_up: what comes of a row, by its number
    from 0, with which TRIES processes ended; without it that ends the work too. Ends early where a signal
    asks for it. Raises UserError for what no further attempt could mend.
    """
    done: queue.Queue[Row | BaseException | None] = queue.Queue()
    how_many, each = processes(cores, on_gpus)
    given = rows, worker, arguments, min(how_many, len(rows)), each, done.put
    threading.Thread(target=_work, args=given, daemon=True).start()
    while not stop.asked():
        try:
            row = done.get(timeout=SECONDS_BETWEEN_LOOKS)
        except queue.Empty:
            continue
        if row is None:
            return
        if isinstance(row, BaseException):
            raise row
        made, fault = pickle.loads(row["told"])
        if isinstance(fault, Lost) and given_up:
            made = given_up(fault.number)
        elif fault:
            raise fault
        yield made


def _work(
    rows: Sequence[Row],
    worker: Callable[..., Any],
    arguments: Sequence[Any],
    size: int,
    each: dict[str, int],
    put: Callable[[Row | BaseException | None], None],
) -> None:
    """Put what comes of each row, then None; or the error that ends the work.

    size: of the pool of processes; each: what one of them takes.
    """
    import ray

    try:
        context = ray.data.DataContext.get_current()
        context.enable_progress_bars = False
        context.max_tasks_in_flight_per_actor = IN_HAND
        pool = ray.data.ActorPoolStrategy(min_size=1, max_size=size, initial_size=size)
        numbered = [{"number": b"%d" % number, **row} for number, row in enumerate(rows)]
        attempts = ray.remote(num_cpus=0, max_restarts=-1)(Attempts).remote()
        work = ray.data.from_items(numbered, override_num_blocks=len(rows))
        given = [attempts, worker, *arguments]
        telling = work.map(Telling, compute=pool, fn_constructor_args=given, **each)
        for row in telling.iter_rows():
            put(row)
    except BaseException as error:
        put(error)
    else:
        put(None)
