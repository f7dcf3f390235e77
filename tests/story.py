"""One small workspace in which every shipped Launchpad YAML is run once, for all job tests.

The texts are easy on purpose (two words of each tell its label): what is tested here is that the
steps fit together and leave the right records, not how well a model of two layers can learn.
"""

import json
import subprocess
from dataclasses import dataclass, field
from pathlib import Path

import nbformat
import pandas as pd
import pytest
import yaml
from dagster import DagsterInstance

from ftzard.core.artifacts import sha256
from ftzard.tracking import runs
from ftzard.tracking.workspace_store import connect
from ftzard.workspace.workspace import Workspace
from tests.orchestration.texts import SHIPPED, easy_texts, mood_of

SMALL = {
    "model": {"build": {"layers": 2, "width": 64, "heads": 2, "vocabulary": 1024, "seed": 0}},
    "training": {"epochs": 2},
    "tuning": {"trials": 2, "rank": [8], "batch_size": [16], "learning_rate": [0.004, 0.008]},
    "sampling": {"budget": 40, "audit_rows": 30},
    "gate": {"min_rows": 50, "resamples": 500, "trial": True},
}


#: The command line, which says in the end whether it has imported MLflow.
TELLING = """
import sys
from ftzard.cli import main
try:
    main()
finally:
    print("MLflow is", "here" if "mlflow" in sys.modules else "not here")
"""


#: Code of the user's own: a word becomes another one, and a model is measured by what it costs.
OWN = {
    "texts.py": 'def quiet(text):\n    return text.replace("ticket", "pass")\n',
    "money.py": """from .prices import PRICE

def cost(y_true, y_pred, probabilities):
    assert list(probabilities.columns) == ["glad", "sad"]
    return sum(PRICE[label] for label, said in zip(y_true, y_pred) if label != said)
""",
    "prices.py": 'PRICE = {"glad": 1, "sad": 10}\n',
}
#: What the user has written into step 1, where it prints what arrived.
OWN_LINE = 'print(len(everything), "rows, said by a line of my own")'


@dataclass(frozen=True)
class Ran:
    """One command that ran a job: its exit code, what it said, and HEAD before and after."""

    code: int
    said: str
    before: str
    after: str


@dataclass(frozen=True)
class Record:
    """What the twelve jobs had left when the last of them ended.

    Tests that run more in the same workspace do not change what the others look at here.
    """

    head: str
    top: list
    children: list
    trials: list
    open_runs: list[str]
    dagster_runs: dict[str, str]
    materializations: dict[str, dict]
    notebooks: dict[str, dict[str, str]]
    logged: list[str]
    origins: dict[str, str]
    status: dict
    dvc_status: str
    own_work: dict[str, str]


@dataclass
class Story:
    """The workspace after all twelve YAMLs, and what each command said."""

    workspace: Workspace
    remotes: Path
    tool: object
    ran: dict[str, Ran] = field(default_factory=dict)
    record: "Record | None" = None
    mine: dict[str, str] = field(default_factory=dict)

    @property
    def root(self) -> Path:
        return self.workspace.root

    def git(self, *arguments: str, at: Path | None = None) -> str:
        done = subprocess.run(["git", *arguments], cwd=at or self.root, text=True,
                              capture_output=True, check=True)
        return done.stdout.strip()

    def own_work(self) -> dict[str, str]:
        """Return what the user has in the index and the working tree, byte for byte.

        What of it is code that runs use (ftzard.yaml) is committed by them, and left out here.
        """
        others = ["--", ".", ":!ftzard.yaml"]
        return {"status": self.git("status", "--porcelain", *others),
                "staged": self.git("diff", "--cached", "--binary", *others),
                "edited": self.git("diff", "--binary", *others),
                "draft": (self.root / "draft.txt").read_text()}

    def tracking(self) -> runs.Tracking:
        return connect(self.workspace, self.workspace.config())

    def status(self) -> dict:
        said = self.tool("ftzard", "status", "--json", "-w", self.root, at=self.root)
        assert said.returncode == 0, said.stdout
        return json.loads(said.stdout)

    def open_runs(self) -> list[str]:
        """Return what is not closed in MLflow or Dagster."""
        tracking = self.tracking()
        left = tracking.client.search_runs([tracking.experiment_id],
                                           "attributes.status = 'RUNNING'")
        with DagsterInstance.from_config(str(self.workspace.dagster_home)) as instance:
            return [r.info.run_name for r in left] + [
                f"{r.job_name} {r.status}" for r in instance.get_runs() if not r.is_finished]

    def artifacts(self) -> dict[str, str]:
        """Return every file that git or DVC keeps (raw deliveries aside) with its hash."""
        folders = [self.root / name for name in ("data", "models")]
        return {p.relative_to(self.root).as_posix(): sha256(p) for folder in folders
                for p in sorted(folder.rglob("*"))
                if p.is_file() and p.parent != self.workspace.raw}

    def run(self, job: str, *more: str, command: str = "ftzard") -> Ran:
        """Run a job with its shipped YAML as a user does; raise with what it said if it fails."""
        before = self.git("rev-parse", "HEAD")
        yaml_file = SHIPPED / f"{job}.yaml"
        if command in ("ftzard", "telling"):
            line = ["ftzard"] if command == "ftzard" else ["python", "-c", TELLING]
            done = self.tool(*line, "run", job, "-w", self.root, "-c", yaml_file, *more,
                             at=self.root)
        else:
            done = self.tool("dagster", "job", "execute", "-m", "ftzard.definitions", "-j", job,
                             "-c", yaml_file, at=self.root, FTZARD_WORKSPACE=str(self.root),
                             DAGSTER_HOME=str(self.workspace.dagster_home))
        ran = Ran(done.returncode, done.stdout, before, self.git("rev-parse", "HEAD"))
        assert ran.code == 0, f"{job}:\n{ran.said[-4000:]}"
        self.ran[job] = ran
        return ran


def begun(home: Path, tool, rows: int) -> Story:
    """Make a workspace with remotes, its small model and so many easy texts to train on.

    Its user has work of their own in it: edited, staged, staged and edited again, and untracked.
    """
    root, remotes = home / "FalconSentiAnalysis", home / "remotes"  # as its model is called
    easy_texts(rows, seed=1).to_csv(home / "mine.csv", index=False)
    made = tool("ftzard", "init", root, "--data", home / "mine.csv", "--text", "tweet",
                "--label", "mood", "--git-remote", remotes / "git", "--dvc-remote",
                remotes / "dvc", at=home)
    assert made.returncode == 0, made.stdout
    story = Story(Workspace(root), remotes, tool)
    marker = root / "ftzard.yaml"
    marker.write_text(yaml.safe_dump(yaml.safe_load(marker.read_text()) | SMALL))
    notes = root / "notes.md"
    notes.write_text("staged\n")
    story.git("add", "notes.md")
    notes.write_text("staged, and edited since\n")
    (root / "draft.txt").write_text("never added\n")
    story.mine = story.own_work()
    return story


@pytest.fixture(scope="session")
def story(tmp_path_factory, tool) -> Story:
    """Every shipped YAML, run once and unchanged, the chains first.

    The first training weighs its classes, which nothing says again later. Its user has a cleaning
    function, a metric and an edited notebook.
    """
    story = begun(tmp_path_factory.mktemp("story"), tool, rows=700)
    write_own_code(story.workspace)
    story.run("training_pipeline_job", "training.class_weights=balanced")
    easy_texts(600, seed=2)[["tweet"]].to_csv(story.workspace.incoming / "new_data.csv",
                                              index=False)
    story.run("inference_pipeline_job")
    story.run("inference_preprocessing_job", "--force")
    story.run("inference_job", command="dagster")
    story.run("sampling_job")
    hand_in(story)
    story.run("retraining_pipeline_job")
    for job in ("cleaning_job", "preprocessing_job", "tuning_job", "choosing_job",
                "retraining_job"):
        story.run(job, "--force")
    story.run("evaluation_job", command="telling")
    story.record = taken(story)
    return story


def write_own_code(workspace: Workspace) -> None:
    """Write what a user of data.clean, metrics and an edited notebook has, and commit none of it.
    """
    folder, marker = workspace.root / "custom", workspace.root / "ftzard.yaml"
    folder.mkdir()
    for name, text in OWN.items():
        (folder / name).write_text(text)
    config = yaml.safe_load(marker.read_text())
    config["data"]["clean"] = "texts:quiet"
    config["metrics"] = ["money:cost"]
    marker.write_text(yaml.safe_dump(config))
    file = workspace.notebooks / "Step1_Data_Cleaning.ipynb"
    notebook = nbformat.read(file, as_version=4)
    cell = next(c for c in notebook.cells if "cleaning.write(" in c.source)
    cell.source = f"{OWN_LINE}\n{cell.source}"
    nbformat.write(notebook, file)


def taken(story: Story) -> Record:
    tracking = story.tracking()
    with DagsterInstance.from_config(str(story.workspace.dagster_home)) as instance:
        found = {r.run_id: r.job_name for r in instance.get_runs() if r.is_success}
        notebooks, logged, origins = {}, [], {}
        for run in instance.get_runs():
            remote = run.remote_job_origin
            origins[run.run_id] = remote.repository_origin.get_label() if remote else ""
            shown = notebooks.setdefault(run.run_id, {})
            for entry in instance.all_logs(run.run_id):
                logged.append(entry.user_message)
                event = entry.dagster_event
                if event is not None and event.event_type_value == "HANDLED_OUTPUT":
                    place = event.event_specific_data.metadata.get("Executed notebook")
                    if place is not None:
                        shown[event.step_key] = place.value
        events = {key.to_user_string(): instance.get_latest_materialization_event(key)
                  for key in instance.all_asset_keys()}
    return Record(
        head=story.git("rev-parse", "HEAD"),
        top=runs.children(tracking, level=runs.TOP),
        children=runs.children(tracking),
        trials=runs.children(tracking, level=runs.TRIAL),
        open_runs=story.open_runs(),
        dagster_runs=found,
        materializations={key: {name: value.value for name, value in
                                event.asset_materialization.metadata.items()}
                          for key, event in events.items()},
        notebooks=notebooks,
        logged=logged,
        origins=origins,
        status=story.status(),
        dvc_status=story.tool("dvc", "status", "-c", at=story.root).stdout,
        own_work=story.own_work())


def hand_in(story: Story) -> None:
    """Fill in the queue as a person does, with three slips, and drop it."""
    queue_file, = story.workspace.labelling.glob("*.csv")
    queue = pd.read_csv(queue_file, dtype="str", keep_default_na=False, encoding="utf-8-sig")
    queue["label"] = queue["text"].map(mood_of)
    queue.loc[0, "label"] = "gladd"
    queue.loc[1, "text"] = "another text altogether"
    queue.loc[2, "label"] = ""
    queue.to_csv(story.workspace.labelled / "labelled.csv", index=False)
