"""FTzard: continual fine-tuning of language models that refuses to be silently wrong."""

import warnings
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ftzard.api import ModelVersion, Prediction, Workspace, create_workspace, open_workspace
    from ftzard.errors import FtzardError
    from ftzard.orchestration.run_job import JobError, JobOutcome

__version__ = "0.1.0"
__all__ = ["FtzardError", "JobError", "JobOutcome", "ModelVersion", "Prediction", "Workspace",
           "create_workspace", "open_workspace"]

# Progress is printed as text, so nobody misses the widgets that tqdm would like to draw with.
warnings.filterwarnings("ignore", message="IProgress not found")


def __getattr__(name: str) -> object:
    """Import a name of the library when it is first used (PEP 562)."""
    if name not in __all__:
        raise AttributeError(f"module 'ftzard' has no attribute '{name}'")
    from importlib import import_module

    module = {"FtzardError": "errors", "JobError": "orchestration.run_job",
              "JobOutcome": "orchestration.run_job"}.get(name, "api")
    return getattr(import_module(f"ftzard.{module}"), name)
