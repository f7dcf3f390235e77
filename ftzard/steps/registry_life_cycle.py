"""The notebook Registry_Life_Cycle: a registered model from its first version to its deletion.

It uses registered names of its own, so that the champion is not touched, and leaves only its run.
"""

import os
from dataclasses import asdict, replace
from pathlib import Path

import pandas as pd

from ftzard.config.pipeline import Step
from ftzard.config.training_config import TrainingConfig
from ftzard.core import archive
from ftzard.modeling.adapter_meta import read_meta
from ftzard.modeling.base_model import load_base
from ftzard.registry import compare as comparing
from ftzard.registry import delete as deletion
from ftzard.registry import lookup, model_records
from ftzard.registry.register import register as register_adapter
from ftzard.registry.register import register_base as register_bare_base
from ftzard.steps.step_run import StepRun, scratch
from ftzard.steps.trials import log_epoch
from ftzard.tasks.comparison import Comparison, description
from ftzard.tasks.comparison_page import speed_of
from ftzard.tracking import registry
from ftzard.tracking.model_version import Version, base_name
from ftzard.training.fit import fit

#: Not one of the steps that Dagster runs: a person reads it and runs it by hand.
STEP = Step("registry_life_cycle", "Registry_Life_Cycle", "REGISTRY_LIFE_CYCLE", ("tokenized",),
            models=True, about="Register base and tuned model, compare them, delete them again.")
#: Rows that are trained on: enough to differ from the base, and soon done.
ROWS = 400
EXAMPLE = ("The best day in a long time.", "It never arrived, and nobody answers.")


def name(run: StepRun) -> str:
    """Return the name of the notebook's own registered model."""
    return f"{run.config.tracking.registered_model}-life-cycle"


def who(run: StepRun) -> pd.DataFrame:
    """Return where runs are recorded and as which user, from the environment."""
    user = os.environ.get("MLFLOW_TRACKING_USERNAME")
    return pd.DataFrame({"": {
        "tracking URI": run.tracking.client.shown,
        "user": user or "none (MLFLOW_TRACKING_USERNAME is not set)",
        "experiment": run.config.tracking.experiment, "model": name(run),
        "base": base_name(name(run))}})


def train(run: StepRun, rows: pd.DataFrame) -> Path:
    """Return the folder of an adapter, trained on the first rows."""
    config = run.config
    loaded = load_base(model_records.base_spec(run.workspace, config.model, config.task.kind),
                       run.task.model.head_labels(rows))
    parts = {side: rows[rows["split"] == side].head(ROWS) for side in ("train", "validation")}
    return fit(loaded, parts["train"], parts["validation"], task=run.task,
               config=TrainingConfig.of(config), folder=scratch() / "adapter",
               extra=run.task.model.adapter_meta(config, loaded.tokenizer, run.cleaning),
               on_epoch=lambda entry: log_epoch(
                   run.mlflow_run, entry, run.task.model.EPOCH_METRIC)).folder


def register(run: StepRun, folder: Path) -> Version:
    """Register a trained adapter as a new version."""
    meta = read_meta(folder)
    return register_adapter(
        run.mlflow_run, name(run), adapter=archive.pack(folder, scratch() / "adapter.zip"),
        base=model_records.shipped_base(run.workspace, run.config.model, scratch()),
        example=EXAMPLE, labels=meta["labels"],
        tags={"base_model": run.config.model.source or run.config.model.name,
              **model_records.hashes(meta), "ftzard_run": run.mlflow_run.id})


def register_base(run: StepRun, folder: Path, **loaded: object) -> Version:
    """Register the bare base of an adapter; the same base again is no new version.

    Args:
        loaded: How it is loaded, where that differs, as quantisation='none'.
    """
    meta = read_meta(folder)
    version, new = register_bare_base(
        run.mlflow_run, base_name(name(run)), spec={**meta["base"]["spec"], **loaded},
        hashes=model_records.hashes(meta), labels=meta["labels"], cleaning=meta["cleaning"],
        archive=model_records.shipped_base(run.workspace, run.config.model, scratch()),
        example=EXAMPLE, tags={"base_model": run.config.model.source or run.config.model.name,
                               "ftzard_run": run.mlflow_run.id})
    print(f"{version} {'is new' if new else 'was there already'}")
    return version


def table(run: StepRun) -> pd.DataFrame:
    """Return the versions of the notebook's own models as `ftzard models list` shows them."""
    names = registry.names(run.tracking)
    lines = [line for model in (name(run), base_name(name(run))) if model in names
             for line in lookup.listing(run.workspace, model)]
    columns = ["model", "version", "kind", "base", "size_bytes", "created"]
    return pd.DataFrame(lines, columns=columns)


def infer(run: StepRun, versions: list[Version], texts: list[str]) -> pd.DataFrame:
    """Return each version's predictions of raw texts, loaded from MLflow without FTzard's code."""
    inputs = pd.DataFrame({"text": texts})
    columns = {}
    for version in versions:
        predictions = registry.load(run.tracking, version).predict(inputs)
        columns[str(version)] = [f"{row.label} {row.confidence:.2f}"
                                 for row in predictions.itertuples()]
    return inputs.assign(**columns)


def compare(run: StepRun, first: Version, second: Version, rows: pd.DataFrame) -> Comparison:
    """Compare two versions on the test rows, each in its own process."""
    test = rows[rows["split"] == "test"].reset_index(drop=True)
    models = [lookup.files_of(run.workspace, run.tracking, v) for v in (first, second)]
    comparison = comparing.compare_on(
        models, test, description("the test rows", test), asked=(str(first), str(second)),
        config=run.config)
    run.log(**{f"{side}_{score}": values[side]["value"]
               for score, values in comparison.scores.items() for side in ("first", "second")})
    print(comparison.verdict())
    return comparison


def scores(comparison: Comparison) -> pd.DataFrame:
    """Return a comparison as a table: scores with intervals, latency, throughput, memory."""
    lines = {}
    for score, values in comparison.scores.items():
        lines[score] = [f"{100 * v['value']:.1f} % ({100 * v['lower']:.1f} to "
                        f"{100 * v['upper']:.1f})" for v in (values["first"], values["second"])]
    lines["one row"] = [speed_of(asdict(s), "latency_ms") for s in comparison.speeds]
    lines["tokens per second"] = [speed_of(asdict(s), "tokens_per_second")
                                  for s in comparison.speeds]
    lines["peak memory, MB"] = ["unknown" if s.peak_bytes is None else f"{s.peak_bytes / 1e6:,.0f}"
                                for s in comparison.speeds]
    return pd.DataFrame.from_dict(lines, orient="index", columns=list(comparison.names))


def delete(run: StepRun, what: str | Version) -> None:
    """Delete a version or a whole model of the notebook, with its files in MLflow."""
    plan = deletion.planned(run.workspace, str(what))
    done = deletion.carry_out(run.workspace, replace(plan, force=False), say=print)
    print("\n".join([f"{done.name} is deleted: {', '.join(done.versions)}", *done.stays]))
