"""The notices of a round: what each event says, and where it leads."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ftzard.workspace import addresses
from ftzard.workspace.notices import Notice
from ftzard.workspace.workspace import Workspace

_TITLES = {"promote": "is champion", "refuse": "was refused",
           "no champion yet": "was refused; there is no champion yet",
           "cannot tell": "could not be judged"}


def verdict(workspace: Workspace, model: str, number: int, verdict: Mapping[str, Any],
            server: str | None) -> Notice:
    """Return the notice of a decision of the gate."""
    reasons = list(verdict["reasons"])
    base = addresses.mlflow_address(workspace, server)
    return Notice(
        f"verdict/{model}@{number}", "verdict",
        f"{model}@{number} {_TITLES.get(verdict['decision'], verdict['decision'])}", reasons[:2],
        links=(("model", addresses.mlflow_model(base, model, number)),
               ("report", str(workspace.report))))


def alarm(workspace: Workspace, batch: str, champion: int) -> Notice:
    """Return the notice of a batch that drifts."""
    return Notice(
        f"alarm/{batch}@{champion}", "alarm", f"batch {batch} drifts",
        [f"The texts of batch {batch} differ from those that version {champion} was trained on "
         "by more than chance explains.",
         "Label some of them and retrain; 'ftzard status' says which statistic moved."],
        links=(("report", str(workspace.report)),))


def waiting(workspace: Workspace, batch: str, texts: Sequence[str]) -> Notice:
    """Return the notice of rows that wait for labels."""
    return Notice(
        f"waiting/{batch}/{len(texts)}", "waiting", f"{len(texts):,} rows wait for labels",
        [f"{len(texts):,} rows of batch {batch} were chosen for labels.",
         f"'ftzard label --web -w {workspace.in_shell}' asks for them."],
        quoting=[f"The first: {text[:200]}" for text in texts[:1]],
        links=(("queue", str(workspace.labelling / f"{batch}.csv")),))


def failed(workspace: Workspace, job: str, run_id: str, step: str | None, sentence: str | None
           ) -> Notice:
    """Return the notice of a run that failed."""
    return Notice(
        f"failed/{run_id}", "failed", f"{job} failed",
        [f"{job} failed{f' in {step}' if step else ''}.",
         "The run's page and 'ftzard doctor' say why; after that it can be started again."],
        quoting=[sentence] if sentence else [],
        links=(("run", addresses.dagster_run(workspace, run_id)),))


def dead(workspace: Workspace, run_id: str) -> Notice:
    """Return the notice of a run whose process is gone."""
    return Notice(
        f"failed/{run_id}", "failed", "a run died",
        ["The process that worked on a run is gone; the run was closed.",
         "Start its job again: a training goes on where it was."],
        links=(("run", addresses.dagster_run(workspace, run_id)),))


def refused(workspace: Workspace, file: Path, content: str, sentence: str) -> Notice:
    """Return the notice of a dropped file that was set aside."""
    return Notice(
        f"refused/{content}/{file.name}", "refused", f"{file.name} was refused",
        [f"{file.name} could not be used and was set aside in data/quarantine.",
         "Its report, beside it, says what to mend."],
        quoting=[sentence],
        links=(("report", str(file.with_name(f"{file.name}.report.txt"))),))


def too_few(workspace: Workspace, total: int, least: int, files: Mapping[Path, int]) -> Notice:
    """Return the notice of labels that are fewer than a retraining takes."""
    return Notice(
        f"too_few/{total}/{least}/{'/'.join(sorted(path.name for path in files))}", "too_few",
        f"{total} of {least} labels",
        [f"{total} new labels were handed in; a retraining takes {least} (sampling.min_labelled).",
         "They wait in data/labelled until there are as many."])
