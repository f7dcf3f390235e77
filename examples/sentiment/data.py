"""Write short reviews: labelled.csv to train on, march.csv unlabelled, answers.csv with labels."""

import csv
import random

WORDS = {"good": ["solid", "lovely", "quick", "friendly", "great", "cheap"],
         "bad": ["broken", "late", "rude", "noisy", "awful", "dear"]}
THINGS = ["lamp", "kettle", "chair", "radio", "clock", "bag", "phone", "tent"]
SYLLABLES = ["ba", "do", "fe", "ki", "lu", "ma", "ne", "po", "ri", "su", "ta", "vo"]


def name(draw: random.Random) -> str:
    """Return a made-up name, so that no two texts are nearly the same."""
    return "".join(draw.choices(SYLLABLES, k=3))


def reviews(count: int, seed: int) -> list[tuple[str, str]]:
    """Return (text, label) of so many reviews, all different."""
    draw, rows = random.Random(seed), []
    for _ in range(count):
        label = draw.choice(sorted(WORDS))
        words = draw.sample(WORDS[label], 2)
        if draw.random() < 0.2:  # an opinion that is not all of one kind
            words.append(draw.choice(WORDS["bad" if label == "good" else "good"]))
        text = (f"{name(draw)} from {name(draw)} says the {draw.choice(THINGS)} "
                f"is {' and '.join(words)}")
        rows.append((text, label))
    return rows


def write(name: str, head: tuple[str, ...], rows: list[tuple[str, ...]]) -> None:
    """Write rows as CSV."""
    with open(name, "w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([head, *rows])


if __name__ == "__main__":
    march = reviews(300, seed=2)
    write("labelled.csv", ("text", "label"), reviews(900, seed=1))
    write("march.csv", ("text",), [(text,) for text, _ in march])
    write("answers.csv", ("text", "label"), march)
