"""Small models of the families that chat, each asked in its own template, learn, end and come back.

This is what a large base of the family goes through: its tokenizer's special tokens, its chat
template, 4-bit layers, LoRA, and an answer that ends where the family ends a turn.
"""

import pandas
import pytest

from ftzard.modeling.base_model import load_base
from ftzard.modeling.spec import BaseSpec
from ftzard.tasks.instruction_tuning import TASK as INSTRUCTIONS
from ftzard.tasks.instruction_tuning import chat_template
from ftzard.tasks.instruction_tuning.predictor import open_generator
from ftzard.tasks.instruction_tuning.tokenization import encode
from tests.modeling import families
from tests.modeling.chat_tokenizers import ENDS, make
from tests.training_calls import fit

pytestmark = pytest.mark.slow

SAID = {"Name the capital of France.": "Paris", "What is two plus three?": "five",
        "Say hello to the user": "Hello there"}
ARCHITECTURE = {"falcon": "falcon", "mistral": "mistral", "llama_3": "llama", "qwen": "qwen"}


def base_of(folder, family) -> BaseSpec:
    """Write a small random base of a family with the family's own tokenizer."""
    tokenizer = make(folder, family)
    model = families._model(ARCHITECTURE[family], len(tokenizer))
    model.config.max_position_embeddings = 128
    model.save_pretrained(folder)
    return BaseSpec(source=folder, name=family, lora_targets=None, max_length=128,
                    head=INSTRUCTIONS.head)


@pytest.mark.parametrize("family", ["mistral", "llama_3", "falcon", "qwen"])
def test_a_family_learns_in_its_own_template_and_ends_its_turns(tmp_path, family):
    base = base_of(tmp_path / "base", family)
    loaded = load_base(base, device="cpu")
    template = chat_template.of("model", loaded.tokenizer)
    messages = [[{"role": "user", "content": text}] for text in SAID] * 8
    found = encode(messages, list(SAID.values()) * 8, loaded.tokenizer, template, 128)
    assert not found.lost.any() and not found.cut.any()
    rows = pandas.DataFrame({
        "id": [f"r{n}" for n in range(len(messages))], "label": list(SAID.values()) * 8,
        "input_ids": found.input_ids, "prompt_length": found.prompt_length})
    told = {"template": template.to_dict(), "max_new_tokens": 12}
    fitted = fit(loaded, rows, rows.head(6), seed=1, metric="validation_loss",
                 params={"rank": 8, "alpha": 16.0, "dropout": 0.0, "learning_rate": 1e-2,
                         "batch_size": 8, "weight_decay": 0.0},
                 training={"epochs": 12, "warmup_ratio": 0.1, "max_grad_norm": 1.0,
                           "patience": 12, "packing": False},
                 folder=tmp_path / "adapter", train_embeddings=True, extra=told)
    answerer = open_generator(fitted.folder, base)
    assert answerer.template == template
    answers = answerer.predict(list(SAID))
    assert answers["label"].tolist() == list(SAID.values()) and answers["finished"].all()
    end = loaded.tokenizer.convert_tokens_to_ids(ENDS[family])
    assert template.end(loaded.tokenizer) == end and found.input_ids[0][-1] == end
