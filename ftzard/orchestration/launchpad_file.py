"""A Launchpad YAML, as Dagster's page takes it and `ftzard run --config` reads it from a file."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, fields
from pathlib import Path

from ftzard.config import former_names
from ftzard.config.pipeline import BY_NAME, DELIVERIES, JOBS, STEPS
from ftzard.config.requests import typed
from ftzard.config.schema import Config
from ftzard.core import yaml_file
from ftzard.errors import ConfigError, nearest

#: Top-level keys that Dagster itself reads.
DAGSTER_KEYS = ("ops", "execution", "loggers")
#: Every resource that a job may have (those of `pipeline.jobs.resources`, without loading Dagster).
RESOURCES = frozenset(
    {"experiment", "output_notebook_io_manager", "labelled_input_manager"}
    | {f"{name}_io_manager" for step in STEPS for name in (*step.yields, step.metadata)}
    | {f"{name}_input_manager" for step in STEPS for name in (*step.takes, step.metadata)})
#: Beside the config's keys: whether steps run although an earlier execution holds.
FORCE = "force"
_EXPERIMENT = frozenset({f.name for f in fields(Config)} | {"overrides", FORCE})
_PLACE = ("Values of the config stand under resources: experiment: config:, as in "
          "resources: {experiment: {config: {training: {epochs: 2}}}}.")
_FORMER = ("Files have other places and formats, too: leave base_path and file_name out for the "
           "usual ones, but for the file that comes in. Each job has a ready YAML: "
           "ftzard/config/dagster/<job>.yaml.")


@dataclass(frozen=True)
class Launchpad:
    """A Launchpad YAML in parts: for `experiment`, for the other resources, for Dagster itself.

    Attributes:
        force: Whether `experiment` says that every step is to run.
    """

    experiment: dict
    resources: dict
    dagster: dict
    force: bool = False


def read_launchpad(file: Path, job: str | None = None) -> Launchpad:
    """Read a Launchpad YAML from a file.

    Raises:
        ConfigError: for unknown keys, and for a file that is no YAML; it names the file.
    """
    values = yaml_file.read(file, "a Launchpad YAML")
    return split_launchpad({} if values is None else values, str(file), job)


def resources_of(job: str) -> set[str]:
    """Return the resources that a job has."""
    names, upstream = {"experiment", "output_notebook_io_manager"}, set()
    for step in (BY_NAME[name] for name in JOBS[job]):
        inputs = [*step.takes, *([BY_NAME[step.after].metadata] if step.after else [])]
        names |= {f"{DELIVERIES.get(job, {}).get(name, name)}_input_manager" for name in inputs
                  if name not in upstream}
        names |= {f"{name}_io_manager" for name in (*step.yields, step.metadata)}
        upstream |= {*step.yields, step.metadata}
    return names


def split_launchpad(values: Mapping, where: str = "the Launchpad", job: str | None = None
                    ) -> Launchpad:
    """Split a Launchpad YAML into its parts.

    Args:
        where: the YAML's name in error messages.
        job: the job that it is for.

    Raises:
        ConfigError: with a line for every key that would have no effect: at the top, of a resource
            that no job has, or beside a resource's config.
    """
    problems: list[str] = []
    top = _block(values, where, problems)
    for key in map(str, top):
        if key != "resources" and key not in DAGSTER_KEYS:
            problems.append(f"{where}: unknown key '{key}' at the top"
                            f"{_near(key, ('resources', *DAGSTER_KEYS))}")
    former: list[str] = []
    for name in _block(top.get("ops"), f"{where}: ops", problems):
        if (step := former_names.step(str(name))) is not None:
            former.append(f"{where}: the op '{name}' is called {step} here.")
    resources = _block(top.get("resources"), f"{where}: resources", problems)
    for name, block in resources.items():
        if name not in RESOURCES:
            now = former_names.resource(str(name), None if job is None else resources_of(job))
            if now is not None:
                former.append(f"{where}: the resource {now}.")
                continue
            problems.append(f"{where}: there is no resource '{name}'{_near(name, RESOURCES)}")
            continue
        for key in _block(block, f"{where}: resources: {name}", problems):
            if key != "config":
                problems.append(f"{where}: unknown key '{key}' in resources: {name}"
                                f"{nearest(key, ['config'])}")
    experiment = {}
    if not problems and not former:
        experiment = _block((resources.pop("experiment", None) or {}).get("config"),
                            f"{where}: resources: experiment: config", problems)
    if problems or former:
        raise ConfigError("\n".join((*former, *problems, *([_PLACE] if problems else []),
                                     *([_FORMER] if former else []))))
    force = experiment.pop(FORCE, False)
    if not isinstance(force, bool):
        raise ConfigError(f"{where}: {FORCE} is {force!r}; expected true or false.")
    return Launchpad(typed(experiment), resources,
                     {k: v for k, v in top.items() if k != "resources" and v}, force)


def _near(key: str, valid: Collection[str]) -> str:
    """Return the nearest valid key; none for a key of the config, whose place is wrong."""
    near = "." if key in _EXPERIMENT else nearest(key, valid)
    return near if "did you mean" in near or len(valid) < 10 else "."


def _block(value: object, where: str, problems: list[str]) -> dict:
    """Return a block's values; adds a problem for a value that is no block."""
    if value is None or isinstance(value, Mapping):
        return dict(value or {})
    problems.append(f"{where} is {str(value)[:60]!r}, expected keys with values.")
    return {}


def with_overrides(request: Mapping, overrides: list[str]) -> dict:
    """Return a request with the overrides of the command line added."""
    return {**request, "overrides": [*(request.get("overrides") or []), *overrides]}
