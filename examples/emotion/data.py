"""Write messages with any number of emotions, labelled.csv: one cell has all labels of a row."""

import csv
import random

WORDS = {"anger": ["furious", "mad", "outraged"], "fear": ["afraid", "scared", "nervous"],
         "joy": ["happy", "glad", "delighted"], "sadness": ["sad", "gloomy", "in tears"]}
SYLLABLES = ["ba", "do", "fe", "ki", "lu", "ma", "ne", "po", "ri", "su", "ta", "vo"]
THINGS = ["the news", "my train", "the exam", "our team", "that film", "the weather"]


def messages(count: int, seed: int) -> list[tuple[str, str]]:
    """Return (text, labels) of so many messages; [] where no label fits."""
    draw, rows = random.Random(seed), []
    for _ in range(count):
        labels = sorted(draw.sample(sorted(WORDS), draw.choices([0, 1, 2], [1, 6, 3])[0]))
        moods = " and ".join(draw.choice(WORDS[label]) for label in labels) or "on my way"
        who, where = ("".join(draw.choices(SYLLABLES, k=3)) for _ in range(2))
        rows.append((f"{who} in {where} heard {draw.choice(THINGS)} and is {moods}",
                     "|".join(labels) or "[]"))
    return rows


if __name__ == "__main__":
    with open("labelled.csv", "w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([("text", "label"), *messages(900, seed=1)])
