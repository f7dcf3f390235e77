"""The Dagster code location: one Definitions, and nothing heavy imported for it."""

import os

from dagster import Definitions

from ftzard.config.pipeline import JOBS
from ftzard.orchestration import assets, launchpad
from ftzard.orchestration.jobs import build
from ftzard.orchestration.schedules import schedules
from ftzard.orchestration.sensors import sensors

workspace = launchpad.workspace_here(os.environ.get("FTZARD_WORKSPACE") or os.getcwd())
jobs = {name: build(name, workspace) for name in JOBS}

defs = Definitions(
    assets=assets.specs(),
    jobs=list(jobs.values()),
    sensors=sensors(jobs),
    schedules=schedules(jobs),
)


def __getattr__(name: str):
    """Let `ftzard.definitions.<job>` be the job, for `dagster job execute` and reconstruction."""
    if name in jobs:
        return jobs[name]
    raise AttributeError(name)
