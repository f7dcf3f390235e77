"""The sample of instruction tuning: answered instructions, two later batches, a person's answers.

Everything follows from a seed. The first batch talks about things the training rows do not know
(vehicles, instruments, other languages) and is answered with care; the second asks as the training
rows do and is answered by somebody in a hurry, who takes care of the audit rows alone.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from random import Random

from ftzard.core.artifacts import write_atomically
from ftzard.data import messages
from ftzard.data.identity import LATEST
from ftzard.data.normalization import normalise_all
from ftzard.data.splitting import position
from tools.sample_data.tasks import FAMILIAR, LATER, World, task

ANSWERED_ROWS = 1_164
BATCH_ROWS = 400
REPEATED = 15
CHATS = 0.08
# Share of the training rows that somebody in a hurry gets wrong.
HURRY = 0.8
# The side of a row follows from its words, by the salt and the share of test rows that are usual.
SALT, TEST_SHARE = "ftzard", 0.2
GREETINGS = ("Hello!", "Good morning.", "Hi, can you help me?")
SYSTEM = ("You are a helpful assistant.", "Answer in as few words as you can.")
HURRIED = ("ok", "I do not know.", "yes", "see above")


@dataclass(frozen=True)
class Sample:
    """Rows as they stand in the files: instruction, input and output, or messages.

    training: with answers; batches: without; labels: the batches with the answers a person gives.
    """

    training: list[dict]
    batch_1: list[dict]
    batch_2: list[dict]
    batch_1_labels: list[dict]
    batch_2_labels: list[dict]


def rows(rng: Random, count: int, world: World) -> list[dict]:
    """`count` different rows with their answers."""
    made, seen = [], set()
    while len(made) < count:
        row = chat(rng, world) if rng.random() < CHATS else plain(task(rng, world))
        key = json.dumps({k: v for k, v in row.items() if k != "output"}).lower()
        if key not in seen:
            seen.add(key)
            made.append(row)
    return made


def plain(made: tuple[str, str, str]) -> dict:
    """A row of instruction, input and output."""
    return dict(zip(("instruction", "input", "output"), made, strict=True))


def chat(rng: Random, world: World) -> dict:
    """A row of messages: a greeting or a task answered before, then another one."""
    turns = [turn("system", rng.choice(SYSTEM))] if rng.random() < 0.4 else []
    if rng.random() < 0.4:
        turns += [turn("user", rng.choice(GREETINGS)), turn("assistant", "Hello, what is it?")]
    else:
        turns += asked(task(rng, world))
    return {"messages": turns + asked(task(rng, world))}


def asked(made: tuple[str, str, str]) -> list[dict]:
    """A task as two turns."""
    instruction, about, answer = made
    return [turn("user", f"{instruction}\n{about}".strip()), turn("assistant", answer)]


def turn(role: str, content: str) -> dict:
    """One message."""
    return {"role": role, "content": content}


def unusable(rng: Random) -> list[dict]:
    """Rows that nothing can be learned from, one way or another."""
    some = [task(rng, FAMILIAR) for _ in range(16)]
    made = [plain((i, about, "")) for i, about, _ in some[:5]]
    made += [plain(("", about, answer)) for _, about, answer in some[5:8]]
    made += [plain((" ", "", answer)) for _, _, answer in some[8:10]]
    made += [{"messages": asked(t)[:1]} for t in some[10:12]]
    made += [{"messages": asked(t)[::-1]} for t in some[12:14]]
    made.append({"messages": [*asked(some[14]), *asked(some[15])[1:]]})
    made.append({"messages": [turn("robot", "beep"), *asked(some[15])]})
    made += [{"messages": "hello"}, {"messages": []}]
    made.append(plain((f"What is the last word? {'really ' * 800}", "", "really")))
    return made


def training(rng: Random) -> list[dict]:
    """The training rows with repeated and unusable ones among them."""
    made = rows(rng, ANSWERED_ROWS, FAMILIAR)
    made += [dict(row) for row in rng.sample(made, REPEATED)] + unusable(rng)
    rng.shuffle(made)
    return made


def unanswered(row: dict) -> dict:
    """The same row before anybody has answered it."""
    if "messages" in row:
        return {"messages": row["messages"][:-1]}
    return {k: v for k, v in row.items() if k != "output"}


def hurried(rng: Random, row: dict, audited: bool) -> dict:
    """The row as somebody answers it who reads only what is marked as an audit row."""
    if rng.random() >= HURRY or audited:
        return row
    answer = rng.choice(HURRIED)
    if "messages" in row:
        return {"messages": [*row["messages"][:-1], turn("assistant", answer)]}
    return {**row, "output": answer}


def audited(made: list[dict]) -> list[bool]:
    """Whether each row is one of those that a queue draws its audit rows from."""
    texts = [messages.as_text(
        row["messages"][:-1] if "messages" in row else
        messages.one_turn(row["instruction"], row["input"])) for row in made]
    return [position(key, SALT) < TEST_SHARE for key in normalise_all(texts, LATEST).to_pylist()]


def generate(seed: int = 0) -> Sample:
    """Return the sample of `seed`, always the same for the same seed."""
    rng = Random(f"instructions {seed}")
    learned = training(rng)
    new, familiar = rows(rng, BATCH_ROWS, LATER), rows(rng, BATCH_ROWS, FAMILIAR)
    return Sample(
        training=learned,
        batch_1=[unanswered(row) for row in new],
        batch_2=[unanswered(row) for row in familiar],
        batch_1_labels=new,
        batch_2_labels=[hurried(rng, row, careful) for row, careful in
                        zip(familiar, audited(familiar), strict=True)],
    )


def write(folder: Path, seed: int = 0) -> dict[str, Path]:
    """Write the five files (JSON lines) into `folder` and return their paths.

    The keys are training, batch_1, batch_2, batch_1_labels and batch_2_labels, as are the names of
    the files less `.jsonl`.
    """
    sample, written = generate(seed), {}
    for name in ("training", "batch_1", "batch_2", "batch_1_labels", "batch_2_labels"):
        text = "".join(f"{json.dumps(row, ensure_ascii=False)}\n" for row in getattr(sample, name))
        written[name] = write_atomically(
            Path(folder) / f"{name}.jsonl",
            lambda part, text=text: part.write_text(text, encoding="utf-8"))
    return written
