"""One small Falcon for all tests of the models: two layers, width 64, made-up texts."""

import random

import pandas
import pytest
import torch

from ftzard.modeling.adapter import detach
from ftzard.modeling.base_model import BaseSpec, load_base
from ftzard.modeling.reproducibility import set_threads
from ftzard.modeling.tiny_falcon import build
from ftzard.modeling.tokenizer import encode

LABELS = ["negative", "positive"]
WORDS = {
    "negative": ["awful", "sad", "boring", "broken", "hate"],
    "positive": ["lovely", "happy", "great", "sunny", "enjoy"],
}
FILLERS = "the a my this day phone song train lunch with and again really very some".split()


def make_texts(count: int, seed: int) -> pandas.DataFrame:
    """Return texts of 3 to 30 words, each with two words that tell its label."""
    draw = random.Random(seed)
    rows = []
    for _ in range(count):
        label = draw.choice(LABELS)
        words = draw.choices(FILLERS, k=draw.randint(1, 28)) + draw.choices(WORDS[label], k=2)
        draw.shuffle(words)
        rows.append({"text": " ".join(words), "label": label})
    return pandas.DataFrame(rows)


@pytest.fixture(scope="session", autouse=True)
def threads():
    set_threads(2)


@pytest.fixture(scope="session")
def texts() -> pandas.DataFrame:
    return make_texts(240, seed=1)


@pytest.fixture(scope="session")
def folder(tmp_path_factory, texts):
    return build(
        tmp_path_factory.mktemp("models") / "base",
        texts["text"],
        seed=7,
        layers=2,
        width=64,
        heads=4,
        vocabulary=600,
        max_positions=64,
    )


@pytest.fixture(scope="session")
def spec(folder) -> BaseSpec:
    return BaseSpec(source=folder, name="falcon_test", max_length=40)


@pytest.fixture(scope="session")
def shared_base(spec):
    return load_base(spec, LABELS, device="cpu")


@pytest.fixture
def loaded(shared_base):
    """The shared base, with whatever a test attached taken off afterwards."""
    yield shared_base
    detach(shared_base)


@pytest.fixture(scope="session")
def rows(texts, shared_base) -> pandas.DataFrame:
    input_ids, _, _ = encode(texts["text"], shared_base.tokenizer, 40)
    return texts.assign(input_ids=input_ids)


@pytest.fixture
def train_rows(rows):
    return rows.iloc[:160].reset_index(drop=True)


@pytest.fixture
def validation_rows(rows):
    return rows.iloc[160:].reset_index(drop=True)


@pytest.fixture
def settings() -> dict:
    """Keyword values for `train` with which the small model learns in a second."""
    return dict(labels=LABELS, epochs=2, learning_rate=5e-3, batch_size=16, seed=3)


@pytest.fixture(autouse=True)
def same_random_state():
    """Nothing may depend on the random state a test happens to start with."""
    torch.manual_seed(random.randrange(2**31))
