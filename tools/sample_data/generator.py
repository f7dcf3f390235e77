"""The sample data set: one labelled training file, two later batches, and a person's labels.

Everything follows from a seed. The first batch comes from another crowd (`lexicon.SLANG`) and is
labelled with care; the second is written like the training posts and labelled carelessly, by
somebody who skims.
"""

import re
from dataclasses import dataclass
from pathlib import Path
from random import Random

import pandas as pd

from ftzard.core.artifacts import write_atomically
from tools.sample_data import lexicon
from tools.sample_data.grammar import PLAIN_VOICE, SLANG_VOICE, Voice, post
from tools.sample_data.habits import typed

NEGATIVE, POSITIVE = 0, 4  # as in the seed's raw files
TRAINING_POSTS = 5_880
BATCH_POSTS = 2_000
REPEATED = 120
CONTRADICTED = 6
# Share of posts whose label is the other one: people do not always agree.
DISAGREEMENT = 0.02
# Share of the careless person's clicks that go to the other label.
SLIPS = 0.25
OPINION = re.compile("|".join(rf"\b{re.escape(w)}\b" for w in lexicon.PRAISING + lexicon.BLAMING))


@dataclass(frozen=True)
class Sample:
    """training: target, text; batches: text; labels: text, target of each row of that batch."""

    training: pd.DataFrame
    batch_1: pd.DataFrame
    batch_2: pd.DataFrame
    batch_1_labels: pd.DataFrame
    batch_2_labels: pd.DataFrame


def posts(rng: Random, count: int, voices: tuple[tuple[Voice, float], ...]) -> list[tuple]:
    """`count` different (text, target) pairs, about half of them good; voices: with weights."""
    rows, seen = [], set()
    while len(rows) < count:
        polarity = rng.choice((1, -1))
        voice = rng.choices([v for v, _ in voices], [w for _, w in voices])[0]
        text = typed(rng, post(rng, voice, polarity), polarity)
        if text.lower() in seen:
            continue
        seen.add(text.lower())
        said = polarity if rng.random() >= DISAGREEMENT else -polarity
        rows.append((text, POSITIVE if said > 0 else NEGATIVE))
    return rows


def opposite(target: int) -> int:
    """The other label."""
    return POSITIVE if target == NEGATIVE else NEGATIVE


def training(rng: Random) -> pd.DataFrame:
    """The training rows with repeated, contradicting and unusable ones among them."""
    rows = posts(rng, TRAINING_POSTS, ((PLAIN_VOICE, 1.0),))
    repeated = rng.sample(rows, REPEATED)
    contradicted = [(text, opposite(target)) for text, target in rng.sample(rows, CONTRADICTED)]
    blank = [("", POSITIVE), ("   ", NEGATIVE), ("", NEGATIVE)]
    missing = [(None, POSITIVE), (None, NEGATIVE), (None, NEGATIVE)]
    unknown = [(text, 2) for text, _ in posts(rng, 3, ((PLAIN_VOICE, 1.0),))]
    rows = rows + repeated + contradicted + blank + missing + unknown
    rng.shuffle(rows)
    return pd.DataFrame({"target": [t for _, t in rows], "text": [x for x, _ in rows]})


def first_impression(text: str) -> int:
    """The label by the first opinion word of a lower-case text; without any, negative."""
    found = OPINION.search(text)
    return POSITIVE if found and found.group() in lexicon.PRAISING else NEGATIVE


def careless(rng: Random, rows: list[tuple]) -> list[tuple]:
    """Labels of somebody in a hurry: by the first opinion word, whatever follows, with slips."""
    labels = []
    for text, _ in rows:
        target = first_impression(text.lower())
        labels.append((text, opposite(target) if rng.random() < SLIPS else target))
    return labels


def generate(seed: int = 0) -> Sample:
    """Return the sample of `seed`, always the same for the same seed; takes well under a second."""
    rng = Random(seed)
    old = training(rng)
    drifted = posts(rng, BATCH_POSTS, ((SLANG_VOICE, 0.85), (PLAIN_VOICE, 0.15)))
    familiar = posts(rng, BATCH_POSTS, ((PLAIN_VOICE, 1.0),))
    return Sample(
        training=old,
        batch_1=pd.DataFrame({"text": [text for text, _ in drifted]}),
        batch_2=pd.DataFrame({"text": [text for text, _ in familiar]}),
        batch_1_labels=pd.DataFrame(drifted, columns=["text", "target"]),
        batch_2_labels=pd.DataFrame(careless(rng, familiar), columns=["text", "target"]),
    )


def write(folder: Path, seed: int = 0) -> dict[str, Path]:
    """Write the five files (CSV, utf-8, unnamed index) into `folder` and return their paths.

    The keys are training, batch_1, batch_2, batch_1_labels and batch_2_labels, as are the names of
    the files less `.csv`.
    """
    sample = generate(seed)
    tables = {
        "training": sample.training,
        "batch_1": sample.batch_1,
        "batch_2": sample.batch_2,
        "batch_1_labels": sample.batch_1_labels,
        "batch_2_labels": sample.batch_2_labels,
    }
    folder = Path(folder)
    return {
        name: write_atomically(
            folder / f"{name}.csv", lambda part, t=table: t.to_csv(part, encoding="utf-8")
        )
        for name, table in tables.items()
    }
