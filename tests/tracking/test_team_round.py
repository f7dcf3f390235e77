"""Two users of one server run a whole round at once; and no secret is left anywhere by it."""

import base64
import json
import os
import subprocess
import threading
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import pytest
import yaml
from mlflow.tracking import MlflowClient

from ftzard.config.pipeline import JOBS
from ftzard.tracking import mirror
from tests.story import Story, begun
from tests.tracking.team import TOOLS, Team, no_credentials

pytestmark = pytest.mark.jobs

COMET = ["comet"] if find_spec("comet_ml") else []


@dataclass
class Round:
    """One user's workspace, what the command said, and the secrets it was given."""

    user: str
    story: Story
    planted: dict[str, str]
    environment: dict[str, str]
    code: int = -1
    said: str = ""

    @property
    def root(self) -> Path:
        return self.story.root

    @property
    def experiment(self) -> str:
        return f"moods_of_{self.user}"

    @property
    def model(self) -> str:
        return f"Moods-{self.user}"


def planted(team: Team, user: str) -> dict[str, str]:
    """Return every secret that a run may have, each a word that stands nowhere else."""
    names = ("HF_TOKEN", "COMET_API_KEY", "FTZARD_GIT_TOKEN", "PGPASSWORD",
             "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN",
             "AZURE_STORAGE_KEY", "MLFLOW_AUTH_ADMIN_PASSWORD")
    return {**{name: f"planted-{name.lower()}-{user}" for name in names},
            "MLFLOW_TRACKING_PASSWORD": team.passwords[user]}


def prepared(team: Team, home: Path, tool, user: str, *, in_file: bool) -> Round:
    """Make a user's workspace; the secrets are in its .env, or in the environment."""
    home.mkdir()
    story = begun(home, tool, rows=400)
    team.add(user)
    secrets = planted(team, user)
    login = {"MLFLOW_TRACKING_USERNAME": user,
             "COMET_OFFLINE_DIRECTORY": str(home / "comet"), **secrets}
    made = Round(user, story, secrets, {} if in_file else login)
    if in_file:
        (story.root / ".env").write_text("".join(f"{k}={v}\n" for k, v in login.items()))
        (story.root / ".env").chmod(0o600)
    marker = story.root / "ftzard.yaml"
    marker.write_text(yaml.safe_dump(yaml.safe_load(marker.read_text()) | {"tracking": {
        "uri": team.uri, "experiment": made.experiment, "registered_model": made.model,
        "mirror": COMET if in_file else []}}))
    return made


@contextmanager
def command_lines() -> Iterator[set[bytes]]:
    """Collect the command lines of all processes there are while the block lasts."""
    seen, over = set(), threading.Event()

    def look() -> None:
        while not over.wait(0.05):
            for entry in Path("/proc").glob("[0-9]*/cmdline"):
                try:
                    seen.add(entry.read_bytes())
                except OSError:
                    continue  # it has ended in the meantime

    watching = threading.Thread(target=look, daemon=True)
    watching.start()
    try:
        yield seen
    finally:
        over.set()
        watching.join()


@pytest.fixture(scope="module")
def rounds(team, tmp_path_factory, tool) -> tuple[list[Round], set[bytes]]:
    """Both rounds, begun at the same moment, and every command line there was meanwhile."""
    home = tmp_path_factory.mktemp("round")
    made = [prepared(team, home / "vera", tool, "vera", in_file=True),
            prepared(team, home / "wim", tool, "wim", in_file=False)]
    with command_lines() as seen:
        started = [subprocess.Popen(
            [str(TOOLS / "ftzard"), "run", "training_pipeline_job"], cwd=r.root, text=True,
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            env={**no_credentials(), **r.environment}) for r in made]
        for r, process in zip(made, started, strict=True):
            r.said = process.communicate(timeout=560)[0]
            r.code = process.returncode
    return made, seen


def test_both_complete_each_in_an_experiment_of_its_own(team, rounds):
    for r in rounds[0]:
        assert r.code == 0, r.said[-4000:]
        with team.logged_in(r.user):
            client = MlflowClient(team.uri, registry_uri=team.uri)
            experiment, = client.search_experiments()
            assert experiment.name == r.experiment
            assert experiment.artifact_location.startswith("mlflow-artifacts:/")
            runs = client.search_runs([experiment.experiment_id], max_results=1000)
            assert {x.info.status for x in runs} == {"FINISHED"}
            steps = {x.data.tags.get("step") for x in runs} - {None}
            assert steps == set(JOBS["training_pipeline_job"])
            version = client.get_model_version(r.model, "1")
            assert client.get_registered_model(r.model).aliases
            names = {f.path for f in client.list_artifacts(version.run_id)}
            assert {"model", "model_card.md", "config.yaml", "notebook"} <= names
            assert {m.name for m in client.search_registered_models()} == {
                r.model, f"{r.model}-base"}


def test_neither_reads_the_other_s(team, rounds):
    for r, other in (rounds[0], rounds[0][::-1]):
        with team.logged_in(other.user):
            client = MlflowClient(team.uri, registry_uri=team.uri)
            theirs = client.get_experiment_by_name(other.experiment).experiment_id
            run = client.search_runs([theirs])[0].info.run_id
        for path in (f"experiments/get?experiment_id={theirs}", f"runs/get?run_id={run}",
                     f"artifacts/list?run_id={run}",
                     f"registered-models/get?name={other.model}",
                     f"model-versions/get?name={other.model}&version=1"):
            status, said = team.ask("GET", f"/api/2.0/mlflow/{path}", team.basic(r.user))
            assert (status, said) == (403, b"Permission denied"), path


def test_status_and_doctor_work_on_the_server(rounds):
    r = rounds[0][0]
    asked = {name: subprocess.run(
        [str(TOOLS / "ftzard"), name, "--json"], cwd=r.root, text=True, capture_output=True,
        env=no_credentials()) for name in ("status", "doctor")}
    state = json.loads(asked["status"].stdout)
    assert state["steps"]["choosing"] | {"seconds": 0, "time": ""} == {
        "runs": 1, "state": "FINISHED", "time": "", "seconds": 0}
    assert (state["champion"] or state["challenger"])["name"] == r.model
    findings = json.loads(asked["doctor"].stdout)["findings"]
    of = {f["area"]: f for f in findings if f["state"] != "ok"}
    assert not {"MLflow", "runs", "models", "secrets", "config"} & set(of), of
    said = next(f["sentence"] for f in findings if f["area"] == "secrets")
    assert "MLFLOW_TRACKING_PASSWORD (.env)" in said
    assert not any(value in asked[name].stdout + asked[name].stderr
                   for value in r.planted.values() for name in asked)


@pytest.mark.skipif(not COMET, reason="the extra comet is not installed")
def test_the_other_platform_has_every_step_and_the_card(team, rounds):
    r = rounds[0][0]
    copies = sorted((r.root.parent / "comet").glob("*.zip"))
    assert len(copies) == len(JOBS["training_pipeline_job"])
    told = b"".join(content for copy in copies for _, content in parts(copy))
    assert b"trial_1/" in told and f"# {r.model}@1".encode() in told
    with team.logged_in(r.user):
        client = MlflowClient(team.uri, registry_uri=team.uri)
        found = client.search_runs([client.get_experiment_by_name(r.experiment).experiment_id])
        where = {x.data.tags[mirror.TAG] for x in found if mirror.TAG in x.data.tags}
    assert where == {f"comet: {copy}" for copy in copies}


def parts(file: Path) -> Iterator[tuple[str, bytes]]:
    """Yield a file's content, and of an archive that of every part of it."""
    yield file.name, file.read_bytes()
    if zipfile.is_zipfile(file):
        with zipfile.ZipFile(file) as archive:
            for name in archive.namelist():
                yield f"{file.name}:{name}", archive.read(name)


def everything(team: Team, made: list[Round], seen: set[bytes]) -> Iterator[tuple[str, bytes]]:
    """Yield all that was written or could be seen: files, archives, git's objects, the MLflow
    server, what was printed, command lines."""
    folders = [team.folder, Path(os.environ["HOME"]), *(r.root.parent for r in made)]
    for folder in folders:
        for file in sorted(folder.rglob("*")):
            if file.is_file() and file.name != ".env":
                for name, content in parts(file):
                    yield f"{file.parent}/{name}", content
    for r in made:
        done = subprocess.run(["git", "cat-file", "--batch-all-objects", "--batch"], cwd=r.root,
                              capture_output=True, check=True)
        yield f"git of {r.user}", done.stdout
        yield f"said to {r.user}", r.said.encode()
    for line in seen:
        yield "a command line", line


def test_no_secret_is_anywhere(team, rounds):
    """Planted in .env and in the environment, used by the run; then everything is searched."""
    made, seen = rounds
    forms = {}
    for r in made:
        for name, value in r.planted.items():
            forms[f"{name} of {r.user}"] = value.encode()
        login = f"{r.user}:{r.planted['MLFLOW_TRACKING_PASSWORD']}"
        forms[f"login of {r.user}"] = base64.b64encode(login.encode())
    assert len(seen) > 10 and any(b"training_pipeline_job" in line for line in seen)
    looked_at, found = 0, []
    for place, content in everything(team, made, seen):
        looked_at += 1
        found += [f"{what} in {place}" for what, value in forms.items() if value in content]
    assert found == [] and looked_at > 200
