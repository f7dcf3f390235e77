"""Versioning with git and DVC: commit, push, history, restore. No other package runs them.

The notebook Git_Dvc calls `version` after every step that yields an artifact.
"""

from ftzard.versioning.commit import Versioned, version
from ftzard.versioning.dvc import Dvc, dvc_hash, dvc_path
from ftzard.versioning.git import Commit
from ftzard.versioning.publish import last_push, push, unpushed
from ftzard.versioning.setup import init_repository
from ftzard.versioning.versions import Version, data_version, history

__all__ = [
    "Commit", "Dvc", "Version", "Versioned", "data_version", "dvc_hash", "dvc_path", "history",
    "init_repository", "last_push", "push", "unpushed", "version",
]  # fmt: skip
