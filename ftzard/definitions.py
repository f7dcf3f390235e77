"""The Dagster code location: one Definitions, and nothing heavy imported for it."""

from dagster import AssetSpec, Definitions

from ftzard.pipeline.jobs import build
from ftzard.pipeline.schedules import schedules
from ftzard.pipeline.sensors import sensors
from ftzard.steps import JOBS, STEPS

artifacts = {name for step in STEPS for name in step.yields}
jobs = {name: build(name) for name in JOBS}

defs = Definitions(
    assets=[AssetSpec(name, group_name="artifacts",
                      deps=[taken for taken in step.takes if taken in artifacts],
                      description=f"Written by {step.name} ({step.notebook}).")
            for step in STEPS for name in step.yields],
    jobs=list(jobs.values()),
    sensors=sensors(jobs),
    schedules=schedules(jobs),
)


def __getattr__(name: str):
    """Let `ftzard.definitions.<job>` be the job, for `dagster job execute` and reconstruction."""
    if name in jobs:
        return jobs[name]
    raise AttributeError(name)
