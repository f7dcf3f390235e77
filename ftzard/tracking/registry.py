"""The model registry: versions, and the aliases champion, challenger and previous.

`move` is the only function that gives an alias to a version; the gate's verdict says when.
"""

import tempfile
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import mlflow
from mlflow.exceptions import MlflowException
from mlflow.models import ModelSignature
from mlflow.types import ColSpec, DataType, Schema
from mlflow.types.schema import Array

from ftzard.errors import TrackingError
from ftzard.tracking.runs import Run, Tracking

CHAMPION, CHALLENGER, PREVIOUS = "champion", "challenger", "previous"
REQUIREMENTS = ("mlflow", "torch", "transformers", "peft", "bitsandbytes", "safetensors", "pandas")
_SERVED = Path(__file__).with_name("served.py")


@dataclass(frozen=True)
class Version:
    """One version of a registered model."""

    name: str
    number: int
    run_id: str
    tags: dict[str, str]

    def __str__(self) -> str:
        return f"{self.name}@{self.number}"


def register(run: Run, name: str, *, adapter: Path, base: Path | None,
             tags: Mapping[str, object]) -> Version:
    """Log an adapter (and its base's archive, if no hub has it) as a pyfunc and register it.

    adapter, base: zip archives. Returns the new version, which has no alias yet.
    """
    client = run.tracking.client
    with tempfile.TemporaryDirectory() as folder:
        model = Path(folder) / "model"
        # mlflow would like an input example to guess a signature from; the signature is given.
        try:
            with warnings.catch_warnings(action="ignore", category=UserWarning):
                mlflow.pyfunc.save_model(
                    model, python_model=str(_SERVED), signature=_signature(),
                    artifacts={"adapter": str(adapter), **({"base": str(base)} if base else {})},
                    pip_requirements=_pinned())
        except OSError as error:
            raise TrackingError(
                f"the files of '{name}' for MLflow cannot be written to {folder}: {error}. Free "
                "space there, or let TMPDIR name another folder, and run the step again; nothing "
                "was registered.") from error
        client.log_artifacts(run.id, str(model), "model")
    try:
        client.create_registered_model(name)
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise
    made = client.create_model_version(
        name, source=f"runs:/{run.id}/model", run_id=run.id,
        tags={k: str(v) for k, v in tags.items()})
    return Version(name, int(made.version), run.id, dict(made.tags))


def _signature() -> ModelSignature:
    return ModelSignature(
        inputs=Schema([ColSpec(DataType.string, "text")]),
        outputs=Schema([ColSpec(DataType.string, "label"),
                        ColSpec(DataType.double, "confidence"),
                        ColSpec(Array(DataType.double), "probabilities")]))


def _pinned() -> list[str]:
    from importlib.metadata import version as installed

    return [f"{name}=={installed(name).split('+')[0]}" for name in REQUIREMENTS]


def by_alias(tracking: Tracking, name: str, alias: str) -> Version | None:
    """Return the version that carries an alias, or None."""
    try:
        found = tracking.client.get_model_version_by_alias(name, alias)
    except MlflowException:
        return None
    return Version(name, int(found.version), found.run_id, dict(found.tags))


def champion(tracking: Tracking, name: str) -> Version:
    """Return the champion; raises TrackingError if the model has none yet."""
    found = by_alias(tracking, name, CHAMPION)
    if found is None:
        raise TrackingError(
            f"the model '{name}' has no champion yet; run 'ftzard run training_pipeline_job' "
            "first, and look at its verdict if it refused.")
    return found


def move(tracking: Tracking, name: str, *, champion: Version | None = None,
         challenger: Version | None = None) -> None:
    """Move the aliases: the old champion becomes previous, a new champion is challenger no more."""
    client = tracking.client
    if challenger is not None:
        client.set_registered_model_alias(name, CHALLENGER, str(challenger.number))
    if champion is None:
        return
    before, waiting = by_alias(tracking, name, CHAMPION), by_alias(tracking, name, CHALLENGER)
    if before is not None and before.number != champion.number:
        client.set_registered_model_alias(name, PREVIOUS, str(before.number))
    client.set_registered_model_alias(name, CHAMPION, str(champion.number))
    if waiting is not None and waiting.number == champion.number:
        client.delete_registered_model_alias(name, CHALLENGER)


def tag(tracking: Tracking, version: Version, values: Mapping[str, object]) -> None:
    """Set tags on a version."""
    for key, value in values.items():
        tracking.client.set_model_version_tag(version.name, str(version.number), key,
                                              str(value)[:5000])


def version(tracking: Tracking, name: str, number: int) -> Version:
    """Return a version by its number; raises TrackingError if there is none."""
    try:
        found = tracking.client.get_model_version(name, str(number))
    except MlflowException as error:
        raise TrackingError(
            f"the model '{name}' has no version {number}; it has "
            f"{[v.number for v in versions(tracking, name)]}.") from error
    return Version(name, int(found.version), found.run_id, dict(found.tags))


def versions(tracking: Tracking, name: str) -> list[Version]:
    """Return all versions of a model, oldest first."""
    found = tracking.client.search_model_versions(f"name = '{name}'")
    return sorted((Version(name, int(v.version), v.run_id, dict(v.tags)) for v in found),
                  key=lambda v: v.number)


def aliases(tracking: Tracking, name: str) -> dict[str, int]:
    """Return {alias: number} as the store holds it, a version that does not exist included."""
    try:
        found = tracking.client.get_registered_model(name).aliases
    except MlflowException:
        return {}
    return {alias: int(number) for alias, number in found.items()}


def drop(tracking: Tracking, name: str, alias: str) -> None:
    """Take an alias away that names a version which does not exist."""
    tracking.client.delete_registered_model_alias(name, alias)


def delete(tracking: Tracking, version: Version) -> None:
    """Delete a version that was only half registered; refuses one that carries an alias."""
    held = [alias for alias, number in aliases(tracking, version.name).items()
            if number == version.number]
    if held:
        raise TrackingError(f"{version} is {' and '.join(held)} and cannot be deleted; promote "
                            "another version first.")
    tracking.client.delete_model_version(version.name, str(version.number))
