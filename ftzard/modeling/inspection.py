"""What a base is made of, counted on the meta device: shapes without weights, no memory, no hub.

From the config alone comes what a load will have to show (how many layers are quantised, which
ones get an adapter) and what an estimate needs (parameters, those that train).
"""

import copy
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import torch
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    AutoModelForSequenceClassification,
    PretrainedConfig,
    PreTrainedModel,
)

from ftzard.errors import ModelError, nearest
from ftzard.modeling.architecture import (
    ENCODER,
    architecture_of,
    head_names,
    head_parts,
    linear_layers,
    tied,
    token_embeddings,
)
from ftzard.modeling.head import DEFAULT_HEAD, HeadSpec
from ftzard.modeling.hf_logging import quiet_loading
from ftzard.modeling.hub import cause, refusal, require_token, token
from ftzard.modeling.spec import COMPUTE_TYPES, METHODS, BaseSpec


@dataclass(frozen=True)
class Inspection:
    """What a base is made of. All counts are of single numbers, not of bytes.

    Attributes:
        model_type: transformers' word, such as 'falcon'.
        architecture: 'decoder' or 'encoder'.
        parameters: Of backbone and head.
        head: Names of its layers.
        head_parameters: Of a head for labels, always trained, always float32; of one over the
            vocabulary, trained with the token embeddings or not at all, and 0 where it is tied to
            them.
        embedding: Name of the token embeddings.
        embedding_parameters: Theirs alone.
        linear: (out, in) of every linear layer but the head's, by full name.
        linear_parameters: The numbers in those layers' weights, without biases.
        targets: Last parts of the names of the layers that get an adapter.
        quantised: How many layers a load must show quantised, which are all of `linear` or none.
        layers: Blocks.
        hidden, heads, vocabulary: As in the config.
        intermediate: The widest linear layer.
        longest: Tokens the base was made for, None where nothing limits them.
        is_causal_lm: Whether the head is over the vocabulary.
        tied: Whether that head is one matrix with the token embeddings.
    """

    model_type: str
    architecture: str
    parameters: int
    head: tuple[str, ...]
    head_parameters: int
    embedding: str
    embedding_parameters: int
    linear: dict[str, tuple[int, int]]
    linear_parameters: int
    targets: tuple[str, ...]
    quantised: int
    layers: int
    hidden: int
    intermediate: int
    heads: int
    vocabulary: int
    longest: int | None
    is_causal_lm: bool = False
    tied: bool = False

    @property
    def adapted(self) -> tuple[str, ...]:
        """The full names of the layers that get an adapter."""
        return tuple(name for name in self.linear if name.rsplit(".", 1)[-1] in self.targets)

    def trainable(
        self, *, method: str = "lora", rank: int | None = 16, train_embeddings: bool = False
    ) -> int:
        """Return how many numbers a method trains, head and embeddings included.

        Args:
            method: 'lora', 'rslora', 'dora' or 'full'.
            rank: Of the adapter (unused by 'full').
            train_embeddings: Whether a copy of the token embeddings is trained as well, and with
                it the head over the vocabulary, which a model that writes does not train
                otherwise.

        Raises:
            ModelError: For an unknown method.
        """
        if method not in METHODS:
            raise ModelError(f"training.method is '{method}'{nearest(method, METHODS)}")
        if method == "full":
            return self.parameters
        count = 0 if self.is_causal_lm and not train_embeddings else self.head_parameters
        count += self.embedding_parameters if train_embeddings else 0
        for name in self.adapted:
            rows, columns = self.linear[name]
            count += rank * (rows + columns) + (rows if method == "dora" else 0)
        return count

    def weight_bytes(self, spec: BaseSpec) -> int:
        """Return the bytes that the base's weights take as `spec` loads them.

        Quantised layers with their scales (nf4: a float32 per 64 numbers, a quarter of that and
        a float32 per 16,384 with double quantisation; int8: a float32 per row), a head for labels
        in float32, the rest in the compute type.
        """
        width = COMPUTE_TYPES[spec.compute_dtype]
        rest = self.parameters - self.head_parameters
        stored = 0.0
        if spec.quantisation != "none":
            rest -= self.linear_parameters
            scales = 1 / 64 + 4 / (64 * 256) if spec.double_quantisation else 4 / 64
            rows = sum(out for out, _ in self.linear.values())
            stored = {
                "nf4": self.linear_parameters * (0.5 + scales),
                "int8": self.linear_parameters + 4 * rows,
            }[spec.quantisation]
        head = self.head_parameters * (width if self.is_causal_lm else 4)
        return int(stored) + rest * width + head


def inspect(spec: BaseSpec, classes: int, config: PretrainedConfig | None = None) -> Inspection:
    """Return what the base of `spec` is made of with the head that its task needs.

    Args:
        classes: Labels of the head; unused by a base that writes.
        config: The architecture, if it is at hand; None reads config.json of the folder or of the
            hub at the pinned revision (a few kB), and nothing else.

    Raises:
        ModelError: For a config that cannot be had, a model without such a head, and for
            lora_targets that match nothing (naming the nearest).
    """
    config = read_config(spec) if config is None else config
    model = outline(config, classes, spec.head)
    linear = linear_layers(model)
    if not linear:
        raise ModelError(
            f"a base of type '{config.model_type}' has no linear layers but its head; expected "
            "some to put adapters on. Take a base of another architecture."
        )
    name, text = token_embeddings(model), config.get_text_config()
    return Inspection(
        model_type=config.model_type,
        architecture=architecture_of(config),
        parameters=sum(p.numel() for p in model.parameters()),
        head=head_names(model),
        head_parameters=sum(
            p.numel() for part in head_parts(model).values() for p in part.parameters()
        ) if not tied(model) else 0,
        embedding=name,
        embedding_parameters=model.get_submodule(name).weight.numel(),
        linear={key: (part.out_features, part.in_features) for key, part in linear.items()},
        linear_parameters=sum(part.weight.numel() for part in linear.values()),
        targets=chosen_targets(linear, spec.lora_targets),
        quantised=0 if spec.quantisation == "none" else len(linear),
        layers=text.num_hidden_layers,
        hidden=text.hidden_size,
        intermediate=max(max(part.out_features, part.in_features) for part in linear.values()),
        heads=text.num_attention_heads,
        vocabulary=text.vocab_size,
        longest=getattr(text, "max_position_embeddings", None),
        is_causal_lm=spec.head.is_causal_lm,
        tied=tied(model),
    )


def read_config(spec: BaseSpec) -> PretrainedConfig:
    """Return the architecture of a base from its config.json alone, before any weight is fetched.

    Raises ModelError for a gated base without a token, a token that is not let in, a revision or a
    repository that the hub does not have, and for a config that cannot be read.
    """
    require_token(spec)
    try:
        with quiet_loading():
            return AutoConfig.from_pretrained(
                str(spec.source), revision=spec.revision, token=token(), trust_remote_code=False
            )
    except Exception as error:
        raise ModelError(refusal(spec, error)) from cause(error)


def outline(
    config: PretrainedConfig, classes: int, head: HeadSpec = DEFAULT_HEAD
) -> PreTrainedModel:
    """Return the model of a config with a head, on the meta device.

    Args:
        classes: Labels of a head that has them.

    Raises:
        ModelError: If transformers has no such model for this architecture, and for an encoder
            that would have to write.
    """
    config = copy.deepcopy(config)
    if head.is_causal_lm:
        return _causal_lm(config, head)
    architecture_of(config)
    config.num_labels = classes
    try:
        with torch.random.fork_rng(devices=[]), torch.device("meta"), quiet_loading():
            return AutoModelForSequenceClassification.from_config(
                config, attn_implementation="eager"
            )
    except Exception as error:
        raise ModelError(
            f"a base of type '{config.model_type}' cannot be made into a classifier: {error}. "
            "Expected an architecture that transformers has sequence classification for."
        ) from error


def _causal_lm(config: PretrainedConfig, head: HeadSpec) -> PreTrainedModel:
    expected = (
        f"task={head.task} needs one that writes from left to right, such as Falcon, "
        f"Mistral, Llama or Qwen. Take such a base, or task={DEFAULT_HEAD.task}."
    )
    if architecture_of(config) == ENCODER:
        raise ModelError(
            f"a base of type '{config.model_type}' is an encoder, which reads a text as a whole; "
            + expected
        )
    try:
        with torch.random.fork_rng(devices=[]), torch.device("meta"), quiet_loading():
            return AutoModelForCausalLM.from_config(config, attn_implementation="eager")
    except Exception as error:
        raise ModelError(
            f"a base of type '{config.model_type}' cannot be made to write: {error}. {expected}"
        ) from error


def chosen_targets(linear: Iterable[str], wanted: Sequence[str] | None) -> tuple[str, ...]:
    """Return the last parts of the names of the layers that get an adapter.

    Args:
        linear: Full names of the linear layers.
        wanted: Names to find among their last parts, None for all.

    Raises:
        ModelError: For one that matches nothing.
    """
    there = tuple(dict.fromkeys(name.rsplit(".", 1)[-1] for name in linear))
    if wanted is None:
        return there
    for name in wanted:
        if name not in there:
            raise ModelError(
                f"lora_targets: '{name}' matches no linear layer of this model"
                f"{nearest(name, there)}"
            )
    return tuple(wanted)
