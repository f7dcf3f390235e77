"""Which base, and how it is to be loaded: plain values, read before anything is.

A spec is what a saved adapter's ftzard.json keeps of its base, so a field that is added later
needs a default that means what was done before it existed.
"""

from dataclasses import asdict, dataclass
from pathlib import Path

from ftzard.modeling.head import DEFAULT_HEAD, HeadSpec

QUANTISATIONS = ("none", "int8", "nf4")
ATTENTIONS = ("sdpa", "eager", "flash_attention_2")
METHODS = ("lora", "rslora", "dora", "full")
#: Names of torch types, and the bytes that a number of each takes.
COMPUTE_TYPES = {"float32": 4, "bfloat16": 2, "float16": 2}
FALCON_TARGETS = ("query_key_value", "dense", "dense_h_to_4h", "dense_4h_to_h")


@dataclass(frozen=True)
class BaseSpec:
    """Which base, and how it is to be loaded.

    Attributes:
        source: Folder with config.json, safetensors and tokenizer, or a hub id such as
            'tiiuae/falcon-7b'.
        name: What people call it.
        revision: The hub's commit (40 hex digits), None for a folder.
        quantisation: Of every linear layer but the head: 'nf4' (4 bit), 'int8' or 'none'.
        double_quantisation: Of nf4, quantise the scales as well.
        compute_dtype: 'float32', 'bfloat16' or 'float16'.
        lora_targets: Names of the linear layers that get adapters, None for all but the head.
        max_length: Tokens a text may have.
        attention: 'sdpa', 'eager' or 'flash_attention_2'.
        gated: Whether the hub gives the weights only to the owner of a token.
        head: A fresh one for labels, or the base's own over its vocabulary, as the task has it.
    """

    source: str | Path
    name: str
    revision: str | None = None
    quantisation: str = "nf4"
    double_quantisation: bool = False
    compute_dtype: str = "float32"
    lora_targets: tuple[str, ...] | None = FALCON_TARGETS
    max_length: int = 128
    attention: str = "sdpa"
    gated: bool = False
    head: HeadSpec = DEFAULT_HEAD

    def __post_init__(self) -> None:
        if self.lora_targets is not None:
            object.__setattr__(self, "lora_targets", tuple(self.lora_targets))

    def to_dict(self) -> dict:
        """Return the spec as plain values; its head is named by the task, if not the default.

        `ftzard.tasks.base.base_spec` makes a spec of them again.
        """
        values = {**asdict(self), "source": str(self.source)}
        del values["head"]
        return values | ({} if self.head == DEFAULT_HEAD else {"task": self.task})

    @property
    def task(self) -> str:
        """Name of the task that the base is loaded for."""
        return self.head.task
