"""Which presets of pretrained bases this machine can train, as `plan` reckons it.

No weight is read, and no hub is asked: the architectures of the presets are known here.
"""

from dataclasses import dataclass

from ftzard.config import compose
from ftzard.config.schema import Config
from ftzard.errors import FtzardError
from ftzard.modeling.memory import Device
from ftzard.modeling.memory import device as found_device
from ftzard.steps import plan, plan_text
from ftzard.steps.plan_rows import Expected, expected_rows
from ftzard.workspace.workspace import Workspace

#: Pretrained bases for classification that need no licence, the smallest first.
PRETRAINED = ("minilm", "distilbert", "falcon_7b")
#: Longest training that is suggested, in seconds.
PATIENCE = 3600


@dataclass(frozen=True)
class Preset:
    """A preset that fits: its choice, parameters, peak of memory in bytes and seconds of training.
    """

    choice: str
    parameters: int
    memory: int
    seconds: float

    def sentence(self) -> str:
        """Return the preset with its size, memory and time, as a part of a sentence."""
        return (f"model={self.choice} ({self.parameters / 1e6:,.0f} million parameters, "
                f"{self.memory / 2**30:.1f} GB, about {plan_text.clock(self.seconds)})")


def fitting(workspace: Workspace, config: Config, *, device: Device | None = None
            ) -> list[Preset]:
    """Return the presets that fit the device and train on the workspace's rows within an hour.

    config: what the tokenized rows were made with. device: None looks for a GPU, else takes this
    machine. The smallest comes first; one that is the config's own model is left out. Raises
    FtzardError if there are no tokenized rows.
    """
    expected, where = expected_rows(workspace, config, "tuning_job", None), device or found_device()
    found = []
    for choice in PRETRAINED:
        if choice == config.model.name:
            continue
        preset = _tried(workspace, config, choice, expected, where)
        if preset is None:
            break  # the next one is larger
        found.append(preset)
    return found


def _tried(workspace: Workspace, config: Config, choice: str, expected: Expected, device: Device
           ) -> Preset | None:
    """Return a preset if it fits, as the plan of its training says."""
    try:
        changed = compose.compose({"model": choice, "seed": config.seed,
                                   "threads": config.threads})
        base = plan.base_of(workspace, changed)
        told = plan.plan_for(workspace, "tuning_job", changed, base, expected,
                             plan.training_of(workspace, "tuning_job", changed, expected), device,
                             changes=False)
    except FtzardError:
        return None
    if not told.fits or told.seconds > PATIENCE:
        return None
    return Preset(choice, told.sizes.parameters, told.memory.total, told.seconds)
