"""The model registry: versions, and the aliases champion, challenger and previous.

`move` is the only function that assigns an alias; the gate's verdict decides when. Deleting a
version also deletes its files in MLflow's artifact store.
"""

import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path

import mlflow.pyfunc
from mlflow.exceptions import MlflowException
from mlflow.models import Model
from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository
from mlflow.store.artifact.runs_artifact_repo import RunsArtifactRepository
from mlflow.utils.file_utils import local_file_uri_to_path
from mlflow.utils.mlflow_tags import MLFLOW_LOGGED_MODELS

from ftzard.core import private_folder
from ftzard.core.archive import hashes, whole_folder
from ftzard.core.artifacts import write_json
from ftzard.errors import TrackingError
from ftzard.tracking import model_version
from ftzard.tracking.model_version import (  # noqa: F401  (others know them as the registry's)
    ALIASES,
    BASE,
    CHALLENGER,
    CHAMPION,
    IDENTITY,
    KIND,
    PREVIOUS,
    SIZE,
    TUNED,
    Version,
    base_name,
)
from ftzard.tracking.runs import Run, Tracking

#: The description of a registered model, by its kind.
_ABOUT = {
    TUNED: "Fine-tuned models of one workspace. The version with the alias champion predicts; the "
           "challenger was judged last and not promoted; previous was champion before. Each "
           "version's page holds its model card.",
    BASE: "The bare base of the models that are fine-tuned from it, for comparison.",
}
#: Longest description that MLflow's database takes.
_LONGEST = 5000
#: MLflow's error codes for a missing alias, version or model; a server with logins denies access.
_NOT_THERE = ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE", "PERMISSION_DENIED")


@dataclass(frozen=True)
class _Client:
    """The registry of an open connection, for the queries of `model_version`."""

    tracking: Tracking

    @property
    def shown(self) -> str:
        return self.tracking.client.shown

    def names(self) -> list[str]:
        return names(self.tracking)

    def versions(self, name: str) -> list[Version]:
        return versions(self.tracking, name)

    def aliases(self, name: str) -> dict[str, int]:
        return aliases(self.tracking, name)

    def by_alias(self, name: str, alias: str) -> Version | None:
        return by_alias(self.tracking, name, alias)


def add_version(run: Run, name: str, model: Path, folder: str, tags: Mapping[str, object],
                last_number: int) -> Version:
    """Log a packaged model as files of a run and register it as a new version of `name`.

    Args:
        folder: Its place among the run's files.
        last_number: No number up to this one is given.
    """
    client = run.tracking.client
    existing = {file.path for file in client.list_artifacts(run.id)}
    folder = next(place for place in (folder, *(f"{folder}_{n}" for n in range(2, 1000)))
                  if place not in existing)  # a run may register several
    client.log_artifacts(run.id, str(model), folder)
    _note_logged(run, model, folder)
    try:
        client.create_registered_model(name, description=_ABOUT[tags[KIND]])
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise
        if not client.get_registered_model(name).description:  # made to own the name, or before
            client.update_registered_model(name, _ABOUT[tags[KIND]])
    all_tags = {SIZE: sum(p.stat().st_size for p in model.rglob("*") if p.is_file()), **tags}
    while True:
        created = client.create_model_version(
            name, source=f"runs:/{run.id}/{folder}", run_id=run.id,
            tags={k: str(v)[:5000] for k, v in all_tags.items()})
        if int(created.version) > last_number:
            return _version(created)
        # A registry that was emptied begins at 1 again, where records of deleted versions stand.
        client.delete_model_version(name, created.version)


def _note_logged(run: Run, model: Path, folder: str) -> None:
    """Make MLflow's page of a run show the model in its files, with how to load it."""
    before = run.tracking.client.get_run(run.id).data.tags.get(MLFLOW_LOGGED_MODELS, "[]")
    logged = Model.load(str(model))
    flavor = logged.flavors.get("python_function", {})
    entry = {"run_id": run.id, "artifact_path": folder, "model_uuid": logged.model_uuid,
             "utc_time_created": str(logged.utc_time_created),
             "flavors": {"python_function": {
                 key: flavor[key] for key in ("loader_module", "python_version") if key in flavor}}}
    run.tags({MLFLOW_LOGGED_MODELS: json.dumps([*json.loads(before), entry][-10:])})


def describe(tracking: Tracking, version: Version, text: str) -> None:
    """Set a version's description, such as its model card; a truncated text is marked."""
    cut = text if len(text) <= _LONGEST else f"{text[:_LONGEST - 1]}…"
    tracking.client.update_model_version(version.name, str(version.number), cut)


def _version(entity) -> Version:
    return Version(entity.name, int(entity.version), entity.run_id or "", dict(entity.tags or {}),
                   entity.source or "", int(entity.creation_timestamp or 0))


def by_alias(tracking: Tracking, name: str, alias: str) -> Version | None:
    """Return the version with an alias, or None.

    Raises TrackingError if the registry does not answer.
    """
    try:
        return _version(tracking.client.get_model_version_by_alias(name, alias))
    except MlflowException as error:
        if error.error_code not in _NOT_THERE:
            message = " ".join(str(error).split())[:200]
            raise TrackingError(
                f"the registry at {tracking.client.shown} does not say who is {alias} of '{name}' "
                f"({error.error_code}: {message}); try again.") from error
        return None


def champion(tracking: Tracking, name: str) -> Version:
    """Return the champion; raises TrackingError if the model has none yet, as `model_version` does.
    """
    return model_version.champion(_Client(tracking), name)


def move(tracking: Tracking, name: str, *, champion: Version | None = None,
         challenger: Version | None = None) -> None:
    """Move the aliases: the former champion becomes previous; a new champion is no challenger."""
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


def untag(tracking: Tracking, version: Version, key: str) -> None:
    """Remove a tag of a version."""
    tracking.client.delete_model_version_tag(version.name, str(version.number), key)


def version(tracking: Tracking, name: str, number: int) -> Version:
    """Return a version by its number; raises TrackingError if there is none."""
    try:
        return _version(tracking.client.get_model_version(name, str(number)))
    except MlflowException as error:
        raise model_version.missing(_Client(tracking), name, number,
                                    versions(tracking, name)) from error


def versions(tracking: Tracking, name: str) -> list[Version]:
    """Return all versions of a model, oldest first."""
    return sorted(_searched(tracking, f"name = '{name}'"), key=lambda v: v.number)


def names(tracking: Tracking) -> list[str]:
    """Return the names of all registered models, in order."""
    entities, token = [], None
    while True:
        page = tracking.client.search_registered_models(page_token=token)
        entities += [model.name for model in page]
        token = page.token
        if not token:
            return sorted(entities)


def _searched(tracking: Tracking, condition: str) -> list[Version]:
    entities, token = [], None
    while True:
        page = tracking.client.search_model_versions(condition, page_token=token)
        entities += [_version(v) for v in page]
        token = page.token
        if not token:
            return entities


def aliases(tracking: Tracking, name: str) -> dict[str, int]:
    """Return {alias: number} as the store has it, including versions that do not exist."""
    try:
        by_name = tracking.client.get_registered_model(name).aliases
    except MlflowException:
        return {}
    return {alias: int(number) for alias, number in by_name.items()}


def drop(tracking: Tracking, name: str, alias: str) -> None:
    """Remove an alias of a version that does not exist."""
    tracking.client.delete_registered_model_alias(name, alias)


def aliases_of(tracking: Tracking, version: Version) -> list[str]:
    """Return the aliases of a version, the most important first."""
    return model_version.aliases_of(_Client(tracking), version)


def require_deletable(tracking: Tracking, version: Version, allowed: Collection[str] = ()) -> None:
    """Raise TrackingError for a version with an alias that may not be removed."""
    remaining = [alias for alias in aliases_of(tracking, version) if alias not in allowed]
    if remaining:
        remedy = ("promote another version first" if CHAMPION in remaining else
                  "add --force if it is to go nevertheless")
        raise TrackingError(
            f"{version} is {' and '.join(remaining)} and cannot be deleted; {remedy}.")


def delete(tracking: Tracking, version: Version, allowed: Collection[str] = ()) -> str | None:
    """Delete a version and its files; raises TrackingError for one with an alias.

    The files go first: what is cut off in between is still registered and can be deleted again.

    Args:
        allowed: Aliases that may go with it.

    Returns:
        None, or a sentence on why its files stay.
    """
    require_deletable(tracking, version, allowed)
    stays = delete_files(tracking, version)
    tracking.client.delete_model_version(version.name, str(version.number))
    return stays


def delete_model(tracking: Tracking, name: str) -> list[str]:
    """Delete a registered model with all versions and files; return why files stay, if any do."""
    stays = [delete(tracking, version, allowed=aliases_of(tracking, version))
             for version in versions(tracking, name)]
    tracking.client.delete_registered_model(name)
    return [sentence for sentence in stays if sentence]


def delete_files(tracking: Tracking, version: Version) -> str | None:
    """Delete a version's files from MLflow's artifact store; return why they stay, if they do."""
    if not version.source.startswith("runs:/"):
        return (f"the files of {version} are at {version.source or 'no known place'}, where they "
                "were not put by a registration of FTzard.")
    run_id, folder = RunsArtifactRepository.parse_runs_uri(version.source)
    others = [str(v) for v in _searched(tracking, f"run_id = '{run_id}'")
              if v.source == version.source and str(v) != str(version)]
    if others:
        return f"the files of {version} are those of {', '.join(others)} too."
    try:
        uri = tracking.client.get_run(run_id).info.artifact_uri
    except MlflowException:
        return f"the run {run_id} of {version} is gone from MLflow, which knew where its files are."
    try:
        get_artifact_repository(uri, tracking_uri=tracking.uri).delete_artifacts(folder)
    except (MlflowException, OSError, NotImplementedError) as error:
        raise TrackingError(
            f"the files of {version} cannot be deleted from {uri}/{folder}: {error}. It is still "
            "registered; mend that and delete it again.") from error
    return None


def load(tracking: Tracking, version: Version) -> mlflow.pyfunc.PyFuncModel:
    """Return a version as MLflow loads it, without FTzard's own code path."""
    mlflow.set_tracking_uri(tracking.uri)
    mlflow.set_registry_uri(tracking.uri)
    return mlflow.pyfunc.load_model(f"models:/{version.name}/{version.number}")


def files(tracking: Tracking, version: Version, cache: Path) -> Path:
    """Return the folder of a version's files, fetched into `cache` if they are not local.

    What was fetched before is fetched again if it is not as it was then. Raises TrackingError if
    they are gone, or were not put there by FTzard.
    """
    if not version.source.startswith("runs:/"):
        raise TrackingError(f"{version} was not registered by FTzard: its files are at "
                            f"{version.source or 'no known place'}.")
    run_id, folder = RunsArtifactRepository.parse_runs_uri(version.source)
    try:
        uri = tracking.client.get_run(run_id).info.artifact_uri
        if uri.startswith("file:"):
            local = Path(local_file_uri_to_path(uri))
        else:
            local = _fetched(tracking, run_id, folder, private_folder.usable(Path(cache)))
    except (MlflowException, OSError) as error:
        raise _gone(version, error) from error
    if not (local / folder / "MLmodel").is_file():
        raise _gone(version, f"there is no {local / folder / 'MLmodel'}")
    return local / folder


def _fetched(tracking: Tracking, run_id: str, folder: str, cache: Path) -> Path:
    """Return the folder to which a run's files were fetched."""
    target, marker = cache / run_id, cache / f"{run_id}.json"
    if marker.is_file() and json.loads(marker.read_text(encoding="utf-8")) == hashes(target):
        return target
    with whole_folder(target) as part:
        tracking.client.download_artifacts(run_id, folder, str(part))
    write_json(marker, hashes(target))
    return target


def _gone(version: Version, why: object) -> TrackingError:
    return TrackingError(f"the files of {version} cannot be had from MLflow ({version.source}): "
                         f"{why}. If they were deleted, 'ftzard models delete {version}' takes it "
                         "out of the registry too.")


def archives(folder: Path) -> dict[str, Path]:
    """Return the existing archives of a version's files: 'adapter' and 'base'."""
    paths = Model.load(str(folder)).flavors.get("python_function", {}).get("artifacts", {})
    return {name: folder / entry["path"] for name, entry in paths.items()}


def model_config(folder: Path) -> dict | None:
    """Return the model config of a registered bare base from its files, or None."""
    values = _config(folder)
    return values if "spec" in values else None


def temperature(folder: Path) -> float | None:
    """Return the temperature of a version from its files, or None."""
    return _config(folder).get("temperature")


def _config(folder: Path) -> dict:
    return Model.load(str(folder)).flavors.get("python_function", {}).get("config") or {}


def input_example(folder: Path) -> list[str]:
    """Return the example texts of a version from its files."""
    return Model.load(str(folder)).load_input_example(str(folder))["text"].tolist()
