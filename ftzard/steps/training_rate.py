"""The training speed that an estimate assumes: measured by an earlier run, or a default."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ftzard.config.pipeline import BY_NAME
from ftzard.config.schema import Config
from ftzard.tracking import workspace_store
from ftzard.workspace.workspace import Workspace

if TYPE_CHECKING:
    from ftzard.modeling.memory import Device
    from ftzard.steps.machine import Machine
    from ftzard.training.memory_estimate import Sizes

#: The steps that train.
TRAINING = ("tuning", "retraining")


def training_rate(workspace: Workspace, config: Config, sizes: Sizes | None, device: Device,
                  machine: Machine | None) -> tuple[float, str | None]:
    """Return tokens per second of training, and the run that measured them, if any.

    Measurements are not used for another machine.
    """
    from ftzard.training import memory_estimate

    measured = _measured(workspace, config) if machine is None else None
    if measured is not None:
        return measured
    threads = machine.threads if machine and machine.threads else config.threads
    return memory_estimate.default_rate(sizes.computing if sizes else 0, device.kind, threads), None


def _measured(workspace: Workspace, config: Config) -> tuple[float, str] | None:
    """Return the tokens per second of the latest training of the same base, and its run."""
    tracking = workspace_store.store(workspace, config)
    if tracking is None:
        return None
    from ftzard.tracking import runs

    alike = {"model.name": config.model.name, "model.quantisation": config.model.quantisation,
             "model.compute_dtype": config.model.compute_dtype, "threads": str(config.threads)}
    for step in TRAINING:
        for run in runs.children(tracking, BY_NAME[step].run_name, status="FINISHED"):
            if any(run.data.params.get(key) != value for key, value in alike.items()):
                continue
            trials = runs.children(tracking, level=runs.TRIAL, parent=run.info.run_id)
            rates = [r.data.metrics["tokens_per_second"] for r in (*trials, run)
                     if "tokens_per_second" in r.data.metrics]
            if rates:
                return float(np.median(rates)), runs.title(run)
    return None
