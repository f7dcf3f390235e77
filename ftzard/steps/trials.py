"""The trials of a search as runs: each a grandchild with its learning curve and its adapter."""

import json
from pathlib import Path
from typing import Any

from ftzard.core import archive
from ftzard.core.artifacts import sha256
from ftzard.errors import DataError, ModelError
from ftzard.steps import plan, run_description
from ftzard.steps.step_run import StepRun, scratch
from ftzard.tracking import runs
from ftzard.training.ended_fits import EndedFits
from ftzard.workspace import step_results


class TrialLog:
    """Records a search; pass `callbacks` to `search`."""

    def __init__(self, run: StepRun):
        self.run, self.number = run, 0
        self.done: list[Any] = []
        self.open: dict[int, runs.Run] = {}
        note_plan(run)

    @property
    def callbacks(self) -> dict[str, Any]:
        return {"on_trial_start": self.start, "on_step": self.step, "on_epoch": self.epoch,
                "on_trial_end": self.end, "force": self.run.force,
                "results": EndedFits(step_results.folder(self.run.workspace) / "trials",
                                     lambda: self.open[self.number].id)}

    def start(self, number: int, params: dict[str, Any]) -> None:
        self.number, self.open[number] = number, self.run.trial(number, params)
        shown = ", ".join(f"{k} {v:.3g}" for k, v in params.items())
        print(f"trial {number}: {shown}", flush=True)

    def step(self, done: int, total: int, number: int | None = None) -> None:
        """Show how far a trial is; number: default the one that began last."""
        self.run.progress(done, total, f"trial {self.number if number is None else number}, step")

    def epoch(self, entry: dict[str, Any], number: int | None = None) -> None:
        """Record an epoch of a trial; number: default the one that began last."""
        trial = self.open[self.number if number is None else number]
        log_epoch(trial, entry, self.run.task.model.EPOCH_METRIC,
                  "" if number is None else f"trial {number}, ")

    def end(self, trial: Any) -> None:
        """Record what a trial gave, with its adapter, and close its run."""
        run = self.open.pop(trial.number)
        packed = archive.pack(trial.folder, trial.folder.with_suffix(".zip"))
        run.artifact(packed, "adapter")
        note_resumption(run, trial.trained.resumed_at)
        if trial.trained.origin:
            print(f"trial {trial.number} was not trained again: rows, values and code are those of "
                  f"the trial of MLflow's run {trial.trained.origin}", flush=True)
            run.tags({"trained_in": trial.trained.origin})
        if trial.trained.pruned:
            print(f"trial {trial.number} stopped: below the earlier ones at this epoch", flush=True)
            run.tags({"pruned": True})
        run.metrics({f"best_{k}": v for k, v in trial.metrics.items()})
        run.tags({runs.NOTE: run_description.of_trial(trial.params, trial.metrics)})
        self.run.end_trial(run)
        self.done.append({
            "name": f"trial {trial.number}", "number": trial.number, "run_id": run.id,
            "params": trial.params, "metrics": trial.metrics,
            "pruned": trial.trained.pruned, "history": trial.trained.history,
            "best_epoch": trial.trained.best_epoch,
            "adapter": f"adapter/{packed.name}", "sha256": sha256(packed),
            "recipe": trial.recipe})

    def ranked(self, trials: list[Any]) -> list[dict[str, Any]]:
        """Return the recorded trials in the search's order, best first; record their peak."""
        note_peak(self.run, *(trial.peak for trial in trials))
        by_number = {t["number"]: t for t in self.done}
        return [by_number[t.number] for t in trials]


def log_epoch(run: runs.Run, entry: dict[str, Any], metric: str, of: str = "") -> None:
    """Record and print an epoch's metrics, and record the loss of each of its steps.

    Args:
        metric: Of the epoch, printed beside the losses.
        of: What the epoch is of.
    """
    run.metrics({k: v for k, v in entry.items() if k not in ("epoch", "step_losses")},
                step=entry["epoch"])
    run.series("train_loss_per_step", entry.get("step_losses") or {})
    print(f"{of}epoch {entry['epoch']}: train loss {entry['train_loss']:.3f}, validation loss "
          f"{entry['validation_loss']:.3f}, {metric} {entry[metric]:.3f}", flush=True)


def note_plan(run: StepRun) -> None:
    """Record the estimate of the step before it begins: `plan.json` and the peak."""
    estimate = plan.plan_of(run.workspace, f"{run.step.name}_job", run.config)
    run.mlflow_run.text(json.dumps(estimate.to_dict(), indent=1), "plan.json")
    if estimate.memory is not None:
        run.log(estimated_peak_mb=estimate.memory.to_dict()["total_mb"])


def note_peak(run: StepRun, *peaks: int | None) -> None:
    """Record the largest measured peak beside the estimate, if one was measured."""
    if any(peaks):
        run.log(measured_peak_mb=round(max(filter(None, peaks)) / 2**20, 1))


def note_resumption(run: runs.Run, steps: int) -> None:
    """Print and record that training was resumed from a checkpoint, if it was."""
    if steps:
        print(f"went on from the checkpoint of an interrupted run, after step {steps}", flush=True)
        run.tags({"resumed_at_step": steps})


def fetch_adapter(run: StepRun, trial: dict[str, Any]) -> Path:
    """Return the unpacked adapter of a recorded trial, from MLflow's artifacts.

    Raises:
        DataError: the trials were trained on other rows than this step has, so that the model's
            record would not be true.
        ModelError: the adapter is not the one that was recorded.
    """
    _require_same_rows(run)
    folder = scratch()
    zipped = run.tracking.client.download_artifacts(trial["run_id"], trial["adapter"],
                                                        str(folder))
    if sha256(Path(zipped)) != trial.get("sha256", sha256(Path(zipped))):
        raise ModelError(
            f"the adapter of {trial['name']} in MLflow's run {trial['run_id']} has other bytes "
            "than tuning has recorded; 'ftzard run tuning_job --force' trains it again.")
    return archive.unpack(Path(zipped), run.workspace.cache)


def _require_same_rows(run: StepRun) -> None:
    known = run.metadata.get("facts", {}).get("tokenized")
    if run.step.after == "tuning" and known not in (None, run.inputs["tokenized"].sha256):
        raise DataError(
            f"the latest trials were trained on other rows than {run.inputs['tokenized'].path} has "
            f"now (sha256 {known[:12]}, now {run.inputs['tokenized'].sha256[:12]}); expected the "
            "same, since the model's record says which rows it learned. Run 'ftzard run "
            "tuning_job' first, or training_pipeline_job, which does both.")


def curves(trials: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return trials as the learning curves are drawn from: the first is the best."""
    return [{"name": t["name"], "params": t["params"], "best": i == 0, "history": t["history"],
             "best_epoch": t.get("best_epoch"), "pruned": t.get("pruned", False)}
            for i, t in enumerate(trials)]


def tried(trials: list[dict[str, Any]], metric: str) -> list[dict[str, Any]]:
    """Return ranked trials as `plots.trials` draws them."""
    return [{"name": t["name"], "params": t["params"], "best": i == 0, "pruned": t["pruned"],
             "value": t["metrics"][metric]}
            for i, t in enumerate(trials)]
