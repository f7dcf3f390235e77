"""What differs between tasks when a model is exported: tokenizer, loader, and how it is asked."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy
import torch
from tokenizers.processors import TemplateProcessing
from torch import nn
from transformers import (
    AutoModelForCausalLM,
    AutoModelForSequenceClassification,
    GenerationConfig,
    PreTrainedTokenizerBase,
)

from ftzard.core.artifacts import write_json
from ftzard.modeling.hf_logging import quiet_loading
from ftzard.modeling.tokenizer import encode, frame
from ftzard.tasks.classification.predictor import Classifier
from ftzard.tasks.instruction_tuning.generator import Generator
from ftzard.tasks.instruction_tuning.literal_text import LiteralTextEncoder
from ftzard.tasks.instruction_tuning.tokenization import asked


@dataclass(frozen=True)
class Said:
    """What texts were answered: float32 logits (rows, values), and what came of them."""

    logits: numpy.ndarray
    said: list


class Labels:
    """What is particular to the export of a model that chooses labels."""

    loader, said = AutoModelForSequenceClassification, "label"

    def __init__(self, classifier: Classifier) -> None:
        labels = classifier.labels
        self.model, self.tokenizer = classifier.model, classifier.tokenizer
        self.max_length, self._classifier = classifier.max_length, classifier
        self.values = {
            "num_labels": len(labels), "id2label": dict(enumerate(labels)),
            "label2id": {label: number for number, label in enumerate(labels)}}

    def usable(self, texts: Sequence[str]) -> list[str]:
        """Return the texts that can be asked: all of them."""
        return list(texts)

    def input_ids(self, texts: Sequence[str]) -> list[list[int]]:
        """Return texts as the model was trained to read them."""
        return encode(texts, self.tokenizer, self.max_length)[0]

    def expected(self, texts: Sequence[str]) -> Said:
        """Return what the model says, once; then it is let go of."""
        logits = self._classifier.logits(self.input_ids(texts))
        self._classifier = None
        return Said(logits, logits.argmax(axis=1).tolist())

    def write_tokenizer(self, part: Path) -> None:
        """Save the tokenizer so that it puts the frame around a text by itself, cut where it was.
        """
        _write_tokenizer(part, self.tokenizer, self.max_length)

    def finish(self, part: Path) -> None:
        """Nothing more is written."""

    def ids_of(self, tokenizer: PreTrainedTokenizerBase, texts: Sequence[str]) -> list[list[int]]:
        """Return texts as plain transformers reads them."""
        return tokenizer(list(texts), truncation=True)["input_ids"]

    def found(self, model: nn.Module, tokenizer: PreTrainedTokenizerBase, texts: Sequence[str]
              ) -> Said:
        """Return what plain transformers says."""
        logits = _logits(model, tokenizer, texts)
        return Said(logits, logits.argmax(axis=1).tolist())


class Answers:
    """What is particular to the export of a model that writes answers."""

    loader, said, values = AutoModelForCausalLM, "answer", {}

    def __init__(self, answerer: Generator) -> None:
        self.model, self.tokenizer, self._answerer = answerer.model, answerer.tokenizer, answerer
        self.template, self.max_length = answerer.template, answerer.max_length
        self.generation = GenerationConfig(
            do_sample=False, num_beams=1, repetition_penalty=1.0, no_repeat_ngram_size=0,
            max_new_tokens=answerer.max_new_tokens,
            eos_token_id=self.template.stops(self.tokenizer),
            pad_token_id=self.tokenizer.pad_token_id)

    def usable(self, texts: Sequence[str]) -> list[str]:
        """Return the texts that fit, without those in which plain transformers reads markup."""
        controls = LiteralTextEncoder.of(self.tokenizer, self.template.source).controls
        texts = [text for text in texts if not controls.search(text)]
        fit = [text for text, ids in zip(texts, self.input_ids(texts), strict=True)
               if len(ids) < self.max_length]
        return fit or ["Hello."]

    def input_ids(self, texts: Sequence[str]) -> list[list[int]]:
        """Return texts, each a turn of a user, as the model was trained to read them."""
        return [ids for ids, _ in self.template.encoded([asked(t) for t in texts], None,
                                                        self.tokenizer)]

    def expected(self, texts: Sequence[str]) -> Said:
        """Return what the model says, once; then it is let go of."""
        prompts, answerer = self.input_ids(texts), self._answerer
        answers = answerer.generate(prompts)["answer"].tolist()
        self._answerer = None
        return Said(_first_logits(answerer.model, prompts), answers)

    def write_tokenizer(self, part: Path) -> None:
        """Save the tokenizer with the template that the model was trained with."""
        tokenizer = self.tokenizer
        kept = tokenizer.chat_template, tokenizer.model_max_length
        tokenizer.chat_template, tokenizer.model_max_length = self.template.source, self.max_length
        try:
            with quiet_loading():
                tokenizer.save_pretrained(part)
        finally:
            tokenizer.chat_template, tokenizer.model_max_length = kept
        file = part / "tokenizer_config.json"
        write_json(file, {**json.loads(file.read_text(encoding="utf-8")), "padding_side": "left",
                          "split_special_tokens": False, "model_max_length": self.max_length})

    def finish(self, part: Path) -> None:
        """Say how answers end, and that they are greedy."""
        self.generation.save_pretrained(part)
        config = part / "config.json"
        if config.is_file():  # the cache is off in training alone
            told = json.loads(config.read_text(encoding="utf-8"))
            write_json(config, {k: v for k, v in told.items() if k != "use_cache"})

    def ids_of(self, tokenizer: PreTrainedTokenizerBase, texts: Sequence[str]) -> list[list[int]]:
        """Return texts as plain transformers reads them."""
        return tokenizer.apply_chat_template(
            [asked(text) for text in texts], add_generation_prompt=True, return_dict=True,
        )["input_ids"]

    def found(self, model: nn.Module, tokenizer: PreTrainedTokenizerBase, texts: Sequence[str]
              ) -> Said:
        """Return what plain transformers says."""
        prompts = self.ids_of(tokenizer, texts)
        answers = []
        for start in range(0, len(texts), 32):
            batch = tokenizer.apply_chat_template(
                [asked(text) for text in texts[start:start + 32]], add_generation_prompt=True,
                return_dict=True, return_tensors="pt", padding=True).to(model.device)
            batch.pop("token_type_ids", None)
            with torch.inference_mode(), quiet_loading():
                ids = model.generate(**batch, generation_config=self.generation)
            answers += [text.strip() for text in tokenizer.batch_decode(
                ids[:, batch["input_ids"].shape[1]:], skip_special_tokens=True)]
        return Said(_first_logits(model, prompts), answers)


def _first_logits(model: nn.Module, prompts: Sequence[Sequence[int]]) -> numpy.ndarray:
    """Return the float32 logits (rows, vocabulary) of the token after each prompt."""
    device, found = next(model.parameters()).device, []
    with torch.inference_mode():
        for ids in prompts:
            told = model(input_ids=torch.tensor([list(ids)], device=device), use_cache=False)
            found.append(told.logits[0, -1].float().cpu().numpy())
    return numpy.stack(found)


def _write_tokenizer(part: Path, tokenizer: PreTrainedTokenizerBase, max_length: int) -> None:
    """Save the tokenizer so that it puts the frame around a text by itself, cut where it was."""
    before, after = frame(tokenizer)
    names = tokenizer.convert_ids_to_tokens([*before, *after])
    special = sorted(set(zip(names, [*before, *after], strict=True)))
    pieces = [*names[:len(before)], "$A", *names[len(before):]]
    kept = tokenizer.backend_tokenizer.post_processor, tokenizer.model_max_length
    tokenizer.backend_tokenizer.post_processor = TemplateProcessing(
        single=" ".join(pieces), pair=None, special_tokens=special)
    tokenizer.model_max_length = max_length
    try:
        with quiet_loading():
            tokenizer.save_pretrained(part)
    finally:
        if kept[0] is not None:
            tokenizer.backend_tokenizer.post_processor = kept[0]
        tokenizer.model_max_length = kept[1]
    file = part / "tokenizer_config.json"
    kept_values = json.loads(file.read_text(encoding="utf-8"))
    write_json(file, {**kept_values, "split_special_tokens": True, "model_max_length": max_length,
                      "padding_side": "right"})


def _logits(model: nn.Module, tokenizer: PreTrainedTokenizerBase, texts: Sequence[str],
            batch_size: int = 32) -> numpy.ndarray:
    device = next(model.parameters()).device
    found = []
    with torch.inference_mode():
        for start in range(0, len(texts), batch_size):
            batch = tokenizer(list(texts[start:start + batch_size]), truncation=True, padding=True,
                              return_tensors="pt").to(device)
            batch.pop("token_type_ids", None)
            found.append(model(**batch).logits.float().cpu().numpy())
    return numpy.concatenate(found)
