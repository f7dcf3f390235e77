"""The queries of `sqlite_reading` through MLflow, for a store that is not a readable SQLite file.
"""

from ftzard.tracking import registry, runs
from ftzard.tracking.model_version import Version
from ftzard.tracking.run_facts import RunFacts
from ftzard.tracking.runs import Tracking
from ftzard.tracking.store import Store


class Asked:
    """Who answers for an open connection; the questions are those of `reading.Reading`."""

    def __init__(self, tracking: Tracking) -> None:
        self.tracking = tracking

    @property
    def shown(self) -> str:
        return self.tracking.client.shown

    def names(self) -> list[str]:
        return registry.names(self.tracking)

    def versions(self, name: str) -> list[Version]:
        return registry.versions(self.tracking, name)

    def aliases(self, name: str) -> dict[str, int]:
        return registry.aliases(self.tracking, name)

    def by_alias(self, name: str, alias: str) -> Version | None:
        return registry.by_alias(self.tracking, name, alias)

    def executions(self, run_name: str | None = None, *, datasets: bool = False) -> list[RunFacts]:
        if not self.tracking.experiment_id:
            return []
        return [_facts(run) for run in runs.children(self.tracking, run_name)]

    def latest(self, run_name: str) -> tuple[int, RunFacts | None]:
        executions = self.executions(run_name)
        return len(executions), executions[0] if executions else None

    def run(self, run_id: str) -> RunFacts | None:
        entity = runs.known(self.tracking, run_id)
        return _facts(entity) if entity is not None else None


def opened(uri: str, experiment: str) -> Asked:
    """Return who answers for a store, which is looked at and not changed.

    An experiment that is not there yet has no executions. Raises TrackingError if the store cannot
    be reached, or if the experiment was deleted.
    """
    client = Store(uri)
    entity = client.get_experiment_by_name(experiment)
    if entity is not None:
        runs.require_active(client, entity)
    return Asked(Tracking(client, entity.experiment_id if entity else "", uri, experiment))


def _facts(run) -> RunFacts:
    logged = run.inputs.dataset_inputs if run.inputs else ()
    return RunFacts(
        run.info.run_id, run.info.run_name, run.info.status, run.info.start_time or 0,
        run.info.end_time, dict(run.data.tags), dict(run.data.metrics),
        tuple((d.dataset.name, d.dataset.source) for d in logged))
