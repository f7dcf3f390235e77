"""Datasets stored as artifacts on Comet, an optional platform beside MLflow."""

import os
import shutil
import tempfile
from collections.abc import Iterable, Mapping
from importlib.util import find_spec
from pathlib import Path

from ftzard.core.credentials import mask
from ftzard.errors import TrackingError
from ftzard.tracking.mirror import KEY, QUIET


def require(name: str) -> None:
    """Raise TrackingError if the dataset of this name is not accessible."""
    if find_spec("comet_ml") is None:
        raise TrackingError(f"'{name}' is a data set on Comet, and its package is not installed. "
                            "Install it with pip install 'comet-ml>=3.55', or name a file.")
    if not os.environ.get(KEY):
        raise TrackingError(f"'{name}' is a data set on Comet, and {KEY} is not set. Set it in the "
                            "environment or in the workspace's .env, or name a file.")


def download(name: str, workspace: str, artifact: str, version: str, folder: Path) -> Path:
    """Download a version of an artifact into `folder`, replacing its content; return the version.

    Args:
        name: What the user calls it.

    Raises:
        TrackingError: If it cannot be had as a whole: files that the artifact only points to are
            not downloaded, and are refused.
    """
    require(name)
    for variable, value in QUIET.items():
        os.environ.setdefault(variable, value)
    import comet_ml

    folder.parent.mkdir(parents=True, exist_ok=True)
    fresh = Path(tempfile.mkdtemp(dir=folder.parent, prefix=f".{folder.name}."))
    try:
        there = comet_ml.API(api_key=os.environ[KEY], cache=False).get_artifact(
            workspace, artifact, version=version)
        sizes = {asset.logical_path: None if asset.remote else asset.size for asset in there.assets}
        _require_inside(sizes)
        there.download(path=str(fresh))
        _require_all(fresh, sizes)
    except Exception as error:  # of its own kinds, and of the network's
        shutil.rmtree(fresh, ignore_errors=True)
        raise TrackingError(mask(
            f"'{name}' cannot be had from Comet: {_message(error)}. Check workspace, artifact and "
            f"version, and that {KEY} may read it.")) from None
    shutil.rmtree(folder, ignore_errors=True)
    fresh.rename(folder)
    return folder


def _message(error: Exception) -> str:
    """Return an error's kind and message; some of the client's own kinds have none, and fail."""
    try:
        words = str(error)
    except TypeError:
        words = ""
    return ": ".join(filter(None, (type(error).__name__, words)))


def _require_inside(names: Iterable[str]) -> None:
    outside = [n for n in names if Path(n).is_absolute() or ".." in Path(n).parts]
    if outside:
        raise ValueError(f"its file '{outside[0]}' would be written outside of its folder")


def _require_all(folder: Path, sizes: Mapping[str, int | None]) -> None:
    """Raise ValueError unless each file exists, with its size where that is known."""
    lacking = [n for n in sizes if not (folder / n).is_file()]
    if lacking:
        raise ValueError(f"{len(lacking)} of its {len(sizes)} files did not come, first "
                         f"'{lacking[0]}', which it may only point to")
    for n, size in sizes.items():
        actual = (folder / n).stat().st_size
        if size is not None and actual != size:
            raise ValueError(f"its file '{n}' has {actual:,} bytes; expected {size:,}")
