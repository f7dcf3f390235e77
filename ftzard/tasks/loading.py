"""A model of either task, opened from its files: what chooses labels, or what writes answers."""

from collections.abc import Iterable, Mapping
from pathlib import Path

from ftzard.core.text import cleaned_as, normalize_instruction
from ftzard.modeling.base_model import load_base
from ftzard.modeling.spec import BaseSpec
from ftzard.tasks.classification.loading import bare_classifier, open_classifier
from ftzard.tasks.classification.predictor import Classifier
from ftzard.tasks.instruction_tuning import chat_template
from ftzard.tasks.instruction_tuning.generator import Generator
from ftzard.tasks.instruction_tuning.loading import bare_generator, open_generator


def opened(adapter: Path | None, spec: Mapping, told: Mapping) -> Classifier | Generator:
    """Return the model of a saved adapter on its base, or a bare base, loaded and checked.

    spec: values of a `BaseSpec`, its source where the base is; told: of a bare base, its labels, or
    the template and max_new_tokens that it answers with.
    """
    base = BaseSpec(**spec)
    if adapter is not None:
        found = open_generator if base.writes else open_classifier
        return found(adapter, base)
    if base.writes:
        return bare_generator(
            load_base(base, ()), chat_template.from_meta(told["template"]), told["max_new_tokens"])
    return bare_classifier(load_base(base, told["labels"]))


def cleaned(texts: Iterable[str], spec: Mapping, cleaning: Mapping) -> list[str]:
    """Return raw texts as the model's training rows were cleaned.

    spec: values of a `BaseSpec`; cleaning: what the model's ftzard.json keeps of it.
    """
    if BaseSpec(**spec).writes:
        return [normalize_instruction(text) for text in texts]
    return cleaned_as(texts, cleaning)
