"""What some sampling strategies rank by, beyond the champion's probabilities of a batch.

Nothing heavy is imported unless the strategy needs a model: the others choose in a second.
"""

from pathlib import Path

import numpy as np
import pandas as pd

from ftzard.errors import ModelError
from ftzard.steps.step_run import StepRun
from ftzard.tracking import registry, runs
from ftzard.tracking.model_version import Version

INSTEAD = "or choose another sampling.strategy, such as least_confidence"


def of(run: StepRun, predictions: pd.DataFrame) -> dict[str, np.ndarray]:
    """Return what `query_strategies.select` needs for the config's strategy, by argument."""
    strategy = run.config.sampling.strategy
    if strategy == "committee":
        return {"disagreement": _disagreement(run, predictions["text"].tolist())}
    if strategy == "diversity":
        return {"embeddings": _embeddings(run, predictions["text"].tolist())}
    return {}


def _champion(run: StepRun) -> Version:
    return registry.champion(run.tracking, run.config.tracking.registered_model)


def _disagreement(run: StepRun, texts: list[str]) -> np.ndarray:
    from ftzard.modeling import reproducibility
    from ftzard.registry import model_records

    reproducibility.set_threads(run.config.threads)
    champion = _champion(run)
    _, spec = model_records.version_files(run.workspace, champion)
    members = committee_of(run, champion)
    run.record_facts(committee=len(members))
    evaluation = run.task.evaluation
    return evaluation.disagreement(evaluation.committee_probabilities(
        members, spec, texts,
        on_member=lambda number: lambda done, total: run.progress(
            done, total, f"trial {number + 1} of {len(members)}, row")))


def _embeddings(run: StepRun, texts: list[str]) -> np.ndarray:
    from ftzard.modeling import reproducibility
    from ftzard.registry import model_records

    reproducibility.set_threads(run.config.threads)
    files = model_records.version_files(run.workspace, _champion(run))
    return run.task.evaluation.embeddings(*files, texts, on_step=run.progress)


def committee_of(run: StepRun, champion: Version) -> list[Path]:
    """Return the unpacked adapters of the trials that the champion, or its ancestor, won.

    Raises ModelError, saying what to do, if they cannot be found or are fewer than two.
    """
    from ftzard.steps.trials import fetch_adapter

    tuning = _tuning_run(run, champion)
    client = run.tracking.client
    trials = runs.children(run.tracking, level=runs.TRIAL, parent=tuning, status="FINISHED")
    members = [{"run_id": trial.info.run_id, "adapter": files[0].path} for trial in reversed(trials)
            if (files := client.list_artifacts(trial.info.run_id, "adapter"))]
    if len(members) < 2:
        raise ModelError(
            f"sampling.strategy=committee: the tuning that {champion} comes from (MLflow run "
            f"{tuning}) has {len(members)} trials with an adapter; a committee needs two or more. "
            f"Train again with tuning.trials=3, {INSTEAD}.")
    return [fetch_adapter(run, trial) for trial in members]


def _tuning_run(run: StepRun, champion: Version) -> str:
    """Return the id of the HP_TUNING run that the first of the champion's line was chosen from."""
    from ftzard.registry import model_records
    from ftzard.registry.model_record import ModelRecord

    version = champion
    while True:
        entry = model_records.read_record(run.workspace, version)
        if entry is None or entry.get("parent") is None:
            break
        version = registry.version(run.tracking, champion.name, entry["parent"])
    entry = entry or ModelRecord()
    tuning_runs = runs.children(run.tracking, "HP_TUNING", status="FINISHED")
    known = {run.info.run_id for run in tuning_runs}
    if entry.get("tuning_run") in known:
        return entry["tuning_run"]
    same = [run.info.run_id for run in tuning_runs if entry.get("dagster_run")
            and run.data.tags.get("dagster_run_id") == entry["dagster_run"]]
    if not same:
        raise ModelError(
            f"sampling.strategy=committee: this MLflow store has no tuning run that {champion} "
            f"comes from (its line begins with {version}), so its trials' adapters are not here; "
            f"they are MLflow artifacts, which a clone does not bring. Run "
            f"'ftzard run training_pipeline_job' here, {INSTEAD}.")
    return same[0]
