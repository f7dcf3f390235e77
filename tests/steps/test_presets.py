"""Which pretrained bases a machine can train is reckoned from their architectures, no hub asked."""

import pandas as pd
import pytest

from ftzard.config.compose import available, compose
from ftzard.data.storage import write_parquet
from ftzard.errors import DataError
from ftzard.modeling.memory import Device
from ftzard.steps import presets

ROOMY = Device("cpu", "a large machine", 64 << 30, 64 << 30)
SMALL = Device("cpu", "a small machine", 2 << 30, 1 << 30)
GPU = Device("cuda", "a large GPU", 80 << 30, 80 << 30)


@pytest.fixture
def tokenized(workspace):
    """A workspace with 1,000 rows of 30 tokens."""
    write_parquet(pd.DataFrame({
        "id": [str(n) for n in range(1000)], "batch": "b", "text": "some words",
        "split": ["train"] * 700 + ["validation"] * 100 + ["test"] * 200,
        "label": ["glad", "sad"] * 500, "length": 30, "cut": 0, "input_ids": [[1]] * 1000}),
        workspace.root / "data/tokenized/tokenized.parquet")
    return workspace


def test_each_is_a_preset_of_a_hub_without_a_licence():
    assert set(presets.PRETRAINED) <= set(available("model"))
    for choice in presets.PRETRAINED:
        model = compose({"model": choice}).model
        assert model.source and model.revision and not model.gated


def test_the_device_decides_and_the_smallest_comes_first(tokenized):
    found = {name: [preset.choice for preset in presets.fitting(
        tokenized, tokenized.config(), device=device)]
        for name, device in (("roomy", ROOMY), ("small", SMALL), ("gpu", GPU))}
    assert found == {"roomy": ["minilm", "distilbert"], "small": [],
                     "gpu": ["minilm", "distilbert", "falcon_7b"]}


def test_one_is_told_with_its_size_memory_and_time_and_not_to_itself(tokenized):
    small, large = presets.fitting(tokenized, tokenized.config(), device=ROOMY)
    assert small.seconds < large.seconds < presets.PATIENCE and small.memory < large.memory
    said = small.sentence()
    assert said.startswith("model=minilm (23 million parameters, ") and "GB, about " in said
    config = tokenized.config({"model": "minilm"})
    assert [preset.choice for preset in presets.fitting(tokenized, config, device=ROOMY)] == [
        "distilbert"]


def test_without_rows_there_is_nothing_to_reckon(workspace):
    with pytest.raises(DataError, match="tokenized"):
        presets.fitting(workspace, workspace.config(), device=ROOMY)
