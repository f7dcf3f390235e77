"""The presets of pretrained bases that this machine can train, by their estimates.

No weights are read and no hub is queried: the architectures of the presets are packaged.
"""

from dataclasses import dataclass

from ftzard.config import compose
from ftzard.config.schema import Config
from ftzard.core.durations import duration_text
from ftzard.errors import FtzardError
from ftzard.modeling.memory import Device
from ftzard.modeling.memory import device as found_device
from ftzard.steps import plan
from ftzard.steps.plan_rows import Expected, expected_rows
from ftzard.workspace.workspace import Workspace

#: Pretrained bases for classification that need no license, the smallest first.
PRETRAINED = ("minilm", "distilbert", "falcon_7b")
#: Longest training that is suggested, in seconds.
PATIENCE = 3600


@dataclass(frozen=True)
class Preset:
    """A preset that fits: its choice, parameters, peak memory in bytes and training seconds."""

    choice: str
    parameters: int
    memory: int
    seconds: float

    def sentence(self) -> str:
        """Return the preset with its size, memory and time, as a part of a sentence."""
        return (f"model={self.choice} ({self.parameters / 1e6:,.0f} million parameters, "
                f"{self.memory / 2**30:.1f} GB, about {duration_text(self.seconds)})")


def fitting(workspace: Workspace, config: Config, *, device: Device | None = None
            ) -> list[Preset]:
    """Return the presets that fit the device and train on the workspace's rows within an hour.

    The smallest comes first; one that is the config's own model is left out.

    Args:
        config: What the tokenized rows were made with.
        device: None looks for a GPU, else takes this machine.

    Raises:
        FtzardError: If there are no tokenized rows.
    """
    expected, where = expected_rows(workspace, config, "tuning_job", None), device or found_device()
    presets = []
    for choice in PRETRAINED:
        if choice == config.model.name:
            continue
        preset = _tried(workspace, config, choice, expected, where)
        if preset is None:
            break  # the next one is larger
        presets.append(preset)
    return presets


def _tried(workspace: Workspace, config: Config, choice: str, expected: Expected, device: Device
           ) -> Preset | None:
    """Return a preset if its training fits, by its estimate."""
    try:
        changed = compose.compose({"model": choice, "seed": config.seed,
                                   "threads": config.threads})
        base = plan.base_of(workspace, changed)
        training = plan.training_of(workspace, "tuning_job", changed, expected)
        estimate = plan.plan_for(workspace, "tuning_job", changed, base, expected, training, device,
                                 changes=False)
    except FtzardError:
        return None
    if estimate.sizes is None or estimate.memory is None:
        return None
    if not estimate.fits or estimate.seconds > PATIENCE:
        return None
    return Preset(choice, estimate.sizes.parameters, estimate.memory.total, estimate.seconds)
