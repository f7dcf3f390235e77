"""Checkpoints: the state of one training, kept so that a run which was cut off goes on from it.

A checkpoint counts only with its marker, which is written last and names the hash of the state;
a torn one is passed over for the one before. It belongs to exactly one training: `identity` says
which rows, base, values and versions it came from, and another identity never sees it.
"""

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path

import torch

from ftzard.core.artifacts import sha256, write_atomically, write_json

CHECKPOINTS = 2


@dataclass(frozen=True)
class Checkpoints:
    """The checkpoints of one training.

    Attributes:
        root: Folder of all trainings' checkpoints.
        identity: What is trained on what, as plain values.
        every: Optimizer steps between two checkpoints (one more is made after each epoch).
    """

    root: Path
    identity: dict
    every: int

    @property
    def folder(self) -> Path:
        """Where this training's checkpoints are."""
        text = json.dumps(self.identity, sort_keys=True, default=str)
        return Path(self.root) / hashlib.sha256(text.encode()).hexdigest()[:20]

    def due(self, step: int) -> bool:
        """Return whether a checkpoint belongs after this many steps."""
        return self.every > 0 and step % self.every == 0

    def save(self, step: int, state: dict) -> None:
        """Keep a state (tensors and plain values) after `step` steps; older ones but one go."""
        file = self.folder / f"{step:09d}.pt"
        write_atomically(file, lambda part: torch.save(state, part))
        write_json(file.with_suffix(".json"), {"step": step, "sha256": sha256(file)})
        for old in self._markers()[CHECKPOINTS:]:
            old.unlink(missing_ok=True)
            old.with_suffix(".pt").unlink(missing_ok=True)

    def latest(self) -> dict | None:
        """Return the newest complete state, or None; a torn one is passed over."""
        for marker in self._markers():
            file = marker.with_suffix(".pt")
            state = json.loads(marker.read_text(encoding="utf-8"))
            if file.is_file() and sha256(file) == state["sha256"]:
                return torch.load(file, map_location="cpu", weights_only=True)
        return None

    def clear(self) -> None:
        """Remove this training's states: it has ended."""
        for path in (*self.folder.glob("*.json"), *self.folder.glob("*.pt")):
            path.unlink()

    def _markers(self) -> list[Path]:
        return sorted(self.folder.glob("*.json"), reverse=True)


def random_state() -> dict:
    """Return the state of torch's generators: they draw dropout and first weights."""
    state = {"cpu": torch.get_rng_state()}
    if torch.cuda.is_available():
        state["cuda"] = torch.cuda.get_rng_state_all()
    return state


def set_random_state(state: dict) -> None:
    """Put torch's generators back to a state of `random_state`."""
    torch.set_rng_state(state["cpu"])
    if "cuda" in state:
        torch.cuda.set_rng_state_all(state["cuda"])
