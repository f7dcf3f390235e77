"""The model registry: versions, and the aliases champion, challenger and previous.

`move` is the only function that gives an alias to a version; the gate's verdict says when. What is
deleted here leaves no file in MLflow's artifact store.
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

#: What the page of a registered model says, by its kind.
_ABOUT = {
    TUNED: "Fine-tuned models of one workspace. The version with the alias champion predicts; the "
           "challenger was judged last and not promoted; previous was champion before. Each "
           "version's page holds its model card.",
    BASE: "The bare base of the models that are fine-tuned from it, for comparison.",
}
#: Longest description that MLflow's database takes.
_LONGEST = 5000
#: How MLflow says that there is no such alias, version or model; a server with logins denies it.
_NOT_THERE = ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE", "PERMISSION_DENIED")


@dataclass(frozen=True)
class _Client:
    """The registry of an open connection, for the questions of `model_version`."""

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
                taken: int) -> Version:
    """Log a packaged model as files of a run and register it as a new version of `name`.

    folder: its place among the run's files; taken: no number up to this one is given.
    """
    client = run.tracking.client
    taken_up = {file.path for file in client.list_artifacts(run.id)}
    folder = next(place for place in (folder, *(f"{folder}_{n}" for n in range(2, 1000)))
                  if place not in taken_up)  # a run may register several
    client.log_artifacts(run.id, str(model), folder)
    _note_logged(run, model, folder)
    try:
        client.create_registered_model(name, description=_ABOUT[tags[KIND]])
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise
        if not client.get_registered_model(name).description:  # made to own the name, or before
            client.update_registered_model(name, _ABOUT[tags[KIND]])
    said = {SIZE: sum(p.stat().st_size for p in model.rglob("*") if p.is_file()), **tags}
    while True:
        made = client.create_model_version(
            name, source=f"runs:/{run.id}/{folder}", run_id=run.id,
            tags={k: str(v)[:5000] for k, v in said.items()})
        if int(made.version) > taken:
            return _version(made)
        # A registry that was emptied begins at 1 again, where records of deleted versions stand.
        client.delete_model_version(name, made.version)


def _note_logged(run: Run, model: Path, folder: str) -> None:
    """Let MLflow's page of a run show a model among its files as one, with how to load it."""
    before = run.tracking.client.get_run(run.id).data.tags.get(MLFLOW_LOGGED_MODELS, "[]")
    made = Model.load(str(model))
    flavor = made.flavors.get("python_function", {})
    entry = {"run_id": run.id, "artifact_path": folder, "model_uuid": made.model_uuid,
             "utc_time_created": str(made.utc_time_created),
             "flavors": {"python_function": {
                 key: flavor[key] for key in ("loader_module", "python_version") if key in flavor}}}
    run.tags({MLFLOW_LOGGED_MODELS: json.dumps([*json.loads(before), entry][-10:])})


def describe(tracking: Tracking, version: Version, text: str) -> None:
    """Let a version's page show a text, such as its model card; what is cut off is marked."""
    cut = text if len(text) <= _LONGEST else f"{text[:_LONGEST - 1]}…"
    tracking.client.update_model_version(version.name, str(version.number), cut)


def _version(found) -> Version:
    return Version(found.name, int(found.version), found.run_id or "", dict(found.tags or {}),
                   found.source or "", int(found.creation_timestamp or 0))


def by_alias(tracking: Tracking, name: str, alias: str) -> Version | None:
    """Return the version that carries an alias, or None.

    Raises TrackingError if the registry does not answer.
    """
    try:
        return _version(tracking.client.get_model_version_by_alias(name, alias))
    except MlflowException as error:
        if error.error_code not in _NOT_THERE:
            said = " ".join(str(error).split())[:200]
            raise TrackingError(
                f"the registry at {tracking.client.shown} does not say who is {alias} of '{name}' "
                f"({error.error_code}: {said}); try again.") from error
        return None


def champion(tracking: Tracking, name: str) -> Version:
    """Return the champion; raises TrackingError if the model has none yet, as `model_version` does.
    """
    return model_version.champion(_Client(tracking), name)


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


def untag(tracking: Tracking, version: Version, key: str) -> None:
    """Take a tag away from a version."""
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
    found, token = [], None
    while True:
        page = tracking.client.search_registered_models(page_token=token)
        found += [model.name for model in page]
        token = page.token
        if not token:
            return sorted(found)


def _searched(tracking: Tracking, condition: str) -> list[Version]:
    found, token = [], None
    while True:
        page = tracking.client.search_model_versions(condition, page_token=token)
        found += [_version(v) for v in page]
        token = page.token
        if not token:
            return found


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


def held(tracking: Tracking, version: Version) -> list[str]:
    """Return the aliases that a version carries, in the order of their weight."""
    return model_version.held(_Client(tracking), version)


def require_deletable(tracking: Tracking, version: Version, allowed: Collection[str] = ()) -> None:
    """Raise TrackingError if a version carries an alias that is not allowed to go with it."""
    kept = [alias for alias in held(tracking, version) if alias not in allowed]
    if kept:
        remedy = ("promote another version first" if CHAMPION in kept else
                  "add --force if it is to go nevertheless")
        raise TrackingError(f"{version} is {' and '.join(kept)} and cannot be deleted; {remedy}.")


def delete(tracking: Tracking, version: Version, allowed: Collection[str] = ()) -> str | None:
    """Delete a version, and its files with it; refuses one that carries an alias.

    allowed: aliases that may go with it. The files go first: what is cut off in between is still
    registered and can be deleted again. Returns None, or a sentence on why its files stay.
    """
    require_deletable(tracking, version, allowed)
    stays = delete_files(tracking, version)
    tracking.client.delete_model_version(version.name, str(version.number))
    return stays


def delete_model(tracking: Tracking, name: str) -> list[str]:
    """Delete a registered model with all versions and files; return why files stay, if any do."""
    stays = [delete(tracking, found, allowed=held(tracking, found))
             for found in versions(tracking, name)]
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
    """Return a version as anybody loads it from MLflow, without FTzard's own ways."""
    mlflow.set_tracking_uri(tracking.uri)
    mlflow.set_registry_uri(tracking.uri)
    return mlflow.pyfunc.load_model(f"models:/{version.name}/{version.number}")


def files(tracking: Tracking, version: Version, cache: Path) -> Path:
    """Return the folder of a version's files, fetched into `cache` if they are not on this disk.

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
            kept = Path(local_file_uri_to_path(uri))
        else:
            kept = _fetched(tracking, run_id, folder, private_folder.usable(Path(cache)))
    except (MlflowException, OSError) as error:
        raise _gone(version, error) from error
    if not (kept / folder / "MLmodel").is_file():
        raise _gone(version, f"there is no {kept / folder / 'MLmodel'}")
    return kept / folder


def _fetched(tracking: Tracking, run_id: str, folder: str, cache: Path) -> Path:
    """Return where a run's files were fetched to, as they were then."""
    kept, said = cache / run_id, cache / f"{run_id}.json"
    if said.is_file() and json.loads(said.read_text(encoding="utf-8")) == hashes(kept):
        return kept
    with whole_folder(kept) as part:
        tracking.client.download_artifacts(run_id, folder, str(part))
    write_json(said, hashes(kept))
    return kept


def _gone(version: Version, why: object) -> TrackingError:
    return TrackingError(f"the files of {version} cannot be had from MLflow ({version.source}): "
                         f"{why}. If they were deleted, 'ftzard models delete {version}' takes it "
                         "out of the registry too.")


def archives(folder: Path) -> dict[str, Path]:
    """Return the archives among a version's files: 'adapter' and 'base', those that are there."""
    said = Model.load(str(folder)).flavors.get("python_function", {}).get("artifacts", {})
    return {name: folder / entry["path"] for name, entry in said.items()}


def model_config(folder: Path) -> dict | None:
    """Return what a registered bare base is opened with, from its files; None if they say none."""
    found = _config(folder)
    return found if "spec" in found else None


def temperature(folder: Path) -> float | None:
    """Return the temperature that a version was registered with, from its files, or None."""
    return _config(folder).get("temperature")


def _config(folder: Path) -> dict:
    return Model.load(str(folder)).flavors.get("python_function", {}).get("config") or {}


def input_example(folder: Path) -> list[str]:
    """Return the example texts that a version was registered with, from its files."""
    return Model.load(str(folder)).load_input_example(str(folder))["text"].tolist()
