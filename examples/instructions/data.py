"""Write rows of instruction and answer, rows.jsonl: sums, opposites and greetings."""

import json
import random

OPPOSITES = {"hot": "cold", "early": "late", "loud": "quiet", "full": "empty", "near": "far"}
NAMES = ["Ada", "Ben", "Chi", "Dora", "Eli", "Fay", "Gus", "Hana"]
CITIES = ["Oslo", "Lima", "Graz", "Bonn", "Nara", "Lund", "Bari", "Cork"]


def rows(count: int, seed: int) -> list[dict[str, str]]:
    """Return so many rows, all different."""
    draw, found = random.Random(seed), {}
    while len(found) < count:
        kind = draw.randrange(3)
        if kind == 0:
            a, b = draw.randrange(40), draw.randrange(40)
            question, answer = f"Add {a} and {b}.", str(a + b)
        elif kind == 1:
            word = draw.choice(sorted(OPPOSITES))
            question = f"Say the opposite of {word} to {draw.choice(NAMES)} {draw.randrange(99)}."
            answer = OPPOSITES[word]
        else:
            name, city = draw.choice(NAMES), draw.choice(CITIES)
            question = f"Greet {name} {draw.randrange(99)} from {city}."
            answer = f"Hello {name}, how is {city}?"
        found[question] = {"instruction": question, "output": answer}
    return list(found.values())


if __name__ == "__main__":
    with open("rows.jsonl", "w", encoding="utf-8") as file:
        file.writelines(json.dumps(row) + "\n" for row in rows(600, seed=1))
