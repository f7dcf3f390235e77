"""Made-up rows with any number of labels, each of which has words of its own."""

import random

import pandas as pd

from tests.small_model import FILLERS

LABELS = ["anger", "fear", "joy"]
WORDS = {"anger": ["furious", "mad", "rage"], "fear": ["afraid", "scared", "panic"],
         "joy": ["happy", "glad", "lovely"]}
CHANCES = {"anger": 0.35, "fear": 0.3, "joy": 0.45}


def make_rows(count: int, seed: int, noise: float = 0.0) -> pd.DataFrame:
    """Return text and label (joined by |, [] for none); noise: share of labels without a word."""
    draw, rows = random.Random(seed), []
    for _ in range(count):
        labels = [name for name in LABELS if draw.random() < CHANCES[name]]
        words = draw.choices(FILLERS, k=draw.randint(3, 9)) + [f"x{draw.randrange(10 ** 6)}"]
        words += [draw.choice(WORDS[name]) for name in labels if draw.random() >= noise]
        draw.shuffle(words)
        rows.append({"text": " ".join(words), "label": "|".join(labels) or "[]"})
    return pd.DataFrame(rows)
