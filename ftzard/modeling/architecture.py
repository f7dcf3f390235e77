"""What differs between architectures: where the head is, and which token it answers from.

A decoder (Falcon, Mistral, Llama, Qwen) answers from the last token of a text with one layer
`score`; an encoder (DistilBERT, BERT) from the first, often with two layers of its own. A decoder
that writes has the layer `lm_head` over its vocabulary, which may be tied: one matrix with the
token embeddings. Whatever is not the head is the backbone, in the words of transformers
`base_model`.
"""

import torch
from torch import nn
from transformers import MODEL_FOR_MASKED_LM_MAPPING, PretrainedConfig, PreTrainedModel

from ftzard.errors import ModelError

DECODER, ENCODER = "decoder", "encoder"


def architecture_of(config: PretrainedConfig) -> str:
    """Return 'decoder' or 'encoder'. Raises ModelError for a model that is both."""
    if getattr(config, "is_encoder_decoder", False):
        raise ModelError(
            f"a base of type '{config.model_type}' is encoder and decoder in one; expected either "
            "an encoder such as DistilBERT or a decoder such as Falcon."
        )
    return ENCODER if type(config) in MODEL_FOR_MASKED_LM_MAPPING else DECODER


def headed_in(model: nn.Module) -> PreTrainedModel:
    """Return the transformers model inside `model`, which may carry an adapter.

    Raises ModelError if it has no head, neither for labels nor over its vocabulary.
    """
    inner = next((m for m in model.modules() if isinstance(m, PreTrainedModel)), None)
    if inner is None or not head_names(inner):
        raise ModelError(
            f"{type(model).__name__} has no classification head and none over its vocabulary; "
            "expected a model whose head lies beside its backbone."
        )
    return inner


def backbone(model: nn.Module) -> nn.Module:
    """Return the part of a model that gives the last hidden states, adapter and all."""
    return headed_in(model).base_model


def head_names(model: PreTrainedModel) -> tuple[str, ...]:
    """Return the names of the layers beside the backbone: ('pre_classifier', 'classifier')."""
    if not hasattr(model, model.base_model_prefix):
        return ()
    return tuple(
        name
        for name, part in model.named_children()
        if name != model.base_model_prefix and next(part.parameters(), None) is not None
    )


def head_parts(model: PreTrainedModel) -> dict[str, nn.Module]:
    """Return the layers of the head by name. Raises ModelError if there are none."""
    inside = headed_in(model)
    return {name: getattr(inside, name) for name in head_names(inside)}


def is_causal_lm(model: nn.Module) -> bool:
    """Return whether the head is over the vocabulary, rather than over labels."""
    return headed_in(model).get_output_embeddings() is not None


def tied(model: nn.Module) -> bool:
    """Return whether the head over the vocabulary is one matrix with the token embeddings."""
    inside = headed_in(model)
    return is_causal_lm(inside) and (
        inside.get_output_embeddings().weight is inside.get_input_embeddings().weight
    )


def linear_layers(model: PreTrainedModel) -> dict[str, nn.Linear]:
    """Return every linear layer by its full name, but for those of the head."""
    heads = tuple(f"{name}." for name in head_names(model))
    return {
        name: part
        for name, part in model.named_modules()
        if isinstance(part, nn.Linear) and not f"{name}.".startswith(heads)
    }


def token_embeddings(model: PreTrainedModel) -> str:
    """Return the full name of the token embeddings."""
    wanted = model.get_input_embeddings()
    return next(name for name, part in model.named_modules() if part is wanted)


def counts_positions(model: nn.Module) -> bool:
    """Return whether a token's place is looked up in a table, so that left padding shifts it."""
    return sum(isinstance(part, nn.Embedding) for part in model.modules()) > 1


def last_hidden(output: object) -> torch.Tensor:
    """Return the last hidden states (rows, tokens, width) of what a backbone returned."""
    return output[0]
