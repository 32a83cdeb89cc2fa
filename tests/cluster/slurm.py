"""A Slurm of this machine alone, for the tests of the recipes: a controller and two nodes of one core each."""

import contextlib
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

CONFIGURATION = """
ClusterName=test
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={ports[0]}
AuthType=auth/none
CredType=cred/none
SlurmUser={user}
SlurmdUser={user}
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/%n
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/%n.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/%n.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
SchedulerParameters=batch_sched_delay=0,sched_interval=1,sched_min_interval=0
NodeName={nodes[0]} NodeHostname={host} NodeAddr=127.0.0.1 Port={ports[1]} CPUs=1 RealMemory=4000
NodeName={nodes[1]} NodeHostname={host} NodeAddr=127.0.0.1 Port={ports[2]} CPUs=1 RealMemory=4000
PartitionName=all Nodes=ALL Default=YES MaxTime=INFINITE State=UP
"""
# They are found on every Linux.
NODES = ("127.0.0.1", "127.0.0.2")


def missing() -> str:
    """Why there can be no Slurm here, or ""."""
    lacking = [name for name in ("slurmctld", "slurmd", "sbatch", "srun") if not shutil.which(name)]
    if lacking:
        return f"Slurm is not installed: no {', '.join(lacking)} (Debian: slurm-wlm)"
    return "" if os.geteuid() == 0 else "slurmd needs root"


@contextlib.contextmanager
def running(folder: Path) -> Iterator[dict[str, str]]:
    """Run it; yields the environment in which its commands find it."""
    (folder / "state").mkdir(parents=True)
    host = socket.gethostname()
    with contextlib.ExitStack() as held:
        sockets = [held.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(3)]
        ports = [one.getsockname()[1] for one in sockets]
    configuration = folder / "slurm.conf"
    configuration.write_text(
        CONFIGURATION.format(folder=folder, host=host, ports=ports, nodes=NODES, user="root")
    )
    environment = {**os.environ, "SLURM_CONF": str(configuration)}
    daemons = [["slurmctld", "-D"], *(["slurmd", "-D", "-N", node] for node in NODES)]
    started = []
    try:
        for command in daemons:
            log = subprocess.DEVNULL
            started.append(subprocess.Popen(command, env=environment, stdout=log, stderr=log))
        until(lambda: said(environment, "sinfo", "-h", "-o", "%T %D") == "idle 2")
        yield environment
    finally:
        with contextlib.suppress(subprocess.SubprocessError):
            said(environment, "scancel", "--user", "root")
        for process in reversed(started):
            process.terminate()
        for process in started:
            process.wait(timeout=30)


def said(environment: dict[str, str], *command: object) -> str:
    """What a command of Slurm writes; "" where it fails."""
    done = subprocess.run(list(map(str, command)), env=environment, capture_output=True, text=True)
    return done.stdout.strip() if done.returncode == 0 else ""


def until(is_so: Callable[[], bool], seconds: float = 60) -> None:
    """Wait until something is so; fail after so many seconds."""
    ends = time.monotonic() + seconds
    while not is_so():
        assert time.monotonic() < ends, f"not so after {seconds} s"
        time.sleep(0.1)
