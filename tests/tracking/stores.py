"""A store with registered versions and executions that took no training."""

from ftzard.tracking import registry, runs
from ftzard.tracking.sqlite_reading import of_workspace


def registered(workspace, name: str, *, versions: int, champion: int | None = None
               ) -> runs.Tracking:
    """Register versions of a model, each with a finished execution; return the open connection."""
    tracking = of_workspace(workspace, workspace.config()).tracking
    parent = runs.top_level(tracking, "RETRAINING", workspace.state / "mlflow.lock")
    tracking.client.create_registered_model(name)
    for number in range(1, versions + 1):
        run = runs.start_child(tracking, parent, {"step": "retraining"})
        run.metrics({"accuracy": 0.5 + number / 100})
        run.end()
        tracking.client.create_model_version(
            name, source=f"runs:/{run.id}/model", run_id=run.id,
            tags={"base_model": "falcon_tiny", registry.SIZE: str(1000 * number)})
    if champion is not None:
        registry.move(tracking, name, champion=registry.version(tracking, name, champion))
    return tracking
