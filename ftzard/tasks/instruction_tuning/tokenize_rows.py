"""What instruction tuning needs in several steps: the template, the tokens, what an adapter keeps.

A template is chosen once, kept with the adapter and used again at prediction, so that a model is
always asked in the words it was trained with.
"""

import json
from collections.abc import Iterator, Mapping

import numpy as np
import pandas as pd

from ftzard.config.schema import Config
from ftzard.errors import DataError
from ftzard.modeling.tokenizer import PreTrainedTokenizerBase
from ftzard.steps.step_run import StepRun
from ftzard.tasks.instruction_tuning import chat_template, tokenization
from ftzard.tasks.instruction_tuning.chat_template import Template
from ftzard.tasks.instruction_tuning.tokenization import drawn  # noqa: F401

COLUMNS = ("id", "batch", "split", "text", "label", "messages", "source", "group")


def turns(messages: str) -> list[dict]:
    """Return the messages of a row, as its `messages` column keeps them."""
    return json.loads(messages)


def template_of(config: Config, tokenizer: PreTrainedTokenizerBase) -> Template:
    """Return the template that the config names; raises ModelError if the tokenizer lacks it."""
    return chat_template.of(config.task.instructions.template, tokenizer)


def template_in(meta: Mapping) -> Template:
    """Return the template that an adapter was trained with."""
    return chat_template.from_meta(meta["template"])


def tokenizer_texts(config: Config, rows: pd.DataFrame) -> Iterator[str]:
    """Yield what a tokenizer is to learn from: instructions, inputs, answers, and their frame."""
    around = chat_template.words(config.task.instructions.template)
    for messages, answer in zip(rows["messages"], rows["label"], strict=True):
        for turn in turns(messages):
            yield from filter(None, (turn["content"], turn.get("input")))
        yield from filter(None, (answer, around))


def tokenize(run: StepRun, rows: pd.DataFrame, tokenizer: PreTrainedTokenizerBase,
             template: Template, max_length: int | None = None) -> pd.DataFrame:
    """Return rows with their ids as the model will see them; log what is learned and what is cut.

    Rows without room for one token of their answer leave, counted; above data.max_rejected the
    step fails. max_length: None takes the config's.
    """
    longest = max_length or run.config.model.max_length
    found = tokenization.encode(
        rows["messages"].map(turns).tolist(), rows["label"].tolist() if "label" in rows else None,
        tokenizer, template, longest)
    tokenized = rows.filter(COLUMNS).assign(
        input_ids=found.input_ids, prompt_length=found.prompt_length, length=found.length,
        cut=found.cut)
    lost, limit = int(np.sum(found.lost)), run.config.data.max_rejected
    if lost > limit * len(rows):
        raise DataError(
            f"{lost:,} of {len(rows):,} rows have no room for one token of their answer within "
            f"model.max_length={longest}; expected at most {limit:.0%} (data.max_rejected). Raise "
            "model.max_length, or shorten the instructions.")
    kept = tokenized[~np.asarray(found.lost)].reset_index(drop=True)
    run.log(
        rows=len(kept), tokens=int(kept["length"].sum()), rows_without_room=lost,
        **{f"supervised_tokens_{side}": int(count) for side, count in
           (kept["length"] - kept["prompt_length"]).groupby(kept["split"]).sum().items() if count},
        rows_cut=int((kept["cut"] > 0).sum()), tokens_cut=int(kept["cut"].sum()))
    if lost:
        print(f"{lost:,} rows have no room for their answer within {longest} tokens and leave")
    return kept
