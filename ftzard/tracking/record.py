"""The record of a run is what ran: one function makes the tags and params of every child.

Rule 2 of the design: resolved config and its hash, seed, commit, the version of every input, base
and tokenizer hashes, package versions, thread count, Dagster run and step. What cannot be known is
recorded as 'none', never left out.
"""

import hashlib
import json
import platform
from collections.abc import Iterable, Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from ftzard import __version__
from ftzard.core.artifacts import ArtifactRef
from ftzard.core.notebook_hash import notebook_hash

PACKAGES = ("torch", "transformers", "peft", "bitsandbytes", "tokenizers", "optuna", "pandas",
            "numpy", "scikit-learn", "mlflow-skinny", "dagster", "dvc", "hydra-core")


def package_versions() -> dict[str, str]:
    """Return the versions of the packages that can change a result."""
    versions = {"python": platform.python_version(), "ftzard": __version__}
    for name in PACKAGES:
        try:
            versions[name] = version(name)
        except PackageNotFoundError:
            versions[name] = "not installed"
    return versions


def code_hash(folder: Path) -> str:
    """Return the first 16 hex of the SHA-256 over the Python files below `folder`."""
    hasher = hashlib.sha256()
    for path in sorted(folder.rglob("*.py")):
        hasher.update(path.relative_to(folder).as_posix().encode() + b"\0" + path.read_bytes())
    return hasher.hexdigest()[:16]


def tags(*, step: str, config: Mapping, config_hash: str, commit: str | None,
         notebook: Path | None, library: Path, dagster_run_id: str | None,
         dagster_step: str | None, inputs: Iterable[ArtifactRef]) -> dict[str, str]:
    """Return the tags that every child run has from its start."""
    model = config["model"]
    return {
        "config_hash": config_hash,
        "seed": config["seed"],
        "threads": config["threads"],
        "git_commit": commit or "none",
        "base_model": model["source"] or model["name"],
        "base_revision": model["revision"] or "none",
        "base_hash": "none",
        "tokenizer_hash": "none",
        "packages": json.dumps(package_versions(), sort_keys=True),
        "code_hash": code_hash(library),
        "notebook_hash": notebook_hash(notebook) if notebook and notebook.is_file() else "none",
        "dagster_run_id": dagster_run_id or "none",
        "dagster_step": dagster_step or "none",
        "step": step,
        **{f"data_version.{h.name}": h.commit or "not versioned" for h in inputs},
        **{f"data_sha256.{h.name}": h.sha256 for h in inputs},
    }
