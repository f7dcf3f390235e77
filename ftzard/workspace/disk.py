"""Free disk space, checked before a step begins.

The need of a step is estimated from its inputs and its kind, and is at least `paths.min_free_mb`.
An estimate that is too small fails a step but damages no artifact, since each file appears complete
or not at all.
"""

import shutil
import tempfile
from collections.abc import Iterable
from pathlib import Path

from ftzard.config.pipeline import Step
from ftzard.config.schema import Config
from ftzard.core.artifacts import ArtifactRef
from ftzard.core.free_memory import shown
from ftzard.errors import WorkspaceError
from ftzard.workspace.workspace import Workspace

MB = 1 << 20
#: Checkpoints on disk at one moment: the stored ones and the one being written.
CHECKPOINTS = 3
TRAINING = ("tuning", "retraining")
JUDGING = ("choosing", "evaluation")


def require_space(step: Step, inputs: Iterable[ArtifactRef], workspace: Workspace, config: Config
                  ) -> None:
    """Raise WorkspaceError for a step without enough free space for its files or temporary files.

    Raises WorkspaceError with the step, the folder, what is needed, what is free, what to do.
    """
    inside, beside = needed(step, inputs, workspace, config)
    beside_folder = Path(tempfile.gettempdir())
    if same_disk(workspace.root, beside_folder):
        inside, beside = inside + beside, 0
    for folder, size in ((workspace.root, max(inside, config.paths.min_free_mb * MB)),
                         (beside_folder, beside)):
        available = free(folder)
        if available < size:
            raise WorkspaceError(
                f"{step.name} needs about {shown(size)} of free space in {folder}, and there are "
                f"{shown(available)}; nothing was written. Free space there"
                + (", or let TMPDIR name another folder" if folder is beside_folder else
                   ": .ftzard/cache and .ftzard/executed can go, 'dvc gc -w' forgets data of "
                   "earlier versions that are pushed")
                + f"; paths.min_free_mb (now {config.paths.min_free_mb}) is the least that is "
                "asked for.")


def needed(step: Step, inputs: Iterable[ArtifactRef], workspace: Workspace, config: Config
           ) -> tuple[int, int]:
    """Return the estimated bytes that a step writes in the workspace and in temporary files.

    Data steps: what they read and what stands where they write, three times (the new file, its
    copy in DVC's cache, the old one until then). Training: an adapter per trial and its state
    (weights and two moments, as many checkpoints as are kept and one being written). Judging: the
    model's files for MLflow, DVC and the workspace. The base is unpacked once by each of them.
    """
    read = sum(size_of(workspace.root / handle.path) for handle in inputs)
    base = size_of(workspace.root / "models" / "bases" / f"{config.model.name}.zip")
    if step.name in TRAINING:
        trials = config.tuning.trials if step.name == "tuning" else 1
        adapter = largest_adapter(workspace, config) or base
        states = 3 * CHECKPOINTS if config.training.checkpoint_steps else 0
        copies = trials + (2 if step.name == "retraining" else 0)
        return base + adapter * (copies + states), adapter * 2 * trials + base
    if step.name in JUDGING:
        adapter = largest_adapter(workspace, config) or base
        return 2 * base + 4 * adapter, base + 2 * adapter
    written = sum(size_of(workspace.root / getattr(config.paths, name)) for name in step.yields
                  if "{" not in getattr(config.paths, name))
    return 3 * (read + written), 0


def largest_adapter(workspace: Workspace, config: Config) -> int:
    """Return the size of the largest adapter of this model so far, 0 before there is one."""
    folder = workspace.root / "models" / config.tracking.registered_model
    return max((size_of(path) for path in folder.glob("*.zip")), default=0)


def size_of(path: Path) -> int:
    """Return a file's size in bytes, 0 if it does not exist."""
    return path.stat().st_size if path.is_file() else 0


def free(folder: Path) -> int:
    """Return the bytes that an unprivileged user can write at `folder`."""
    return shutil.disk_usage(_existing(folder)).free


def same_disk(one: Path, other: Path) -> bool:
    """Return whether two folders are on the same file system."""
    return _existing(one).stat().st_dev == _existing(other).stat().st_dev


def _existing(folder: Path) -> Path:
    return next(place for place in (folder, *folder.parents) if place.exists())
