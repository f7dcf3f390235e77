"""Trainings on a cluster: what is sent for each, and what comes back of it."""

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pandas as pd

from ftzard.compute.cluster import Cluster, Result
from ftzard.compute.request import Request
from ftzard.config.training_config import TrainingConfig
from ftzard.core.artifacts import sha256
from ftzard.data import storage
from ftzard.errors import ComputeError
from ftzard.modeling.adapter_meta import weights_file
from ftzard.modeling.base_model import LoadedBase
from ftzard.steps.step_run import StepRun, scratch
from ftzard.steps.trials import TrialLog
from ftzard.training.fit import Fitted
from ftzard.training.search import Ended, FitGroup, Proposed
from ftzard.training.trainer import Trained

#: Steps between two checkpoints of a trial that has none on this machine.
_CHECKPOINT_STEPS = 50


class ClusterFit:
    """The cluster as it trains on the rows of one step; its inputs are sent once.

    Args:
        run: The step.
        loaded: The base, which a node loads again and compares by its hash.
        train: Tokenized training rows.
        validation: Tokenized validation rows.
        extra: Goes into each adapter's ftzard.json.
        start_from: Folder of an adapter whose weights to begin with.
    """

    def __init__(self, run: StepRun, loaded: LoadedBase, train: pd.DataFrame,
                 validation: pd.DataFrame, extra: Mapping[str, Any],
                 start_from: Path | None = None):
        self.run, self._scratch = run, scratch()
        self.cluster = open_cluster(run)
        spec = loaded.spec.to_dict()
        inputs: dict[str, Any] = {"rows": self.cluster.input_file(storage.write_parquet(
            pd.concat([train.assign(split="train"), validation.assign(split="validation")],
                      ignore_index=True), self._scratch / "rows.parquet"))}
        if Path(spec["source"]).is_dir():
            inputs["base"] = self.cluster.input_folder(Path(spec["source"]))
            spec["source"] = None
        if start_from is not None:
            inputs["start_from"] = self.cluster.input_folder(start_from)
        self._inputs = inputs
        self._values = {
            "spec": spec, "labels": list(loaded.labels), "weight_hash": loaded.weight_hash,
            "task": run.config.task.kind, "extra": dict(extra), "threads": run.config.threads,
            "checkpoint_steps": run.config.training.checkpoint_steps or _CHECKPOINT_STEPS}

    def fit_group(self, log: TrialLog) -> FitGroup:
        """Return what trains trials at once, each a job; their epochs are recorded as they come."""

        def fit(group: Sequence[Proposed], ended: Sequence[Ended] | None) -> Iterable[Fitted]:
            requests = [self._request(one.config, ended) for one in group]
            for one in group:
                log.start(one.number, dict(one.params))
            return self._run(requests, [one.number for one in group], log.epoch, log.step)

        return fit

    def fit(self, config: TrainingConfig, on_epoch: Callable[[dict[str, Any]], object]) -> Fitted:
        """Train one adapter as a job; its epochs are recorded as they come."""
        (fitted,) = self._run(
            [self._request(config, None)], [0], lambda entry, _: on_epoch(entry),
            lambda done, total, _: self.run.progress(done, total))
        return fitted

    def _run(self, requests: list[Request], numbers: list[int],
             on_epoch: Callable[[dict[str, Any], int], object],
             on_step: Callable[[int, int, int], object]) -> list[Fitted]:
        known: set[tuple[int, int]] = set()

        def record(place: int, event: dict[str, Any]) -> None:
            number = numbers[place]
            if "epoch" in event:  # one that a later attempt tells again is known
                entry = event["epoch"]
                losses = {int(step): loss for step, loss in entry.pop("step_losses", {}).items()}
                if (number, entry["epoch"]) not in known:
                    known.add((number, entry["epoch"]))
                    on_epoch({**entry, "step_losses": losses}, number)
            elif "done" in event:
                on_step(event["done"], event["total"], number)
            elif "node" in event:
                print(f"training {number} runs on {event['node']}", flush=True)

        results = self.cluster.run(requests, record)
        return [self._fitted(number, result)
                for number, result in zip(numbers, results, strict=True)]

    def _request(self, config: TrainingConfig, ended: Sequence[Ended] | None) -> Request:
        earlier = None if ended is None else [[e.value, sorted(e.epochs.items())] for e in ended]
        values = {**self._values, "config": asdict(config), "earlier": earlier}
        return Request("fit", json.loads(json.dumps(values)), self._inputs,
                       tuple(self.run.config.compute.env or ()))

    def _fitted(self, number: int, result: Result) -> Fitted:
        folder = result.fetch(self._scratch / f"trial_{number}")
        values = result.values
        if sha256(weights_file(folder)) != values["recipe"]["weights_sha256"]:
            raise ComputeError(f"the adapter of training {number} has other weights than its "
                               "recipe says; it was not used. Delete the request in the storage, "
                               "then run the step again.")
        return Fitted(Trained(**values["trained"]), folder, values["recipe"], values["peak"])


def open_cluster(run: StepRun) -> Cluster:
    """Return the cluster that the config names, checked."""
    cluster = Cluster(run.config.compute, run.config.threads, run.workspace.state,
                      lambda line: print(line, flush=True))
    run.mlflow_run.tags({"compute": "ray", "cluster": cluster.jobs.address})
    return cluster
