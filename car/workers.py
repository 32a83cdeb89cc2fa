"""The processes that train together, on one machine or on several, as TF_CONFIG names them."""

import contextlib
import errno
import json
import socket
import sys
from collections.abc import Iterator
from typing import NamedTuple

import tensorflow as tf

from car.errors import UserError, reason_of


class Cluster(NamedTuple):
    """The processes that train together, as TF_CONFIG names them, and which of them this one is."""

    addresses: dict[str, list[str]]  # "host:port" of each by job: chief, worker
    job: str
    number: int

    @property
    def chief(self) -> bool:
        """Whether this process is the one that writes files: the chief, or where none is named worker 0."""
        return self.job == ("chief" if self.addresses.get("chief") else "worker") and self.number == 0


def read_cluster(text: str) -> Cluster | None:
    """What a TF_CONFIG says; None where it names no cluster. Raises UserError, also for an evaluator.

    https://www.tensorflow.org/guide/distributed_training#setting_up_the_tf_config_environment_variable
    """
    try:
        config = json.loads(text or "{}")
        jobs, task = config.get("cluster") or {}, config.get("task") or {}
        addresses = {job: list(map(str, listed)) for job, listed in jobs.items() if job != "evaluator"}
        if not addresses:
            return None
        job, number = str(task["type"]), int(task["index"])
    except (ValueError, TypeError, LookupError, AttributeError, RecursionError) as error:
        raise UserError(
            f"TF_CONFIG cannot be read ({reason_of(error)}); it wants the form "
            '{"cluster": {"worker": ["host:port", ...]}, "task": {"type": "worker", "index": 0}}'
        ) from error
    if job == "evaluator":
        raise UserError(
            "TF_CONFIG names this process the evaluator, which has no work here: training itself validates"
        )
    if set(addresses) - {"chief", "worker"} or len(addresses.get("chief", [])) > 1:
        raise UserError(
            f"TF_CONFIG names {', '.join(sorted(addresses))}; only workers and one chief train together here"
        )
    if not 0 <= number < len(addresses.get(job, [])):
        raise UserError(f"TF_CONFIG names this process {job} {number}, whom its cluster does not hold")
    return Cluster(addresses, job, number)


def check_address(address: str) -> None:
    """Raise UserError where this process cannot listen at its own "host:port"."""
    host, _, port = address.rpartition(":")
    try:
        with socket.create_server(
            (host.strip("[]"), int(port)), family=socket.AF_INET6 if ":" in host else socket.AF_INET
        ):
            pass
    except (OSError, ValueError, OverflowError) as error:
        used = isinstance(error, OSError) and error.errno == errno.EADDRINUSE
        reason = "it is in use by another program" if used else reason_of(error)
        raise UserError(
            f"TF_CONFIG: this process cannot listen at {address}: {reason}; give it another port"
        ) from error


def make_strategy(cluster: Cluster | None) -> tf.distribute.Strategy:
    """Several machines if there is a cluster, else all GPUs of this one, else its CPU. Raises UserError."""
    if cluster is None:
        return tf.distribute.MirroredStrategy()
    # At the end TensorFlow's pool of threads complains of a pipe that TensorFlow itself has closed.
    sys.unraisablehook = lambda _: None
    check_address(cluster.addresses[cluster.job][cluster.number])
    resolver = tf.distribute.cluster_resolver.SimpleClusterResolver(
        tf.train.ClusterSpec(cluster.addresses),
        task_type=cluster.job,
        task_id=cluster.number,
        rpc_layer="grpc",
    )
    with in_company(cluster):
        return tf.distribute.MultiWorkerMirroredStrategy(resolver)


@contextlib.contextmanager
def in_company(cluster: Cluster | None) -> Iterator[None]:
    """Let the loss of another process of the cluster end this one with a line on how to go on."""
    try:
        yield
    except tf.errors.OpError as error:
        if cluster is None:
            raise
        raise UserError(
            f"another process of the cluster ended or cannot be reached ({reason_of(error)}); start all of "
            f"them again with the same commands: training goes on from the last state"
        ) from error
