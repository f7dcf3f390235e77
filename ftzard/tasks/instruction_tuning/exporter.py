"""What is particular to the export of a model that writes: tokenizer, loader, how it is asked."""

import json
from collections.abc import Sequence
from pathlib import Path

import numpy
import torch
from torch import nn
from transformers import AutoModelForCausalLM, GenerationConfig, PreTrainedTokenizerBase

from ftzard.core.artifacts import write_json
from ftzard.modeling.hf_logging import quiet_loading
from ftzard.tasks.instruction_tuning.generator import Generator
from ftzard.tasks.instruction_tuning.literal_text import LiteralTextEncoder
from ftzard.tasks.instruction_tuning.tokenization import asked


class Exporter:
    """What is particular to the export of a model that writes answers.

    SAMPLE: most texts that it is asked, each answer being many tokens; output: what it gives.
    """

    SAMPLE, output, loader, values = 16, "answer", AutoModelForCausalLM, {}

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

    def expected(self, texts: Sequence[str]) -> tuple[numpy.ndarray, list]:
        """Return each answer's first logits, and the answers, once; then the model is let go of."""
        prompts, answerer = self.input_ids(texts), self._answerer
        answers = answerer.generate(prompts)["answer"].tolist()
        self._answerer = None
        return _first_logits(answerer.model, prompts), answers

    def write_tokenizer(self, part: Path) -> None:
        """Save the tokenizer with the template that the model was trained with."""
        tokenizer = self.tokenizer
        original = tokenizer.chat_template, tokenizer.model_max_length
        tokenizer.chat_template, tokenizer.model_max_length = self.template.source, self.max_length
        try:
            with quiet_loading():
                tokenizer.save_pretrained(part)
        finally:
            tokenizer.chat_template, tokenizer.model_max_length = original
        file = part / "tokenizer_config.json"
        write_json(file, {**json.loads(file.read_text(encoding="utf-8")), "padding_side": "left",
                          "split_special_tokens": False, "model_max_length": self.max_length})

    def finish(self, part: Path) -> None:
        """Say how answers end, and that they are greedy."""
        self.generation.save_pretrained(part)
        config = part / "config.json"
        if config.is_file():  # the cache is off in training alone
            values = json.loads(config.read_text(encoding="utf-8"))
            write_json(config, {k: v for k, v in values.items() if k != "use_cache"})

    def ids_of(self, tokenizer: PreTrainedTokenizerBase, texts: Sequence[str]) -> list[list[int]]:
        """Return texts as plain transformers reads them."""
        return tokenizer.apply_chat_template(
            [asked(text) for text in texts], add_generation_prompt=True, return_dict=True,
        )["input_ids"]

    def actual(self, model: nn.Module, tokenizer: PreTrainedTokenizerBase, texts: Sequence[str]
              ) -> tuple[numpy.ndarray, list]:
        """Return each answer's first logits, and the answers, of plain transformers."""
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
        return _first_logits(model, prompts), answers


def _first_logits(model: nn.Module, prompts: Sequence[Sequence[int]]) -> numpy.ndarray:
    """Return the float32 logits (rows, vocabulary) of the token after each prompt."""
    device, logits = next(model.parameters()).device, []
    with torch.inference_mode():
        for ids in prompts:
            output = model(input_ids=torch.tensor([list(ids)], device=device), use_cache=False)
            logits.append(output.logits[0, -1].float().cpu().numpy())
    return numpy.stack(logits)
