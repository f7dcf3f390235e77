"""What hydra makes of the packaged files, kept in a workspace: hydra itself is not imported again.

The packaged files and the choices among them decide it, so it stands under a hash of their contents
and of hydra's version. A workspace's own files are no part of it.
"""

import contextlib
import hashlib
import json
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

from ftzard.core.artifacts import write_atomically
from ftzard.errors import FtzardError


def composed(overrides: tuple[str, ...], packaged: Path, folder: Path | None,
             compose: Callable[[], dict[str, Any]]) -> dict[str, Any]:
    """Return the cached result of `compose` for the same overrides and files, or call it.

    Args:
        folder: The workspace's `config/`, beside which `.ftzard` keeps it; None: it is not kept.
    """
    state = folder.parent / ".ftzard" if folder else None
    if state is None or not state.is_dir():
        return compose()
    place = state / "cache" / "config" / f"{_key(overrides, packaged)}.json"
    with contextlib.suppress(OSError, ValueError):
        config = json.loads(place.read_text(encoding="utf-8"))
        if isinstance(config, dict):
            return config
    config = compose()
    with contextlib.suppress(OSError, FtzardError, TypeError, ValueError):
        text = json.dumps(config)
        if json.loads(text) == config:
            write_atomically(place, lambda part: part.write_text(text, encoding="utf-8"))
    return config


def _key(overrides: tuple[str, ...], packaged: Path) -> str:
    digest = hashlib.sha256(json.dumps([version("hydra-core"), version("omegaconf"), *overrides])
                            .encode())
    for file in sorted(packaged.rglob("*.yaml")):
        digest.update(f"\0{file.relative_to(packaged)}\0".encode() + file.read_bytes())
    return digest.hexdigest()
