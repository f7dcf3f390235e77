"""Opening what writes answers: a saved adapter on its base, or the bare base.

What ships with a registered model: it imports no evaluation and no reporting.
"""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy

from ftzard.errors import ModelError
from ftzard.modeling.adapter import open_adapter, require_bare
from ftzard.modeling.adapter_meta import META, read_meta
from ftzard.modeling.base_model import LoadedBase
from ftzard.modeling.spec import BaseSpec
from ftzard.tasks.instruction_tuning import TASK, asked_texts, chat_template
from ftzard.tasks.instruction_tuning.asked_texts import Asked
from ftzard.tasks.instruction_tuning.generator import Generator
from ftzard.tasks.instruction_tuning.tokenization import asked

#: Columns that the registered model returns besides label and confidence, with their types.
OUTPUT = {"tokens": "long", "finished": "boolean"}
#: Whether confidence can be calibrated with a temperature.
CALIBRATED = False
#: What `fingerprint` returns, and the columns of the rows that it takes.
FINGERPRINT, FINGERPRINT_COLUMNS = "losses", ("input_ids", "prompt_length")


def open_generator(folder: Path, base: BaseSpec | LoadedBase) -> Generator:
    """Return what answers instructions with a saved adapter on its base.

    base: as for `open_classifier`; the template that was trained with and the longest answer are
    those of the folder. Raises ModelError as `open_classifier` does, and for a folder that names no
    template.
    """
    meta = read_meta(folder)
    missing = [key for key in TASK.predictor_meta if key not in meta]
    if meta["task"] == TASK.name and missing:
        raise ModelError(
            f"{Path(folder) / META} names no {' and no '.join(missing)}; expected what the model "
            "was trained with, because it answers in no other. Take a complete copy, or train "
            "again."
        )
    adapted, base, meta = open_adapter(folder, base, TASK.name)
    return Generator(
        adapted, base.tokenizer, chat_template.from_meta(meta["template"]), meta["max_length"],
        meta["max_new_tokens"], meta)


def bare_generator(loaded: LoadedBase, meta: Mapping) -> Generator:
    """Return the base itself as it answers instructions, to compare with.

    Args:
        meta: Template and max_new_tokens, as an adapter's ftzard.json has them.
    """
    require_bare(loaded, TASK.name)
    return Generator(
        loaded.model, loaded.tokenizer, chat_template.from_meta(meta["template"]),
        loaded.spec.max_length, meta["max_new_tokens"], {})


def clean(texts: Iterable[Asked], cleaning: Mapping) -> list[Asked]:
    """Return raw texts or messages as the training rows were cleaned; cleaning: from ftzard.json.
    """
    return asked_texts.clean(list(texts), cleaning.get("own"))


def answer(predictor: Generator, prompts: Sequence[str | Sequence[Mapping]], **options: object
           ) -> list[dict]:
    """Return label (the answer), confidence, tokens and finished for each, or its error.

    Args:
        prompts: Texts, each a user's turn, or messages.
        options: Unused.
    """
    answers: list[dict] = [{}] * len(prompts)
    ids = {}
    for place, prompt in enumerate(prompts):
        try:
            ids[place] = predictor.prompt(asked(prompt) if isinstance(prompt, str) else prompt)
        except ModelError as error:
            answers[place] = {"error": str(error)}
    table = predictor.generate(list(ids.values())).rename(columns={"answer": "label"})
    for place, values in zip(ids, table.to_dict("records"), strict=True):
        answers[place] = values
    return answers


def fingerprint(predictor: Generator, rows: Mapping[str, Sequence], batch_size: int = 64
                ) -> numpy.ndarray:
    """Return the losses of rows with their answers, by which a saved model is known again."""
    return predictor.losses(rows["input_ids"], rows["prompt_length"], batch_size=batch_size)[0]


open_predictor, bare_predictor = open_generator, bare_generator
