"""The config of a step on the champion: a retraining takes values from the champion's record."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from ftzard.config.pipeline import Step
from ftzard.registry import champion_alias, effective_config, model_records
from ftzard.tracking import runs

if TYPE_CHECKING:
    from ftzard.steps.step_location import StepLocation
    from ftzard.steps.step_run import StepRun


def require_champion_known(step: Step, location: StepLocation, tracking: runs.Tracking) -> None:
    """Raise TrackingError if a step with models meets a registry that has lost the champion."""
    if step.models:
        champion_alias.champion(location.workspace, tracking,
                                location.config.tracking.registered_model)


def effective_location(step: Step, location: StepLocation, tracking: runs.Tracking
                       ) -> tuple[StepLocation, dict[str, tuple[Any, ...]]]:
    """Return the location with the config that a step uses, and the values it does not use.

    Returns:
        The location, and {key: (configured value, used value)}; empty except for a retraining.
    """
    if step.name != "retraining":
        return location, {}
    champion = champion_alias.champion(location.workspace, tracking,
                                       location.config.tracking.registered_model)
    champion_record = model_records.read_record(location.workspace, champion) if champion else None
    if champion_record is None:
        return location, {}
    used = effective_config.retrained(location.config, champion_record)
    return (replace(location, config=used),
            effective_config.not_used(location.config, used, location.sources))


def record_not_used(run: StepRun, not_used: Mapping[str, tuple[Any, ...]]) -> None:
    """Print and record the configured values that a step does not use."""
    if not not_used:
        return
    for key, values in not_used.items():
        print(effective_config.sentence(key, values), flush=True)
    recorded = {key: {"asked": configured, "used": used}
                for key, (configured, used) in not_used.items()}
    run.record_facts(config_not_used=recorded)
    run.mlflow_run.tags({"config_not_used": json.dumps(recorded)})
