"""The demo: a fresh workspace, and rounds of continual learning driven by dropping files.

Only what a user would do is done here: start the first training, start Dagster's daemon, drop a
batch, label what is asked for, drop the labels. Everything else happens in Dagster's jobs, and
every verdict is the gate's.
"""

import os
import shutil
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pandas as pd

from ftzard.cli.layout import Column, Table
from ftzard.config.pipeline import JOBS
from ftzard.errors import FtzardError, WorkspaceError, in_shell
from ftzard.orchestration import launch, services
from ftzard.orchestration.create_workspace import create, keep_delivery
from ftzard.steps.inputs import metadata_if_any
from ftzard.tasks.sample import write_sample
from ftzard.workspace import workspace_names
from ftzard.workspace.workspace import Workspace
from ftzard.workspace.workspace_folder import usable_folder

MARK = ".ftzard/demo"
BATCHES = ("batch_1", "batch_2")


def run(folder: Path, *, seed: int, say: Callable[[str], None], table: Callable[[Table], None]
        ) -> None:
    """Make `folder` a demo workspace and run its rounds; raises FtzardError if one fails."""
    began = time.time()
    workspace, drops = prepare(folder, seed)
    say(f"demo in {workspace.root}\n\nRound 1: train on {count(drops / 'training.csv'):,} texts")
    lines = []
    outcome = launch.run(workspace, "training_pipeline_job", {}, say=say)
    lines += finished(workspace, "training_pipeline_job", outcome, say)
    command = {"daemon": services.daemon(workspace)}
    with services.serving(workspace, command), dagster_instance(workspace) as instance:
        for number, batch in enumerate(BATCHES, 2):
            say(f"\nRound {number}: {count(drops / f'{batch}.csv'):,} new texts without labels, "
                f"dropped into data/incoming/{batch}.csv")
            drop(drops / f"{batch}.csv", workspace.incoming / f"{batch}.csv")
            outcome = sensed(instance, "inference_pipeline_job", say)
            lines += finished(workspace, "inference_pipeline_job", outcome, say)
            rows = hand_in(workspace, drops / f"{batch}_labels.csv", batch)
            say(f"\nRound {number}: {rows} labels handed in, data/labelled/{batch}.csv")
            outcome = sensed(instance, "retraining_pipeline_job", say)
            lines += finished(workspace, "retraining_pipeline_job", outcome, say)
    say("")
    table(steps_table(lines))
    say("")
    table(models_table(workspace))
    say(f"\nreport  {workspace.report}")
    tool = in_shell(os.path.relpath(Path(sys.executable).parent / "ftzard"))
    where = in_shell(os.path.relpath(workspace.root))
    say(f"look    {tool} ui -w {where} --only dagster")
    say(f"        {tool} ui -w {where} --only mlflow")
    say(f"done in {time.time() - began:.0f} s")


def prepare(folder: Path, seed: int) -> tuple[Workspace, Path]:
    """Return a new demo workspace and the folder of the files to drop.

    A folder is replaced only if it carries the demo's own marker; its remotes stand beside it in
    the same way.
    """
    root = usable_folder(folder)
    remotes = root.with_name(f"{root.name}-remotes")
    for place in (root, remotes):
        if place.exists() and any(place.iterdir()) and not (place / MARK).is_file():
            raise WorkspaceError(
                f"{place} is there already and is no demo (it has no {MARK}); nothing was "
                "touched. Name another folder: ftzard demo DIR.")
    for place in (root, remotes):
        (place / MARK).parent.mkdir(parents=True, exist_ok=True)
        (place / MARK).write_text("Made by 'ftzard demo', which replaces this folder.\n")
        _clear(place)
    drops = remotes / "drops"
    write_sample("classification", drops)
    raw = keep_delivery(root, drops / "training.csv")
    workspace = create(
        root, git_remote=remotes / "git", dvc_remote=remotes / "dvc", invent_identity=True,
        config={"data": {"choice": "sentiment140", "source": f"data/raw/{raw.name}"},
                "gate": {"trial": True}, "seed": seed,
                "tracking": workspace_names.tracking(root)})
    return workspace, drops


def _clear(place: Path) -> None:
    """Remove all but the demo's marker; an interrupted removal is repeated at the next start."""
    for folder in (place, (place / MARK).parent):
        for entry in folder.iterdir():
            if entry.is_dir() and not entry.is_symlink():
                if entry != (place / MARK).parent:
                    shutil.rmtree(entry)
            elif entry != place / MARK:
                entry.unlink()


def count(file: Path) -> int:
    """Return the rows of a CSV file."""
    return len(pd.read_csv(file, dtype="str", keep_default_na=False))


def drop(source: Path, target: Path) -> None:
    """Move a file into a drop folder atomically."""
    part = target.with_name(f".{target.name}.part")
    shutil.copyfile(source, part)
    os.replace(part, target)


def hand_in(workspace: Workspace, answers: Path, name: str) -> int:
    """Fill in the newest queue from the sample's labels, and submit it; return its rows."""
    from ftzard.data import storage
    from ftzard.data.labeling import labeling_queue

    newest = max(workspace.labelling.glob("*.csv"), key=lambda p: p.stat().st_mtime_ns)
    queue = labeling_queue.read_queue(newest)
    labels = pd.read_csv(answers, dtype="str", keep_default_na=False)
    names = {"0": "negative", "4": "positive"}
    by_text = {clean(text): names[target] for text, target in zip(
        labels["text"], labels["target"], strict=True)}
    queue["label"] = queue["text"].map(lambda text: by_text.get(clean(text), ""))
    storage.write_csv(queue, workspace.labelled / f"{name}.csv")
    return int((queue["label"] != "").sum())


def clean(text: str) -> str:
    """Return a text as the queue shows it."""
    from ftzard.core.text import clean_texts

    return clean_texts(pd.Series([text]))[0].as_py()


def sensed(instance, job: str, say: Callable[[str], None], patience: float = 60) -> launch.Outcome:
    """Wait for the sensor to start a new run of a job, and follow it to its end."""
    seen = _seen.setdefault(id(instance), set())
    deadline = time.monotonic() + patience
    while not (run_ids := list(launch.new_runs(instance, seen, job))):
        if time.monotonic() > deadline:
            raise FtzardError(f"no sensor started {job} within {patience:.0f} s; see "
                              ".ftzard/logs/daemon.log in the demo.")
        time.sleep(0.3)
    seen.update(run_ids)
    say(f"the sensor started {job}")
    return launch.follow(instance, run_ids[0], say=say)


_seen: dict[int, set[str]] = {}


def finished(workspace: Workspace, job: str, outcome: launch.Outcome, say: Callable[[str], None]
             ) -> list[tuple]:
    """Print the gate's verdict, and return the table lines of a successful job."""
    if not outcome.success:
        raise FtzardError(f"{job} failed in {outcome.failed_step}: {outcome.failure}\n"
                          f"  notebooks as executed: {workspace.executed / outcome.run_id}")
    lines = []
    for name in JOBS[job]:
        metadata = metadata_if_any(name, workspace)
        rows = [a["rows"] for a in metadata["artifacts"] if a["rows"] is not None]
        lines.append((name, f"{rows[0]:,}" if rows else "",
                      f"{outcome.step_seconds.get(name, 0):.1f}",
                      (metadata.get("commit") or "")[:10]))
        verdict = metadata["facts"].get("verdict")
        if verdict:
            say(f"verdict: {verdict['decision']}. " + " ".join(verdict["reasons"]))
    return lines


def steps_table(lines: list[tuple]) -> Table:
    """Return the table of steps: rows, seconds, data version."""
    table = Table([Column(name, right=name in ("rows", "seconds"))
                   for name in ("step", "rows", "seconds", "data version")])
    for line in lines:
        table.add_row(*line)
    return table


def models_table(workspace: Workspace) -> Table:
    """Return the table of all versions, the base and the baselines, on the same test rows."""
    from ftzard.registry.model_records import records
    from ftzard.reporting.standings import Standings

    model_records = records(workspace, workspace.config().tracking.registered_model)
    verdicts = {int(entry["version"]): entry["verdict"]["decision"] for entry in model_records}
    standings = Standings.of(model_records)
    table = Table([Column(name, right=name not in ("model", "gate")) for name in (
        "model", "accuracy", "95 % interval", "macro F1", "gate")], title=f"on {standings.rows}")
    lines = {**{f"version {n}": line for n, line in standings.scores.items()}, **standings.beside}
    decided = {f"version {n}": verdict for n, verdict in verdicts.items()}
    for name, line in lines.items():
        table.add_row(name, f"{line['accuracy']:.1%}", f"{line['lower']:.1%}–{line['upper']:.1%}",
                      f"{line['macro_f1']:.3f}", decided.get(name, ""))
    return table


def dagster_instance(workspace: Workspace):
    """Return the workspace's Dagster instance, as a context manager."""
    os.environ.update(launch.environment(workspace))
    from dagster import DagsterInstance

    return DagsterInstance.get()
