"""Rows of instructions of which a small model learns the answers in a second."""

import numpy
import pandas

from ftzard.modeling.tokenizer import encode, end_id

ANSWERS = {"negative": "sad", "positive": "happy"}
LENGTH = 48
#: What fit needs to know of how a model is asked, beside rows that are tokenized already.
EXTRA = {"template": {"name": "alpaca", "source": "{{ messages[0]['content'] }}"},
         "max_new_tokens": 4}


def rows_of(texts: pandas.DataFrame, tokenizer, length: int = LENGTH) -> pandas.DataFrame:
    """Return texts as prompts, each with an answer of one to three words that its label tells."""
    end = end_id(tokenizer)
    prompts = [ids[: ids.index(end)] for ids in encode(texts["text"], tokenizer, length - 8)[0]]
    said = [" ".join(["very"] * (len(prompt) % 3) + [ANSWERS[label]])
            for prompt, label in zip(prompts, texts["label"], strict=True)]
    answers = [tokenizer.backend_tokenizer.encode(words, add_special_tokens=False).ids + [end]
               for words in said]
    return pandas.DataFrame({
        "id": [f"row-{number}" for number in range(len(texts))], "label": said,
        "input_ids": [prompt + answer for prompt, answer in zip(prompts, answers, strict=True)],
        "prompt_length": numpy.array([len(prompt) for prompt in prompts], dtype=numpy.int32)})
