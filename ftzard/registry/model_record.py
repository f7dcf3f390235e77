"""A model's record: the YAML file from which a version can be explained and made again."""

from ftzard.config.compose import from_record
from ftzard.config.schema import Config
from ftzard.config.training_config import TrainingConfig
from ftzard.errors import ModelError
from ftzard.tasks.base import Task, task_in
from ftzard.tracking.model_version import Version


class ModelRecord(dict):
    """What `models/<name>/<number>.yaml` says, by the keys of the file and by typed properties.

    Records are never rewritten for a new release: a key that came later is missing in older ones,
    which each property accounts for.
    """

    @property
    def version(self) -> Version:
        """The version, without what the registry knows of it."""
        return Version(self["model"], int(self["version"]), str(self.get("mlflow_run") or ""), {})

    @property
    def task(self) -> Task:
        """What the model is for."""
        kind = ((self.get("config") or {}).get("task") or {}).get("kind")
        return task_in({"task": kind} if kind else {})

    @property
    def config(self) -> Config:
        """The config that it was made with."""
        return from_record(self["config"])

    @property
    def recipe(self) -> dict:
        """The arguments of `fit`, and its result. Raises ModelError if it was not recorded."""
        if not self.get("recipe"):
            raise ModelError(
                f"the record of {self['model']}@{self['version']} has no 'recipe', so it cannot "
                "be made again; it was registered by an earlier release.")
        return self["recipe"]

    @property
    def training_config(self) -> TrainingConfig:
        """How it was trained."""
        return TrainingConfig.from_recipe(self.recipe)

    @property
    def trained_params(self) -> dict:
        """The values of PARAMS that it was trained with.

        `params` are what the search found; a retraining has another learning rate, in its recipe.
        """
        return dict((self.get("recipe") or {}).get("params") or self.get("params") or {})

    @property
    def parent(self) -> int | None:
        """Number of the version whose adapter it started from."""
        return self.get("parent")

    @property
    def base(self) -> dict:
        """Name, source, revision and hashes of its base."""
        return self.get("base") or {}

    @property
    def verdict(self) -> dict:
        """The gate's verdict; empty before it was evaluated."""
        return self.get("verdict") or {}

    @property
    def tokenized(self) -> dict | None:
        """Path, sha256 and commit of the tokenized rows it was made from."""
        return (self.get("data") or {}).get("tokenized")

    @property
    def clean_hash(self) -> str | None:
        """Hash of the workspace's own cleaning function, None without one."""
        return (self.get("clean") or {}).get("sha256")

    @property
    def temperature(self) -> float | None:
        """The temperature of its confidence; older records have it with the calibration."""
        return self.get("temperature") or (self.get("calibration") or {}).get("temperature")
