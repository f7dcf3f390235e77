"""A second experiment platform beside MLflow: it gets what a run logs to MLflow.

One experiment there per execution of a step; a search's trials are its metrics, by their number.
MLflow stays the record: a platform that fails is reported once and noted with the MLflow run, and
the step goes on. What is needed for it is asked before anything runs.
"""

import os
import sys
from collections.abc import Callable, Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from ftzard.core.credentials import mask
from ftzard.errors import TrackingError

#: The tag of an MLflow run with the address of its copy, or why there is none.
TAG = "ftzard.mirror"
KEY, FOLDER = "COMET_API_KEY", "COMET_OFFLINE_DIRECTORY"
#: Comet's own names for the project, which go over the experiment's name.
PROJECT = ("COMET_PROJECT_NAME", "COMET_PROJECT")

#: Settings that turn off the client's own recording of process, output and machine.
_NO_AUTO_LOGGING = dict.fromkeys((
    "log_code", "log_graph", "auto_param_logging", "auto_metric_logging", "auto_output_logging",
    "auto_log_co2", "auto_histogram_weight_logging", "parse_args", "log_git_metadata",
    "log_git_patch", "log_env_details", "log_env_gpu", "log_env_cpu", "log_env_host",
    "log_env_network", "log_env_disk"), False)

QUIET = {"COMET_DISABLE_AUTO_LOGGING": "1", "COMET_LOGGING_CONSOLE": "ERROR",
         "COMET_ERROR_TRACKING_ENABLE": "false"}  # its own crash reports


def require(names: Sequence[str]) -> None:
    """Raise TrackingError if a configured platform is not accessible."""
    if "comet" not in names:
        return
    if find_spec("comet_ml") is None:
        raise TrackingError(
            "tracking.mirror names comet, and its package is not installed. Install it with "
            "pip install 'comet-ml>=3.55', or set tracking.mirror to [].")
    if not os.environ.get(KEY) and not os.environ.get(FOLDER):
        raise TrackingError(
            f"tracking.mirror names comet, and {KEY} is not set. Set it in the environment or in "
            f"the workspace's .env; or set {FOLDER} to a folder for writing to it without a "
            "network; or set tracking.mirror to [].")


    _project_named()


def _project_named() -> str | None:
    """Return the project that Comet's own variables name, or None; TrackingError if they differ."""
    projects = {name: os.environ[name] for name in PROJECT if os.environ.get(name)}
    if len(set(projects.values())) > 1:
        listed = " and ".join(f"{name} is '{value}'" for name, value in projects.items())
        raise TrackingError(f"{listed}; expected one project of Comet. Unset one of them.")
    return next(iter(projects.values()), None)


class Mirror:
    """A run on another platform.

    The first thing that fails ends it, is printed and kept in `broken`; nothing is ever raised.

    Attributes:
        open_experiment: Makes it there.
    """

    def __init__(self, open_experiment: Callable[[], Any], prefix: str = ""):
        self.broken: str | None = None
        self.prefix = prefix
        self._there = None
        self._there = self._attempt(open_experiment)

    def part(self, name: str) -> "Mirror":
        """Return a mirror of a part of this run, whose values are recorded under its name."""
        return Mirror(lambda: self._there, f"{self.prefix}{name}/")

    def params(self, values: Mapping[str, object]) -> None:
        self._tell(lambda experiment: experiment.log_parameters(
            {f"{self.prefix}{k}": str(v) for k, v in values.items()}))

    def metrics(self, values: Mapping[str, float], step: int) -> None:
        self._tell(lambda experiment: experiment.log_metrics(
            {f"{self.prefix}{k}": v for k, v in values.items()}, step=step))

    def card(self, text: str, name: str) -> None:
        self._tell(lambda experiment: experiment.log_asset_data(text, name=name, overwrite=True))

    def end(self, status: str) -> str | None:
        """Close it; return its address, or why it broke off; None for a part of a run.

        A killed run is not waited for: what was not sent by then is not sent.
        """
        if self.prefix:
            return None
        if status == "KILLED":
            return self.broken or "not closed: the run was killed"
        self._tell(lambda experiment: experiment.log_other("status", status))
        self._tell(lambda experiment: experiment.end())
        return self.broken or self._attempt(lambda: _address(self._there)) or self.broken

    def _tell(self, what: Callable[[Any], object]) -> None:
        if self._there is not None and self.broken is None:
            self._attempt(lambda: what(self._there))

    def _attempt(self, call: Callable[[], Any]) -> Any:
        try:
            return call()
        except Exception as error:  # whatever it is, the run itself goes on
            self.broken = mask(f"comet broke off: {type(error).__name__}: {error}")[:500]
            print(f"! {self.broken}. The run goes on, and MLflow has it all.", file=sys.stderr,
                  flush=True)
            return None


def opened(names: Sequence[str], project: str, title: str, tags: Mapping[str, object]
           ) -> Mirror | None:
    """Return the mirror of a new run, or None if the config names no platform.

    Args:
        project: The experiment's name in MLflow, where COMET_PROJECT_NAME names no other.
        title: The run's step and name.
    """
    if "comet" not in names:
        return None
    return Mirror(lambda: _comet(project, title, tags))


def _comet(project: str, title: str, tags: Mapping[str, object]):
    for name, value in QUIET.items():
        os.environ.setdefault(name, value)
    import comet_ml

    wanted = {"project_name": _project_named() or project,
              "workspace": os.environ.get("COMET_WORKSPACE"),
              "display_summary_level": 0, **_NO_AUTO_LOGGING}
    folder = os.environ.get(FOLDER)
    if folder:
        Path(folder).mkdir(parents=True, exist_ok=True)
        experiment = comet_ml.OfflineExperiment(offline_directory=folder, **wanted)
    else:
        experiment = comet_ml.Experiment(api_key=os.environ[KEY], **wanted)
    if not experiment.alive:
        raise TrackingError(f"Comet took no experiment; check {KEY} and COMET_WORKSPACE")
    experiment.set_name(title)
    experiment.log_others({k: str(v) for k, v in tags.items()})
    return experiment


def _address(experiment) -> str:
    folder = os.environ.get(FOLDER)
    if folder:
        return f"comet: {Path(folder) / experiment.get_key()}.zip"
    return f"comet: {experiment.url}"
