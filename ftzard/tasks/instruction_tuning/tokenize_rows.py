"""What instruction tuning needs in several steps: the template, the tokens, what an adapter keeps.

A template is chosen once, kept with the adapter and used again at prediction, so that a model is
always asked in the words it was trained with.
"""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd

from ftzard.config.schema import Config
from ftzard.errors import ModelError
from ftzard.modeling.adapter_meta import read_meta
from ftzard.modeling.base_model import LoadedBase
from ftzard.modeling.tokenizer import PreTrainedTokenizerBase
from ftzard.tasks.instruction_tuning import chat_template
from ftzard.tasks.instruction_tuning.chat_template import Template
from ftzard.tasks.instruction_tuning.generator import Generator
from ftzard.tasks.instruction_tuning.loading import bare_generator

#: What the learning curves show of each epoch.
CURVES = ("loss", "token_accuracy")


def template_of(config: Config, tokenizer: PreTrainedTokenizerBase) -> Template:
    """Return the template that the config names; raises ModelError if the tokenizer lacks it."""
    return chat_template.of(config.task.instructions.template, tokenizer)


def template_in(meta: Mapping) -> Template:
    """Return the template that an adapter was trained with."""
    return chat_template.from_meta(meta["template"])


def kept(config: Config, tokenizer: PreTrainedTokenizerBase,
         continues: Path | None = None) -> dict:
    """Return what an adapter's ftzard.json keeps beside its base: how it is asked.

    continues: the adapter that training goes on from, which must have been asked in the same way.
    """
    template = template_of(config, tokenizer)
    if continues is not None:
        before = template_in(read_meta(continues))
        if before != template:
            raise ModelError(
                f"adapter {continues} was trained with the template '{before.name}', but "
                f"task.instructions.template is '{template.name}', or its text has changed; "
                "expected the same. Set it back, or set retraining.start=base.")
    return {"template": template.to_dict(),
            "max_new_tokens": config.task.instructions.max_new_tokens, "cleaning": {}}


def bare(config: Config, loaded: LoadedBase) -> Generator:
    """Return the base itself as the config asks it, to compare with."""
    return bare_generator(loaded, template_of(config, loaded.tokenizer),
                                 config.task.instructions.max_new_tokens)


def loss_of(answerer: Generator, rows: pd.DataFrame) -> float:
    """Return the mean loss per token of the wanted answers, in nats."""
    loss, tokens = answerer.losses(rows["input_ids"].tolist(), rows["prompt_length"].tolist())
    return float(np.average(loss, weights=tokens))


def drawn(count: int, most: int, seed: int) -> np.ndarray:
    """Return which of `count` rows are asked for an answer of their own, drawn, in order."""
    return np.sort(np.random.default_rng(seed).permutation(count)[:most])
