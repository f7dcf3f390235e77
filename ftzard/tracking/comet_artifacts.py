"""Data sets that are kept as artifacts on Comet, an optional platform beside MLflow."""

import os
from importlib.util import find_spec
from pathlib import Path

from ftzard.credentials import mask
from ftzard.errors import TrackingError
from ftzard.tracking.mirror import KEY


def require(name: str) -> None:
    """Raise TrackingError if the data set of this name could not be asked for."""
    if find_spec("comet_ml") is None:
        raise TrackingError(f"'{name}' is a data set on Comet, and its package is not installed. "
                            "Install it with pip install 'comet-ml>=3.49', or name a file.")
    if not os.environ.get(KEY):
        raise TrackingError(f"'{name}' is a data set on Comet, and {KEY} is not set. Set it in the "
                            "environment or in the workspace's .env, or name a file.")


def download(name: str, workspace: str, artifact: str, version: str, folder: Path) -> Path:
    """Download one version of an artifact into `folder` and return that.

    name: what the user calls it. Raises TrackingError if it cannot be had.
    """
    require(name)
    os.environ.setdefault("COMET_LOGGING_CONSOLE", "ERROR")
    import comet_ml

    try:
        there = comet_ml.API(api_key=os.environ[KEY]).get_artifact(
            workspace, artifact, version=version)
        there.download(path=str(folder), overwrite_strategy="OVERWRITE")
    except Exception as error:  # of its own kinds, and of the network's
        raise TrackingError(mask(
            f"'{name}' cannot be had from Comet: {type(error).__name__}: {error}. Check workspace, "
            f"artifact and version, and that {KEY} may read it.")) from None
    return folder
