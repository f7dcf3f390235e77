"""Heads for other labels: a saved head that gets rows for new ones, and a base lent to fewer.

The last linear layer of a head has a row per label. Every other part of a model is the same
whatever its labels are, so that versions of one line share a base in memory although a later one
knows more labels.
"""

import copy
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import nn

from ftzard.core.artifacts import write_json
from ftzard.modeling.adapter_meta import META, read_meta, weights_file
from ftzard.modeling.architecture import head_names, headed_in
from ftzard.modeling.base_model import LoadedBase


@contextmanager
def with_labels(loaded: LoadedBase, labels: Sequence[str]) -> Iterator[LoadedBase]:
    """Give a base a head for other labels until the block ends, to put a saved adapter on it.

    The rows of the lent head are zeros, since an adapter brings its own. Within the block `loaded`
    is a base of these labels; whatever is attached is to be detached before the block ends.
    """
    if list(labels) == loaded.labels:
        yield loaded
        return
    model, name = headed_in(loaded.model), _label_layer(loaded)
    parent, _, child = name.rpartition(".")
    place, before = model.get_submodule(parent), model.get_submodule(name)
    names, config = loaded.labels, model.config
    lent = copy.deepcopy(before)
    lent.out_features = len(labels)
    for key, weight in before.named_parameters(recurse=False):
        shape = (len(labels), *weight.shape[1:])
        setattr(lent, key, nn.Parameter(weight.new_zeros(shape), requires_grad=False))
    try:
        place._modules[child], loaded.labels = lent, list(labels)
        _name_in(config, loaded.labels)
        yield loaded
    finally:
        place._modules[child], loaded.labels = before, names
        _name_in(config, names)


@contextmanager
def grown(folder: Path, loaded: LoadedBase) -> Iterator[Path]:
    """Yield a saved adapter whose head has a row for each label of the base, to train on from.

    The labels that it knows come first on the base, in its order: their rows keep their weights.
    A further label begins with the row of the base's own head, which is the same each time. An
    adapter of the base's labels, or of others, is yielded as it is.
    """
    meta = read_meta(folder)
    known = len(meta["labels"])
    if known >= len(loaded.labels) or loaded.labels[:known] != meta["labels"]:
        yield Path(folder)
        return
    name = _label_layer(loaded)
    fresh = headed_in(loaded.model).get_submodule(name).state_dict()
    file = weights_file(folder)
    weights = load_file(file)
    for key, weight in weights.items():
        for part, rows in fresh.items():
            if f".{key}".endswith(f".{name}.{part}"):
                weights[key] = torch.cat([weight, rows[known:].to(weight)])
    with tempfile.TemporaryDirectory() as scratch:
        for path in Path(folder).glob("*.json"):
            shutil.copyfile(path, Path(scratch) / path.name)
        write_json(Path(scratch) / META, {**meta, "labels": loaded.labels})
        save_file(weights, Path(scratch) / file.name, metadata={"format": "pt"})
        yield Path(scratch)


def _label_layer(loaded: LoadedBase) -> str:
    """Return the name of the layer with a row per label: the last linear one of the head."""
    model = headed_in(loaded.model)
    heads = tuple(f"{name}." for name in head_names(model))
    return [name for name, part in model.named_modules()
            if isinstance(part, nn.Linear) and f"{name}.".startswith(heads)][-1]


def _name_in(config: object, labels: Sequence[str]) -> None:
    config.id2label = dict(enumerate(labels))
    config.label2id = {label: number for number, label in enumerate(labels)}
