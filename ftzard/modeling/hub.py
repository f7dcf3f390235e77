"""Where a base comes from: a folder with its hash, or a hub with a pinned commit and a token.

The token is read from the environment only, is handed to nothing but the hub's own library, and
never stands in a message.
"""

import hashlib
import os
import re
import threading
from pathlib import Path

from ftzard.core.artifacts import sha256
from ftzard.errors import ModelError
from ftzard.modeling.spec import BaseSpec

TOKEN = "HF_TOKEN"
#: What a base cannot be loaded without.
NEEDED = ("config.json", "model.safetensors", "tokenizer.json")


def token() -> str | bool:
    """Return the token of the environment, or False: one that lies on the disk is not used."""
    return os.environ.get(TOKEN, "").strip() or False


def message(error: Exception) -> str:
    """Return what an error says, on one line and without the token."""
    text = " ".join(str(error).split())
    return text.replace(token(), "…") if token() else text


def hash_weights(source: str | Path, revision: str | None) -> str:
    """Return the hex SHA-256 over a folder's safetensors files, or the hub's revision.

    Raises ModelError if the folder holds no weights, or if a hub id comes without a full revision.
    """
    folder = Path(source)
    if folder.is_dir():
        files = sorted(folder.glob("*.safetensors"))
        if not files:
            raise ModelError(
                f"model folder {folder} holds no *.safetensors; expected the weights of a base. "
                "Build it again or point model.source at the right folder."
            )
        total = hashlib.sha256()
        for file in files:
            total.update(f"{file.name}:{sha256(file)}\n".encode())
        return total.hexdigest()
    if isinstance(source, Path) or not re.fullmatch(r"[\w-][\w.-]*/[\w.-]+", str(source)):
        raise ModelError(
            f"model folder {source} does not exist; expected a folder with config.json, "
            "*.safetensors and tokenizer.json, or a hub id such as 'tiiuae/falcon-7b'."
        )
    if not re.fullmatch(r"[0-9a-f]{40}", revision or ""):
        raise ModelError(
            f"model '{source}' is no folder here, and as a hub id its revision is {revision!r}; "
            "expected the 40 hex digits of a commit, so that the same weights come every time. "
            "Set model.revision."
        )
    return str(revision)


def can_be_had(source: str, revision: str, patience: float = 4.0) -> bool:
    """Return whether a hub's base lies in the local cache, or its hub answers for it at once.

    With HF_HUB_OFFLINE set only the cache counts.

    Args:
        patience: Seconds for the hub's answer.
    """
    from huggingface_hub import (
        constants,
        get_hf_file_metadata,
        hf_hub_url,
        try_to_load_from_cache,
    )

    if all(isinstance(try_to_load_from_cache(source, name, revision=revision), str)
           for name in NEEDED):
        return True
    if constants.HF_HUB_OFFLINE:
        return False
    answered = []

    def ask() -> None:
        try:
            url = hf_hub_url(source, NEEDED[1], revision=revision)
            get_hf_file_metadata(url, token=token(), timeout=patience)
            answered.append(True)
        except Exception:  # whatever is between here and the hub: the base cannot be had now
            pass

    # Looking a name up can take longer than any timeout of the request; nobody waits for it.
    asking = threading.Thread(target=ask, daemon=True)
    asking.start()
    asking.join(patience)
    return bool(answered)


def require_token(spec: BaseSpec) -> None:
    """Raise ModelError if the base is gated, must be fetched, and the environment has no token."""
    if spec.gated and not Path(spec.source).is_dir() and not token():
        raise ModelError(
            f"model '{spec.source}' is gated: its hub gives the weights only to a token whose "
            f"owner has accepted the licence, and the environment variable {TOKEN} is empty. "
            f"Accept the licence at https://huggingface.co/{spec.source}, then set {TOKEN}."
        )


def refusal(spec: BaseSpec, error: Exception) -> str:
    """Return the sentence for a base that could not be had, telling the usual reasons apart."""
    where = f"base '{spec.source}' (revision {spec.revision}) cannot be loaded: "
    kinds = {type(e).__name__ for e in _chain(error)}
    if "GatedRepoError" in kinds:
        there = "is refused" if token() else "is empty"
        return (
            f"{where}the repository is gated and the token in {TOKEN} {there}. Accept the licence "
            f"at https://huggingface.co/{spec.source} with the token's owner, then set {TOKEN}."
        )
    if "RevisionNotFoundError" in kinds:
        return (
            f"{where}the repository has no commit {spec.revision}. Take one from its history at "
            f"https://huggingface.co/{spec.source}/commits and set model.revision."
        )
    if "RepositoryNotFoundError" in kinds:
        return (
            f"{where}the hub has no such repository, or it is private and the token in {TOKEN} "
            f"{'may not read it' if token() else 'is empty'}. Check model.source."
        )
    return (
        f"{where}{message(error)}. Expected a folder with config.json and *.safetensors, or a "
        "reachable hub id."
    )


def _chain(error: BaseException) -> list[BaseException]:
    causes: list[BaseException] = []
    while error is not None and error not in causes:
        causes.append(error)
        error = error.__cause__ or error.__context__
    return causes


def cause(error: Exception) -> Exception | None:
    """Return the error as a cause to show, or None if its traceback would show the token."""
    return error if not token() or all(token() not in str(e) for e in _chain(error)) else None
