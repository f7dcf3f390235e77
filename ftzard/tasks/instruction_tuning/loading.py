"""Opening what writes answers: a saved adapter on its base, or the bare base."""

from pathlib import Path

from ftzard.errors import ModelError
from ftzard.modeling.adapter import open_adapter, require_bare
from ftzard.modeling.adapter_meta import META, read_meta
from ftzard.modeling.base_model import LoadedBase
from ftzard.modeling.spec import INSTRUCTION_TUNING, BaseSpec
from ftzard.tasks.instruction_tuning import chat_template
from ftzard.tasks.instruction_tuning.chat_template import Template
from ftzard.tasks.instruction_tuning.generator import Generator

#: What ftzard.json must say beside the rest for a model that writes.
ANSWERING = ("template", "max_new_tokens")


def open_generator(folder: Path, base: BaseSpec | LoadedBase) -> Generator:
    """Return what answers instructions with a saved adapter on its base.

    base: as for `open_classifier`; the template that was trained with and the longest answer are
    those of the folder. Raises ModelError as `open_classifier` does, and for a folder that names no
    template.
    """
    meta = read_meta(folder)
    missing = [key for key in ANSWERING if key not in meta]
    if meta["task"] == INSTRUCTION_TUNING and missing:
        raise ModelError(
            f"{Path(folder) / META} names no {' and no '.join(missing)}; expected what the model "
            "was trained with, because it answers in no other. Take a complete copy, or train "
            "again."
        )
    adapted, base, meta = open_adapter(folder, base, INSTRUCTION_TUNING)
    return Generator(
        adapted, base.tokenizer, chat_template.from_meta(meta["template"]), meta["max_length"],
        meta["max_new_tokens"], meta)


def bare_generator(loaded: LoadedBase, template: Template, max_new_tokens: int) -> Generator:
    """Return the base itself as it answers instructions in this template, to compare with."""
    require_bare(loaded, INSTRUCTION_TUNING)
    return Generator(
        loaded.model, loaded.tokenizer, template, loaded.spec.max_length, max_new_tokens, {})
