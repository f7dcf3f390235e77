"""Checks of instruction tuning: packed rows see only themselves, and how rows are tokenized."""

import json

import pandas
import torch
from torch import nn
from transformers import PreTrainedTokenizerBase

from ftzard.errors import ModelError
from ftzard.modeling import architecture
from ftzard.modeling.batching import pad
from ftzard.modeling.checks import COMPANY, COMPARED_ROWS, PROBE, row_name
from ftzard.modeling.spec import BaseSpec
from ftzard.modeling.tokenizer import encode
from ftzard.tasks.instruction_tuning import packing, tokenization
from ftzard.tasks.instruction_tuning.chat_template import Template


def assert_packing(model: nn.Module, tokenizer: PreTrainedTokenizerBase, spec: BaseSpec) -> None:
    """Raise ModelError if texts that are packed into one sequence are not read as each alone.

    Asked of the model itself, at the cost of three small batches: an attention without masks of
    its own (flash_attention_2), a window that is shorter than a text, and a model that does not
    heed a mask or the places of tokens.
    """
    remedy = "Set task.instructions.packing=false"
    if spec.attention == "flash_attention_2":
        raise ModelError(
            "task.instructions.packing is true with model.attention=flash_attention_2, which takes "
            f"no mask that keeps packed rows apart; expected sdpa or eager. {remedy}, or "
            "model.attention=sdpa."
        )
    config = architecture.headed_in(model).config.get_text_config()
    window = getattr(config, "sliding_window", None)
    if window is not None and window < spec.max_length:
        raise ModelError(
            f"task.instructions.packing is true, but base '{spec.name}' looks back {window} tokens "
            f"only and model.max_length is {spec.max_length}; expected no more than that. "
            f"{remedy}, or model.max_length={window}."
        )
    ids, _, _ = encode(PROBE, tokenizer, spec.max_length)
    device, padding = next(model.parameters()).device, tokenizer.pad_token_id
    training = model.training
    model.eval()
    try:
        with torch.no_grad():
            alone = torch.cat([model(**pad([one], padding, device)).logits.float()[0]
                               for one in ids])
            batch = packing.together([ids], padding, device, **packing.mask_of(model))
            together = model(**batch).logits.float()[0]
    finally:
        model.train(training)
    difference = float((together - alone).abs().max())
    limit = max(COMPANY[spec.compute_dtype], COMPANY.get(spec.quantisation, 0.0))
    limit *= float(alone.abs().max())
    if not difference <= limit:
        raise ModelError(
            f"base '{spec.name}': of texts packed into one sequence it gives logits that differ by "
            f"{difference:.2g} from those of each alone; expected at most {limit:.1g}. It lets "
            f"packed rows see each other. {remedy}."
        )


def answered_as(
    rows: pandas.DataFrame,
    tokenizer: PreTrainedTokenizerBase,
    template: Template,
    max_length: int,
) -> None:
    """Raise ModelError if the first rows' token ids are not what this template makes of them.

    Args:
        rows: A table with input_ids, prompt_length and, to be compared with, messages (JSON) and
            label.
    """
    if not {"messages", "label"} <= set(rows):
        return
    head = rows.head(COMPARED_ROWS)
    messages = [json.loads(text) for text in head["messages"]]
    made = tokenization.encode(messages, head["label"].tolist(), tokenizer, template, max_length)
    for place, (stored, prompt) in enumerate(
        zip(head["input_ids"], head["prompt_length"], strict=True)
    ):
        ids, expected = list(made.input_ids[place]), int(made.prompt_length[place])
        if list(stored) != ids or prompt != expected:
            raise ModelError(
                f"the rows were tokenized otherwise than template '{template.name}' does it with "
                f"this base: row {row_name(head, place)} stands as {list(stored)[:6]}… "
                f"({len(stored)} ids, {prompt} of the prompt), it makes {ids[:6]}… ({len(ids)} ids "
                f"of at most {max_length}, {expected} of the prompt). Run the preprocessing step "
                "again with this model and template."
            )
