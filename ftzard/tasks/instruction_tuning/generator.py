"""An answerer: a model that writes answers, and tells how likely it finds those that are wanted.

Answers are greedy: at every place the likeliest token, so the same model answers the same again.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import numpy
import pandas
import torch
from torch import nn
from transformers import (
    GenerationConfig,
    LogitsProcessor,
    LogitsProcessorList,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)

from ftzard.errors import ModelError
from ftzard.modeling.architecture import backbone, last_hidden
from ftzard.modeling.batching import pad, sorted_batches
from ftzard.modeling.hf_logging import quiet_loading
from ftzard.tasks.instruction_tuning.chat_template import Template
from ftzard.tasks.instruction_tuning.token_loss import TOKENS, Progress, row_losses
from ftzard.tasks.instruction_tuning.tokenization import Messages, asked, encode

COLUMNS = ("answer", "confidence", "tokens", "finished")


@dataclass
class Generator:
    """A model that is ready to answer instructions.

    Attributes:
        model: Causal, with or without an adapter.
        template: How it is asked.
        max_length: Tokens that a prompt and its answer may have in training.
        max_new_tokens: Of an answer that it writes.
        meta: What the adapter's folder says about it.
        labels: None.
    """

    model: nn.Module
    tokenizer: PreTrainedTokenizerBase
    template: Template
    max_length: int
    max_new_tokens: int
    meta: dict
    labels: tuple[str, ...] = ()

    def losses(
        self,
        input_ids: Sequence[Sequence[int]],
        prompt_lengths: Sequence[int],
        *,
        batch_size: int = 64,
        on_step: Progress | None = None,
    ) -> tuple[numpy.ndarray, numpy.ndarray]:
        """Return (loss, tokens) of rows, in their order.

        Args:
            input_ids: Prompt and wanted answer of each.
            prompt_lengths: How many of them are the prompt's. loss: float64, mean negative
                log-likelihood of a row's answer per token, in nats; tokens: int64, those it is the
                mean of, the one that ends the answer among them.
            on_step: Called with (rows done, rows in all) after each batch.

        Raises:
            ModelError: For a row without prompt or answer, and for a loss that is not finite.
        """
        sums = row_losses(self.model, input_ids, prompt_lengths, batch_size=batch_size,
                          pad_id=self.tokenizer.pad_token_id, on_step=on_step)
        return sums.loss, sums.tokens

    def generate(
        self,
        prompts: Sequence[Sequence[int]],
        *,
        batch_size: int = 32,
        on_step: Progress | None = None,
    ) -> pandas.DataFrame:
        """Return what the model answers to prompts, a row for each in their order.

        Columns: answer; confidence, exp of the mean log-probability of its tokens, in 0..1; tokens,
        how many were written, what ends the answer among them; finished, whether it ended by itself
        and not at max_new_tokens. on_step: as for `losses`. Raises ModelError for an empty prompt
        and for one that leaves no room within max_length.
        """
        lengths = numpy.array([len(ids) for ids in prompts], dtype=numpy.int64)
        self._require_room(lengths)
        answers: list[tuple | None] = [None] * len(lengths)
        done = 0
        with self._evaluating(), _greedy(self._causal):
            for rows in self._batches(lengths, batch_size):
                for row, answer in zip(rows, self._written([prompts[row] for row in rows]),
                                       strict=True):
                    answers[row] = answer
                done += len(rows)
                if on_step is not None:
                    on_step(done, len(lengths))
        table = pandas.DataFrame(answers, columns=list(COLUMNS))
        return table.astype({"answer": "str", "confidence": "float64", "tokens": "int64",
                             "finished": "bool"})

    def _batches(self, lengths: numpy.ndarray, batch_size: int) -> list[numpy.ndarray]:
        """Return row numbers in batches, counting the tokens that each is going to have."""
        return sorted_batches(lengths + self.max_new_tokens, batch_size,
                              max(TOKENS, int(lengths.max(initial=0)) + self.max_new_tokens))

    def _written(self, prompts: list[Sequence[int]]) -> list[tuple[str, float, int, bool]]:
        stops, surest = self.template.stops(self.tokenizer), _Surest()
        batch = _left_padded(prompts, self.tokenizer.pad_token_id, self._device)
        width = batch["input_ids"].shape[1]
        config = GenerationConfig(
            do_sample=False, num_beams=1, max_new_tokens=self.max_new_tokens, use_cache=True,
            eos_token_id=stops, pad_token_id=self.tokenizer.pad_token_id)
        with quiet_loading():
            ids = self._causal.generate(**batch, generation_config=config,
                                        logits_processor=LogitsProcessorList([surest]))
        written = ids[:, width:].cpu().numpy()
        chances = torch.stack(surest.seen, dim=1).double().cpu().numpy()
        answers = []
        for row, sure in zip(written, chances, strict=True):
            ends = numpy.flatnonzero(numpy.isin(row, stops))
            finished = len(ends) > 0
            count = int(ends[0]) + 1 if finished else len(row)
            mean = float(sure[:count].mean())
            if not numpy.isfinite(mean):
                raise ModelError(
                    "the probabilities of an answer are not finite; expected numbers. The weights "
                    "are broken: lower the learning rate or choose compute_dtype=bfloat16 instead "
                    "of float16.")
            text = self.tokenizer.decode(
                row[: count - finished].tolist(), skip_special_tokens=True,
                clean_up_tokenization_spaces=False)
            answers.append((text.strip(), float(numpy.exp(mean)), count, finished))
        return answers

    def answers(
        self,
        messages: Sequence[Messages],
        *,
        batch_size: int = 32,
        on_step: Progress | None = None,
    ) -> pandas.DataFrame:
        """Return what the model answers to messages, as `generate` does to prompts."""
        encoded = encode(messages, None, self.tokenizer, self.template, self.max_length)
        return self.generate(encoded.input_ids, batch_size=batch_size, on_step=on_step)

    def prompt(self, messages: Messages) -> list[int]:
        """Return the ids of what is asked; raises ModelError if they leave no room to answer."""
        ids = self.template.prompt(messages, self.tokenizer)
        if len(ids) >= self.max_length:
            raise ModelError(
                f"too long: {len(ids)} tokens with the template; expected at most "
                f"{self.max_length - 1}, since the model reads {self.max_length} with its answer.")
        return ids

    def predict(self, texts: Sequence[str], *, batch_size: int = 32) -> pandas.DataFrame:
        """Return a row per text, each of which is one turn of a user.

        Columns: label, which is the answer, confidence, tokens and finished, as for `generate`.
        """
        answers = self.answers([asked(text) for text in texts], batch_size=batch_size)
        return answers.rename(columns={"answer": "label"})

    def embeddings(
        self,
        input_ids: Sequence[Sequence[int]],
        *,
        batch_size: int = 64,
        on_step: Progress | None = None,
    ) -> numpy.ndarray:
        """Return float32 (rows, width): the mean over a row's ids of the last hidden states."""
        lengths = numpy.array([len(ids) for ids in input_ids], dtype=numpy.int64)
        if lengths.min(initial=1) == 0:
            raise ModelError(f"row {int(lengths.argmin())} has 0 tokens; expected at least one.")
        width = self._causal.config.get_text_config().hidden_size
        means, done = numpy.zeros((len(lengths), width), dtype=numpy.float32), 0
        inside = backbone(self.model)
        with self._evaluating():
            for rows in sorted_batches(lengths, batch_size, TOKENS) if len(lengths) else ():
                batch = pad([input_ids[row] for row in rows], self.tokenizer.pad_token_id,
                            self._device)
                hidden = last_hidden(inside(**batch, use_cache=False)).float()
                weights = batch["attention_mask"].unsqueeze(-1).float()
                means[rows] = ((hidden * weights).sum(dim=1) / weights.sum(dim=1)).cpu().numpy()
                done += len(rows)
                if on_step is not None:
                    on_step(done, len(lengths))
        return means

    @property
    def _causal(self) -> PreTrainedModel:
        """The transformers model, with the adapter's layers in it if there are any."""
        return next(m for m in self.model.modules() if isinstance(m, PreTrainedModel))

    @property
    def _device(self) -> torch.device:
        return next(self.model.parameters()).device

    @contextmanager
    def _evaluating(self) -> Iterator[None]:
        training = self.model.training
        self.model.eval()
        try:
            with torch.inference_mode():
                yield
        finally:
            self.model.train(training)

    def _require_room(self, lengths: numpy.ndarray) -> None:
        wrong = numpy.flatnonzero((lengths == 0) | (lengths >= self.max_length))
        if len(wrong):
            row = int(wrong[0])
            raise ModelError(
                f"the prompt of row {row} has {int(lengths[row])} tokens ({len(wrong)} such rows); "
                f"expected 1 to {self.max_length - 1}, since the model was trained on "
                f"{self.max_length} with the answer. Shorten it.")


class _Surest(LogitsProcessor):
    """Changes nothing, and keeps the log-probability of the likeliest token at every place."""

    def __init__(self) -> None:
        self.seen: list[torch.Tensor] = []

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        self.seen.append(scores.float().log_softmax(dim=-1).amax(dim=-1))
        return scores


@contextmanager
def _greedy(model: PreTrainedModel) -> Iterator[None]:
    """Keep a base's own ways of sampling, such as penalties, out of what it writes."""
    own = model.generation_config
    model.generation_config = GenerationConfig()
    try:
        yield
    finally:
        model.generation_config = own


def _left_padded(prompts: Sequence[Sequence[int]], pad_id: int, device: torch.device
                 ) -> dict[str, torch.Tensor]:
    """Return {'input_ids', 'attention_mask'}, int64 (rows, longest): answers begin side by side."""
    longest = max(len(ids) for ids in prompts)
    ids = numpy.full((len(prompts), longest), pad_id, dtype=numpy.int64)
    mask = numpy.zeros((len(prompts), longest), dtype=numpy.int64)
    for row, values in enumerate(prompts):
        ids[row, longest - len(values):] = values
        mask[row, longest - len(values):] = 1
    return {"input_ids": torch.from_numpy(ids).to(device),
            "attention_mask": torch.from_numpy(mask).to(device)}
