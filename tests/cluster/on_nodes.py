"""Clusters of several nodes on this machine, and commands that work on them and lose parts of them."""

import contextlib
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import conftest
import psutil
from ray.cluster_utils import Cluster
from warm import Process

NODE = {"num_cpus": 1, "object_store_memory": 100 * 2**20}
PATIENCE = 240  # seconds


@contextlib.contextmanager
def nodes(number: int) -> Iterator[Cluster]:
    """A cluster of so many nodes of a core each."""
    made = Cluster(initialize_head=True, head_node_args={**NODE, "include_dashboard": False})
    for _ in range(number - 1):
        made.add_node(**NODE)
    yield made
    made.shutdown()


def start(script: str, *arguments: object) -> Process:
    """Start a command of cluster/ as a user does."""
    return conftest.start(f"cluster/{script}", *arguments, fresh=True)


def end(process: Process, status: int, patience: float = PATIENCE) -> tuple[str, str]:
    """Wait for its end; check its exit status. Returns what it wrote."""
    out, err = process.communicate(timeout=patience)
    assert process.returncode == status and "Traceback" not in err, out + err
    return out, err


def wait_for(moment: Callable[[], object], process: Process) -> None:
    """Wait until moment() is true; the process must not end before."""
    latest = time.monotonic() + PATIENCE
    while not moment():
        assert process.poll() is None and time.monotonic() < latest, process.communicate()
        time.sleep(0.01)


def contents(folder: Path) -> dict[str, bytes]:
    """Every file below a folder, hidden ones too."""
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def kill_a_worker(node: Any) -> None:
    """Kill the process that does the work on a node."""
    raylet = psutil.Process(node.all_processes["raylet"][0].process.pid)
    (worker, *_) = (child for child in raylet.children() if "MapWorker" in " ".join(child.cmdline()))
    worker.kill()
