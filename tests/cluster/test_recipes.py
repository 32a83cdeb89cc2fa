"""The recipes of cluster/, each by a tool of its own: Slurm's in a Slurm, those of Kubernetes by its schemas.

Their shell lines run here too, with a stand-in for Python that notes what it was called with. With --long
the Slurm jobs really correct and train.
"""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import jsonschema
import kubernetes_validate
import numpy as np
import pytest
import slurm
import yaml
from conftest import ROOT, TRAINING, run
from PIL import Image

import run_car_images
from cluster import correct_ray

CLUSTER = ROOT / "cluster"
NOTING = """#!/bin/sh
{ printf '%s\\n' "$TF_CONFIG" "$@"; } > "$NOTES/$$"
"""
needs_slurm = pytest.mark.skipif(bool(slurm.missing()), reason=slurm.missing())


def resources(name: str) -> list[dict[str, Any]]:
    """The resources of a recipe of Kubernetes."""
    return list(yaml.safe_load_all((CLUSTER / name).read_text()))


@pytest.fixture
def notes(tmp_path: Path) -> Path:
    """A folder for the notes of a stand-in for python (and getent), which lies in bin/ beside it."""
    (tmp_path / "bin").mkdir()
    (tmp_path / "notes").mkdir()
    for name, text in (("python", NOTING), ("getent", "#!/bin/sh\n")):
        (tmp_path / "bin" / name).write_text(text)
        (tmp_path / "bin" / name).chmod(0o755)
    return tmp_path / "notes"


def noting(notes: Path) -> dict[str, str]:
    """The environment in which the stand-ins are found."""
    path = f"{notes.parent / 'bin'}{os.pathsep}{os.environ['PATH']}"
    return {**os.environ, "PATH": path, "NOTES": str(notes), "TF_CONFIG": ""}


def noted(notes: Path) -> list[list[str]]:
    """What python was called with, call by call, sorted; first its TF_CONFIG."""
    return sorted(file.read_text().splitlines() for file in notes.iterdir())


# ---- Slurm ---------------------------------------------------------------------------------


@pytest.mark.skipif(not shutil.which("shellcheck"), reason="shellcheck is not installed")
def test_the_scripts_of_slurm_are_sound_bash() -> None:
    done = subprocess.run(["shellcheck", *CLUSTER.glob("*.slurm")], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


def submit(environment: dict[str, str], folder: Path, *command: object) -> str:
    """Submit a job from the suite's folder and wait for its end; returns its logs, and fails where it did."""
    options = map(str, ["--parsable", "--output", folder / "%A_%a.log", "--mem=2G", *command])
    done = subprocess.run(["sbatch", *options], cwd=ROOT, env=environment, capture_output=True, text=True)
    number = done.stdout.strip()
    assert done.returncode == 0, done.stderr
    slurm.until(lambda: not slurm.said(environment, "squeue", "-h", "-j", number), 300)
    logs = "\n".join(file.read_text() for file in sorted(folder.glob(f"{number}_*.log")))
    states = re.findall(r"JobState=(\w+)", slurm.said(environment, "scontrol", "show", "job", number))
    assert set(states) == {"COMPLETED"}, f"{states}\n{logs}"
    return logs


@needs_slurm
def test_slurm_gives_each_task_its_part_and_each_process_its_number(long: bool, notes: Path) -> None:
    if not long:
        pytest.skip("with --long: a Slurm of two nodes")
    folder = notes.parent
    with slurm.running(folder / "slurm") as found:
        environment = {**noting(notes), "SLURM_CONF": found["SLURM_CONF"]}
        submit(
            environment, folder, "--array=1-3", CLUSTER / "correct.slurm", "work", "pretrained", "a b", "out"
        )
        calls = [
            [
                "",
                "run_car_images.py",
                "work",
                "pretrained",
                "a b",
                "out",
                "--shard",
                f"{part}/3",
                "--skip-existing",
            ]
            for part in (1, 2, 3)
        ]
        assert noted(notes) == calls
        for file in notes.iterdir():
            file.unlink()
        one_core = ("--nodes=2", "--cpus-per-task=1")
        submit(environment, folder, *one_core, CLUSTER / "train.slurm", "work", "a log")
    configs = [json.loads(call[0]) for call in noted(notes)]
    first, second = (int(address.split(":")[1]) for address in configs[0]["cluster"]["worker"])
    assert 20000 <= first < 32000 and second == first + 1
    for number, (config, call) in enumerate(zip(configs, noted(notes), strict=True)):
        assert config["task"] == {"type": "worker", "index": number}
        assert [address.split(":")[0] for address in config["cluster"]["worker"]] == list(slurm.NODES)
        assert call[1:] == ["train_car.py", "work", "a log"]


@needs_slurm
def test_slurm_runs_them(long: bool, request: pytest.FixtureRequest, tmp_path: Path) -> None:
    """Eight pictures by four tasks are those of one run; two processes of a training end as one does."""
    if not long:
        pytest.skip("with --long: twelve starts of TensorFlow")
    records = request.getfixturevalue("records")
    rng = np.random.default_rng(0)
    for number in range(8):
        place = tmp_path / "data" / f"folder {number % 3}"
        place.mkdir(parents=True, exist_ok=True)
        grey = rng.integers(0, 256, (40, 60, 3), np.uint8)
        Image.fromarray(grey).resize((200, 150)).save(place / f"{number}.jpg", quality=10 * number + 10)
    run("run_car_images.py", tmp_path, "pretrained", "data", "whole", "--recursive")
    with slurm.running(tmp_path / "slurm") as environment:
        environment["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{environment['PATH']}"
        arguments = (tmp_path, "pretrained", "data", "parts", "--recursive")
        submit(environment, tmp_path, "--array=1-4", CLUSTER / "correct.slurm", *arguments)
        log = submit(environment, tmp_path, "--array=1-4", CLUSTER / "correct.slurm", *arguments)
        assert log.count("2 were there already") == 4
        training = (records.folder, tmp_path / "log", *TRAINING)
        submit(environment, tmp_path, "--nodes=2", "--cpus-per-task=1", CLUSTER / "train.slurm", *training)
    whole, parts = (
        {path.relative_to(tmp_path / name): path.read_bytes() for path in (tmp_path / name).rglob("*.bmp")}
        for name in ("whole", "parts")
    )
    assert whole == parts and len(whole) == 8
    assert len(list((tmp_path / "parts").glob("figures_?_of_4.csv"))) == 4
    run("train_car.py", records.folder, "log of one", *TRAINING)
    ours, one = (
        np.genfromtxt(place / "losses.csv", delimiter=",", skip_header=1, usecols=(0, 1))
        for place in (tmp_path / "log", records.folder / "log of one")
    )
    np.testing.assert_allclose(ours, one, rtol=1e-4)


@needs_slurm
def test_slurm_puts_a_task_back_and_it_goes_on(long: bool, tmp_path: Path) -> None:
    if not long:
        pytest.skip("with --long: Slurm waits two minutes before a task that was put back starts again")
    rng = np.random.default_rng(0)
    for number in range(12):
        (tmp_path / f"data/{number % 3}").mkdir(parents=True, exist_ok=True)
        rough = Image.fromarray(rng.integers(0, 256, (40, 60, 3), np.uint8))
        rough.resize((900, 600)).save(tmp_path / f"data/{number % 3}/{number}.jpg", quality=30)
    results = tmp_path / "results"
    with slurm.running(tmp_path / "slurm") as environment:
        environment["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{environment['PATH']}"
        options = ("--parsable", f"--chdir={ROOT}", "--mem=2G", "--array=1-2", "-o", tmp_path / "%a.log")
        arguments = (CLUSTER / "correct.slurm", tmp_path, "pretrained", "data", "results", "--recursive")
        job = slurm.said(environment, "sbatch", *options, *arguments)
        slurm.until(lambda: any(results.glob(".car_results_1_of_2.jsonl")), 120)
        slurm.said(environment, "scontrol", "requeue", f"{job}_1")
        slurm.until(lambda: not slurm.said(environment, "squeue", "-h", "-j", job), 400)
    log = (tmp_path / "1.log").read_text()
    assert "stopped by SIGTERM" in log and re.search(r"corrected [1-5] of 6 images .*, [1-5] were there", log)
    assert len(list(results.rglob("*.bmp"))) == 12
    rows = [(results / f"figures_{part}_of_2.csv").read_text().splitlines()[1:] for part in (1, 2)]
    assert list(map(len, rows)) == [6, 6]


# ---- Kubernetes ----------------------------------------------------------------------------


VERSIONS = ("1.33", kubernetes_validate.latest_version())  # from the first with a stable backoffLimitPerIndex


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("name", ["correct-kubernetes.yaml", "train-kubernetes.yaml"])
def test_kubernetes_takes_the_jobs(name: str, version: str) -> None:
    for resource in resources(name):
        kubernetes_validate.validate(resource, version, strict=True)


def started(notes: Path, job: dict[str, Any], index: int) -> list[str]:
    """What the pod of an index calls python with; first its TF_CONFIG."""
    container = job["spec"]["template"]["spec"]["containers"][0]
    environment = {one["name"]: one["value"] for one in container["env"]}
    environment |= {**noting(notes), "JOB_COMPLETION_INDEX": str(index)}
    subprocess.run([*container["command"], *container["args"]], env=environment, check=True, timeout=60)
    (call,) = noted(notes)
    next(notes.iterdir()).unlink()
    return call


def test_a_pod_corrects_the_part_of_its_index(notes: Path) -> None:
    (job,) = resources("correct-kubernetes.yaml")
    assert job["spec"]["completions"] == 512
    for index in (0, 511):
        call = started(notes, job, index)
        assert call[1:6] == ["run_car_images.py", "/work", "pretrained", "photos", "corrected"]
        assert call[-3:] == ["--shard", f"{index + 1}/512", "--skip-existing"]
        assert run_car_images.make_parser("").parse_args(call[2:]).shard == f"{index + 1}/512"


def test_a_pod_trains_as_the_worker_of_its_index(notes: Path) -> None:
    service, job = resources("train-kubernetes.yaml")
    assert service["spec"]["selector"] == {"job-name": job["metadata"]["name"]}
    assert job["spec"]["template"]["spec"]["subdomain"] == service["metadata"]["name"]
    assert job["spec"]["completions"] == job["spec"]["parallelism"] == 4
    config, *call = started(notes, job, 2)
    addresses = [f"car-train-{number}.car-train:20000" for number in range(4)]
    assert json.loads(config) == {"cluster": {"worker": addresses}, "task": {"type": "worker", "index": 2}}
    assert call[:3] == ["train_car.py", "/work", "log"]


# ---- KubeRay -------------------------------------------------------------------------------


def only(required: str, **properties: Any) -> dict[str, Any]:
    """The schema of an object that has no other properties than these, and those required."""
    names = required.split()
    return {"type": "object", "properties": properties, "required": names, "additionalProperties": False}


# KubeRay's own schema is in no registry. So far as the recipe goes, this is its API reference of ray.io/v1
# (https://ray-project.github.io/kuberay/reference/api/); the pods are held against the schemas of Kubernetes.
NUMBER, TEXT, WORDS = (
    {"type": "integer", "minimum": 0},
    {"type": "string"},
    {"additionalProperties": {"type": "string"}},
)
GROUP = {"rayStartParams": WORDS, "template": {"type": "object"}}
WORKERS = only(
    "groupName minReplicas maxReplicas rayStartParams template",
    **GROUP,
    groupName=TEXT,
    **dict.fromkeys(("replicas", "minReplicas", "maxReplicas"), NUMBER),
)
RAY_CLUSTER = only(
    "headGroupSpec",
    rayVersion=TEXT,
    headGroupSpec=only("rayStartParams template", **GROUP),
    workerGroupSpecs={"type": "array", "items": WORKERS},
)
RAY_JOB = only(
    "apiVersion kind metadata spec",
    apiVersion={"const": "ray.io/v1"},
    kind={"const": "RayJob"},
    metadata=only("name", name=TEXT),
    spec=only(
        "entrypoint rayClusterSpec",
        entrypoint=TEXT,
        shutdownAfterJobFinishes={"type": "boolean"},
        ttlSecondsAfterFinished=NUMBER,
        backoffLimit=NUMBER,
        rayClusterSpec=RAY_CLUSTER,
    ),
)


def test_kuberay_takes_the_job_and_its_pods() -> None:
    (job,) = resources("correct-kuberay.yaml")
    jsonschema.validate(job, RAY_JOB)
    cluster = job["spec"]["rayClusterSpec"]
    for group in (cluster["headGroupSpec"], *cluster["workerGroupSpecs"]):
        pods = {"apiVersion": "v1", "kind": "PodTemplate", "template": group["template"]}
        kubernetes_validate.validate(pods, "1.33", strict=True)
    python, script, *arguments = job["spec"]["entrypoint"].split()
    assert (python, script) == ("python", "/car/cluster/correct_ray.py")
    args = correct_ray.make_parser().parse_args(arguments)
    assert args.workdir == "/work" and args.recursive and args.skip_existing
    image = (CLUSTER / "Dockerfile").read_text()
    assert f"ARG RAY={cluster['rayVersion']}\n" in image


# ---- the image -----------------------------------------------------------------------------


@pytest.mark.skipif(
    not shutil.which("hadolint", path=Path(sys.executable).parent), reason="hadolint has no wheel here"
)
def test_the_dockerfile_is_sound_and_runs_the_commands_of_the_readme() -> None:
    linter = shutil.which("hadolint", path=Path(sys.executable).parent)
    done = subprocess.run([str(linter), CLUSTER / "Dockerfile"], capture_output=True, text=True)
    assert done.returncode == 0 and not done.stdout, done.stdout
    commands = re.findall("^python -m pip install .* && python .*", (ROOT / "README.md").read_text(), re.M)
    steps = re.findall("^RUN (.*)", (CLUSTER / "Dockerfile").read_text(), re.M)
    assert len(commands) == 2 and set(commands) <= set(steps)
