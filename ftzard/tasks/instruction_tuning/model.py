"""Instruction tuning's part of training, and of what is measured around a model."""

import time
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import pandas as pd
from transformers import PreTrainedTokenizerBase

from ftzard.config.schema import Config, Data
from ftzard.config.training_config import TrainingConfig
from ftzard.errors import ModelError
from ftzard.modeling.adapter_meta import read_meta
from ftzard.modeling.base_model import LoadedBase
from ftzard.modeling.inference import Progress
from ftzard.tasks.base import Baseline, Predicted
from ftzard.tasks.benchmark import latency_of, spread, times
from ftzard.tasks.instruction_tuning import TASK, chat_template
from ftzard.tasks.instruction_tuning.checks import answered_as, assert_packing
from ftzard.tasks.instruction_tuning.generator import Generator
from ftzard.tasks.instruction_tuning.objective import Answers
from ftzard.tasks.instruction_tuning.predictor import bare_generator
from ftzard.tasks.instruction_tuning.tokenization import encode

#: The column by which training rows are counted.
ROWS_BY = "source"
#: What the learning curves show of each epoch, and what its line says.
CURVES = ("loss", "token_accuracy")
EPOCH_METRIC = "perplexity"
#: Rows of a timed pass that are answered one at a time, and together.
TIMED = (4, 32)


def head_labels(rows: pd.DataFrame) -> list[str]:
    """Return no labels: the head is over the vocabulary."""
    return []


def objective(loaded: LoadedBase, train_rows: pd.DataFrame, validation_rows: pd.DataFrame,
              config: TrainingConfig) -> Answers:
    """Return the objective on rows with input_ids and prompt_length."""
    if config.class_weights is not None:
        raise ModelError(
            f"training.class_weights is {config.class_weights!r} in a training for {TASK.name}, "
            "where an answer has no class; expected null.")
    return Answers(loaded.model, train_rows, validation_rows,
                   loaded.spec.max_length if config.packing else None)


def check_rows(loaded: LoadedBase, train_rows: pd.DataFrame, validation_rows: pd.DataFrame,
               config: TrainingConfig, adapter_meta: Mapping) -> None:
    """Raise ModelError for rows that were tokenized otherwise than this base does it with the
    template of `adapter_meta`, for a lack of one, and for a base that cannot read packed rows."""
    missing = [key for key in TASK.predictor_meta if key not in adapter_meta]
    if missing:
        raise ModelError(
            f"the adapter's entries lack {', '.join(missing)}; expected "
            f"{' and '.join(TASK.predictor_meta)} in `extra`, because a model that writes is asked "
            "as it was trained.")
    template = chat_template.from_meta(adapter_meta["template"])
    for rows in (train_rows, validation_rows):
        answered_as(rows, loaded.tokenizer, template, loaded.spec.max_length)
    if config.packing:
        assert_packing(loaded.model, loaded.tokenizer, loaded.spec)


def adapter_meta(config: Config, tokenizer: PreTrainedTokenizerBase, cleaning: Mapping,
                 continues: Path | None = None) -> dict:
    """Return what an adapter's ftzard.json keeps beside its base: how it is asked.

    A template is chosen once and kept with the adapter, so that a model is always asked in the
    words it was trained with. continues: the adapter that training goes on from, which must have
    been asked in the same way; cleaning: of which a function of the workspace's own is kept.
    """
    template = chat_template.of(config.task.instructions.template, tokenizer)
    if continues is not None:
        before = chat_template.from_meta(read_meta(continues)["template"])
        if before != template:
            raise ModelError(
                f"adapter {continues} was trained with the template '{before.name}', but "
                f"task.instructions.template is '{template.name}', or its text has changed; "
                "expected the same. Set it back, or set retraining.start=base.")
    return {"template": template.to_dict(),
            "max_new_tokens": config.task.instructions.max_new_tokens,
            "cleaning": {key: value for key, value in cleaning.items() if key == "own"}}


def continued_labels(rows: pd.DataFrame, adapter: Path, name: str, data: Data) -> list[str]:
    """Return no labels: an answer may be any text."""
    return []


def bare(loaded: LoadedBase, config: Config) -> Generator:
    """Return the base itself as the config asks it, to compare with."""
    return bare_generator(loaded, adapter_meta(config, loaded.tokenizer, {}))


def validation_baseline(loaded: LoadedBase, train: pd.DataFrame, validation: pd.DataFrame,
                        config: Config) -> Baseline:
    """Return what a trained model has to beat on the validation rows: the bare base's loss."""
    loss = loss_of(bare(loaded, config), validation)
    return Baseline(
        {"base_validation_loss": loss},
        f"to beat on validation: the bare base's loss of {loss:.3f} nats per token of an answer")


def loss_of(predictor: Generator, rows: pd.DataFrame) -> float:
    """Return the mean loss per token of the wanted answers, in nats."""
    loss, tokens = predictor.losses(rows["input_ids"].tolist(), rows["prompt_length"].tolist())
    return float(np.average(loss, weights=tokens))


def calibrate(predictor: Generator, rows: pd.DataFrame) -> None:
    """Return None: the confidence of an answer is not calibrated."""


def predict(predictor: Generator, rows: pd.DataFrame, on_step: Progress | None = None
            ) -> Predicted:
    """Return what a model answers to the prompts of tokenized rows."""
    prompts = [list(ids[:length]) for ids, length in
               zip(rows["input_ids"], rows["prompt_length"], strict=True)]
    answers = predictor.generate(prompts, on_step=on_step)
    columns = {"suggestion": answers["answer"].tolist(),
               **{name: answers[name].tolist() for name in ("confidence", "tokens", "finished")}}
    return Predicted(columns, {"answers_unfinished": int((~answers["finished"]).sum())},
                     answers, predictor.embeddings(prompts))


def benchmark(answerer: Generator, request: Mapping) -> tuple[dict, int, Callable[[], dict]]:
    """Return the losses and answers of an answerer, how many were cut, and what times it once."""
    rows = encode(request["messages"], request["wanted"], answerer.tokenizer, answerer.template,
                          answerer.max_length)
    fit = np.flatnonzero(~rows.lost)
    loss, tokens = np.zeros(len(rows.lost)), np.zeros(len(rows.lost), dtype=np.int64)
    loss[fit], tokens[fit] = answerer.losses(
        [rows.input_ids[i] for i in fit], rows.prompt_length[fit], batch_size=request["batch_size"])
    asked = [i for i in request["asked"] if not rows.lost[i]]
    prompts = [rows.input_ids[i][:rows.prompt_length[i]] for i in asked]
    generated = answerer.generate(prompts, batch_size=request["batch_size"])
    answers = generated.set_index(pd.Index(asked)).reindex(request["asked"]).fillna(
        {"answer": "", "confidence": 0.0, "tokens": 0, "finished": False})
    singles, together = (spread(len(prompts), most) for most in TIMED)

    def turn() -> dict:
        latency = latency_of(lambda ids: answerer.generate([ids]), [prompts[i] for i in singles])
        began = time.perf_counter()
        written = answerer.generate(
            [prompts[i] for i in together], batch_size=request["batch_size"])
        return times(latency, len(together), int(written["tokens"].sum()),
                      time.perf_counter() - began)

    return {"loss": loss, "tokens": tokens, "lost": rows.lost, "cut": rows.cut,
            "answers": np.array(answers["answer"].tolist(), dtype=str),
            "answer_confidence": answers["confidence"].to_numpy(dtype=float),
            "answer_tokens": answers["tokens"].to_numpy(dtype=np.int64),
            "answer_finished": answers["finished"].to_numpy(dtype=bool)}, int(
                (rows.cut[fit] > 0).sum()), turn
