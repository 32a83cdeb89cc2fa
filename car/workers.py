"""The processes that train together, on one machine or on several, as TF_CONFIG names them."""

import contextlib
import errno
import json
import socket
import sys
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import tensorflow as tf

from car import shares
from car.errors import UserError, reason_of

Words = npt.NDArray[np.int64]


class Cluster(NamedTuple):
    """The processes that train together, as TF_CONFIG names them, and which of them this one is."""

    addresses: dict[str, list[str]]  # "host:port" of each by job: chief, worker
    job: str
    number: int

    @property
    def chief(self) -> bool:
        """Whether this process is the one that writes files: the chief, or where none is named worker 0."""
        return self.members[0] == (self.job, self.number)

    @property
    def members(self) -> list[tuple[str, int]]:
        """(job, number) of every process, in TensorFlow's order."""
        return [(job, n) for job in ("chief", "worker") for n in range(len(self.addresses.get(job, ())))]


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


def make_company(cluster: Cluster | None, strategy: tf.distribute.Strategy) -> shares.Company:
    """The processes of the cluster, and the way in which they exchange what they found."""
    if cluster is None or len(cluster.members) == 1:
        return shares.ALONE
    count = len(cluster.members)

    @tf.function(input_signature=[tf.TensorSpec([None], tf.int64)])
    def gathered(values: tf.Tensor) -> tf.Tensor:
        def gather() -> tf.Tensor:
            here = tf.identity(values)  # on the replica's own device
            return tf.distribute.get_replica_context().all_gather(here, axis=0)

        return strategy.experimental_local_results(strategy.run(gather))[0]

    def of_each(values: Words) -> Words:
        """Of each process its values, by the first of its replicas: [processes, N]."""
        rows = gathered(values).numpy().reshape(strategy.num_replicas_in_sync, -1)
        return rows[:: strategy.num_replicas_in_sync // count]

    def exchange(said: bytes) -> list[bytes]:
        lengths = of_each(np.array([len(said)]))[:, 0]
        words = np.frombuffer(said.ljust(int(lengths.max()) // 8 * 8 + 8, b"\0"), np.int64)
        return [row.tobytes()[:length] for row, length in zip(of_each(words), lengths, strict=True)]

    return shares.Company(cluster.members.index((cluster.job, cluster.number)), count, exchange)


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
