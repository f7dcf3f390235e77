"""Two rounds of continual learning as their records tell them, without training anything.

Real git with a bare remote, real DVC with a folder as remote, real MLflow on SQLite; the artifacts
are a few rows each.
"""

import shutil
import subprocess
from pathlib import Path

import pandas as pd
import yaml

from ftzard.config.compose import digest, to_record
from ftzard.config.pipeline import BY_NAME
from ftzard.data.reading import store_raw
from ftzard.data.storage import write_csv, write_parquet
from ftzard.orchestration.create_workspace import create
from ftzard.steps.step_location import StepLocation
from ftzard.steps.versioning import StepVersion
from ftzard.tracking import runs
from ftzard.tracking.workspace_store import connect
from ftzard.versioning.commit import Versioned
from ftzard.workspace.workspace import Workspace

MODEL = "FalconSentiAnalysis"


class Rounds:
    """A workspace with its remotes beside it, and the tests' shorthand for what a step leaves."""

    def __init__(self, home: Path):
        self.home, self.workspace = home, Workspace(home / "ws")
        self.ids: dict[str, str] = {}
        self.commits: dict[str, str] = {}

    @property
    def root(self) -> Path:
        return self.workspace.root

    def make(self) -> "Rounds":
        create(self.root, config={}, git_remote=self.home / "git", dvc_remote=self.home / "dvc",
               invent_identity=True)
        self.config = self.workspace.config()
        self.tracking = connect(self.workspace, self.config)
        return self

    def copy(self, home: Path) -> "Rounds":
        """Return a copy of the workspace; it reads the same remotes and the same MLflow runs."""
        other = Rounds(home)
        shutil.copytree(self.root, other.root, symlinks=True)
        other.ids, other.commits, other.config = {**self.ids}, {**self.commits}, self.config
        other.tracking = connect(other.workspace, self.config)
        return other

    def clone(self, home: Path) -> "Rounds":
        """Return a fresh clone of the git remote: no data, no MLflow."""
        other = Rounds(home)
        self.git("clone", "-q", str(self.home / "git"), str(other.root))
        other.git("config", "user.name", "Colleague")
        other.git("config", "user.email", "colleague@example.org")
        other.ids, other.commits, other.config = self.ids, self.commits, self.config
        return other

    def git(self, *arguments: str) -> str:
        done = subprocess.run(["git", *arguments], cwd=self.root if self.root.is_dir() else None,
                              text=True, capture_output=True)
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    def rows(self, name: str, rows: int, path: str | None = None):
        """Write an artifact of so many rows; return its handle."""
        place = self.root / (path or getattr(self.config.paths, name))
        write = write_csv if place.suffix == ".csv" else write_parquet
        write(pd.DataFrame({"text": [f"{name} {n}" for n in range(rows)]}), place)
        return self.workspace.handle(name, place, rows)

    def file(self, name: str, path: str, content: str):
        """Write an artifact that is no table; return its handle."""
        place = self.root / path
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(content)
        return self.workspace.handle(name, place)

    def delivery(self, text: str):
        given = self.home / "given.csv"
        given.write_text(f"text,label\n{text},glad\n")
        return self.workspace.handle("delivery", store_raw(given, self.root / "data"))

    def run(self, step: str, name: str, **tags: str) -> runs.Run:
        """Record a finished execution of a step."""
        parent = runs.top_level(self.tracking, BY_NAME[step].run_name,
                                self.workspace.state / "mlflow.lock")
        run = runs.start_child(self.tracking, parent, {
            "step": step, "dagster_run_id": f"dagster-{name}", "dagster_step": step,
            "git_commit": "c0de", "code_hash": "c0de-hash", "notebook_hash": "n0te", **tags})
        run.text("{}", f"notebook/{step}.ipynb")
        run.binary(b"small", f"plots/{step}_plot.png")
        run.end()
        kept = self.workspace.executed_notebook(f"dagster-{name}", step)
        kept.parent.mkdir(parents=True, exist_ok=True)
        kept.write_text("{}")
        self.ids[name] = run.id
        return run

    def follow(self, step: str, run: runs.Run, handles=(), records=()) -> Versioned:
        """Do what the notebook Git_Dvc does after a step."""
        parent = runs.known(self.tracking, run.id).data.tags["mlflow.parentRunId"]
        metadata = {"step": step, "run_id": run.id, "run_name": run.name, "base_run_id": parent,
                    "records": list(records), "artifacts": [h.to_dict() for h in handles]}
        location = StepLocation(self.workspace, self.config, None, None)
        step_version = StepVersion(BY_NAME[step], location, metadata, list(handles), None)
        versioned = step_version.version()
        step_version.publish(versioned)
        return versioned

    def step(self, step: str, name: str, handles=(), records=(), **tags: str) -> Versioned:
        done = self.follow(step, self.run(step, name, **tags), handles, records)
        self.commits[name] = done.commit
        return done

    def record(self, number: int, /, **said) -> str:
        """Write a model record, or add to it; return its path."""
        path = f"models/{MODEL}/{number}.yaml"
        place = self.root / path
        entry = yaml.safe_load(place.read_text()) if place.is_file() else {}
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(yaml.safe_dump({**entry, **said}, sort_keys=False))
        return path

    def new_record(self, version: int, step: str, name: str, *, tokenized, parent: int | None,
                   batches: list[str]) -> str:
        return self.record(
            version, model=MODEL, version=version, created="2026-11-21T09:12:13+00:00", step=step,
            mlflow_run=self.ids[name], dagster_run=f"dagster-{name}", parent=parent,
            base={"name": "falcon_tiny", "source": None, "revision": None, "weight_hash": "w" * 64,
                  "tokenizer_hash": "t" * 64},
            labels=["glad", "sad"], batches=batches, rows={"train": 2, "test": 1},
            data={"tokenized": {"path": tokenized.path, "sha256": tokenized.sha256,
                                "commit": tokenized.commit}},
            params={"rank": 8}, packages={"torch": "2.13.0"}, config_hash=digest(self.config),
            config=to_record(self.config))

    def train(self, step: str, name: str, version: int, *, tokenized, parent: int | None,
              batches: list[str], decision: str | None) -> Versioned:
        """Register a version: its adapter and its record, in one commit."""
        run = self.run(step, name)
        adapter = self.file("adapter", f"models/{MODEL}/{version}.zip", f"adapter {version}")
        record = self.new_record(version, step, name, tokenized=tokenized, parent=parent,
                                 batches=batches)
        if decision:
            self.record(version, verdict={"decision": decision, "reasons": ["It is so."]})
        done = self.follow(step, run, [adapter], [record])
        self.commits[name] = done.commit
        return done


def two_rounds(home: Path) -> Rounds:
    """Return two rounds: a first model that is promoted, a second one that is refused."""
    told = Rounds(home).make()
    first, second, handed_in = (told.delivery(text) for text in ("one", "two", "two, labelled"))
    batches = [Path(handle.path).name[:12] for handle in (first, second)]
    told.step("cleaning", "clean 1", [first, told.rows("cleaned", 3), told.rows("rejected", 1)])
    done = told.step("preprocessing", "tokens 1", [
        told.file("base", "models/bases/falcon_tiny.zip", "base"), told.rows("tokenized", 3)])
    told.run("tuning", "tuning 1")
    told.train("choosing", "model 1", 1, tokenized=done.handles[1], parent=None,
               batches=batches[:1], decision="promote")
    told.step("inference_preprocessing", "incoming", [
        second, told.rows("incoming_tokenized", 9),
        told.rows("queue", 4, f"data/labelling/{batches[1]}.csv")])
    told.step("cleaning", "clean 2", [handed_in, told.rows("cleaned", 5), told.rows("rejected", 1)])
    done = told.step("preprocessing", "tokens 2", [told.rows("tokenized", 5)])
    told.train("retraining", "model 2", 2, tokenized=done.handles[0], parent=1, batches=batches,
               decision=None)
    record = told.record(2, verdict={"decision": "refuse", "reasons": ["No gain [shown]."]})
    told.step("evaluation", "evaluation 2", records=[record])
    return told
