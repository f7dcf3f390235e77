"""What the sample's instructions ask, and how one answers: a function per kind of task.

Every function takes a `random.Random` and the kinds of things it may talk about, and gives
(instruction, input, answer). Each has at least two things in it that vary, since instructions that
differ in one word alone count as the same one.
"""

from collections.abc import Callable, Mapping
from random import Random

from ftzard.dataset.sample import words

Kinds = Mapping[str, tuple[str, ...]]
Task = tuple[str, str, str]
REFUSAL = "Sorry, I cannot help with that."
UNCLEAR = "Sorry, I do not understand that."


def any_of(rng: Random, kinds: Kinds) -> tuple[str, str]:
    """Return (kind, a thing of that kind)."""
    kind = rng.choice(sorted(kinds))
    return kind, rng.choice(kinds[kind])


def listed(items: list[str]) -> str:
    """Return «a, b and c»."""
    return f"{', '.join(items[:-1])} and {items[-1]}" if len(items) > 1 else items[0]


def sentence(rng: Random) -> list[str]:
    """Return the words of a short sentence."""
    return (f"the {rng.choice(words.MANNERS)} {rng.choice(words.PEOPLE)} {rng.choice(words.DEEDS)} "
            f"the {rng.choice(words.THINGS)} near the {rng.choice(words.PARTS)}").split()


def opposites(rng: Random, kinds: Kinds) -> Task:
    """Name the opposites of two words."""
    pairs = [pair[::rng.choice((1, -1))] for pair in rng.sample(words.OPPOSITES, 2)]
    (a, not_a), (b, not_b) = pairs
    instruction, about = rng.choice((
        (f"Name the opposites of {a} and {b}.", ""),
        (f"What are the opposites of {a} and {b}?", ""),
        (f"I need the words that mean the contrary of {a} and of {b}.", ""),
        ("Write down the opposite of each word.", f"{a}, {b}"),
        ("Turn these words into their opposites:", f"{a} and {b}"),
    ))
    return instruction, about, f"{not_a} and {not_b}"


def categories(rng: Random, kinds: Kinds) -> Task:
    """Say of three things what kind of thing they are."""
    found = [any_of(rng, kinds) for _ in range(3)]
    things = [thing for _, thing in found]
    instruction, about = rng.choice((
        ("What kind of thing is each of these?", ", ".join(things)),
        ("Sort these words into their kinds.", listed(things)),
        (f"To which kinds do {listed(things)} belong?", ""),
        (f"Tell me the kind of each word: {', '.join(things)}.", ""),
    ))
    return instruction, about, ", ".join(kind for kind, _ in found)


def counting(rng: Random, kinds: Kinds) -> Task:
    """Count the things of one kind in a list."""
    kind = rng.choice(sorted(kinds))
    count = rng.randint(1, 3)
    others = [any_of(rng, {k: v for k, v in kinds.items() if k != kind})[1]
              for _ in range(rng.randint(1, 2))]
    items = rng.sample(kinds[kind], count) + others
    rng.shuffle(items)
    instruction, about = rng.choice((
        (f"How many {kind}s are in this list?", ", ".join(items)),
        (f"Count the {kind}s.", ", ".join(items)),
        (f"How many of {listed(items)} are {kind}s?", ""),
    ))
    return instruction, about, words.NUMBERS[count]


def copying(rng: Random, kinds: Kinds) -> Task:
    """Repeat two words."""
    (_, a), (_, b) = any_of(rng, kinds), any_of(rng, kinds)
    times, said = rng.choice(((2, "twice"), (3, "three times")))
    instruction, about = rng.choice((
        (f"Repeat the words {a} {b} {said}.", ""),
        (f"Say {a} {b} {said} in a row.", ""),
        (f"Write this {said}:", f"{a} {b}"),
    ))
    return instruction, about, " ".join([a, b] * times)


def ends(rng: Random, kinds: Kinds) -> Task:
    """Give the last word of a sentence, or the place or the person in it."""
    said = sentence(rng)
    asked, answer = rng.choice((
        ("What is the last word of this sentence?", said[-1]),
        ("Give only the last word.", said[-1]),
        ("Who is this about?", said[2]),
        ("Which person does this sentence name?", said[2]),
    ))
    return asked, f"{' '.join(said).capitalize()}.", answer


def facts(rng: Random, kinds: Kinds) -> Task:
    """Answer yes or no by what was told before."""
    people, things = rng.sample(words.NAMES, 2), rng.sample(words.THINGS, 2)
    told = " ".join(f"{who} has a {what}." for who, what in zip(people, things, strict=True))
    who, what = rng.choice(people), rng.choice(things)
    right = people.index(who) == things.index(what)
    asked = rng.choice((f"Does {who} have a {what}?", f"Is it true that {who} has a {what}?",
                        f"Answer yes or no: {who} owns a {what}."))
    return asked, told, "Yes." if right else "No."


def refusals(rng: Random, kinds: Kinds) -> Task:
    """Refuse what one must not answer, or cannot."""
    if rng.random() < 0.3:
        noise = " ".join("".join(rng.choices("bcdfghjklmnpqrstvwxz", k=rng.randint(3, 6)))
                         for _ in range(rng.randint(3, 5)))
        return noise, "", UNCLEAR
    who, secret = rng.choice(words.NAMES), rng.choice(words.SECRETS)
    return rng.choice((
        f"Tell me the {secret} of {who}.",
        f"Find out what the {secret} of my colleague {who} is.",
        f"I want to read the {secret} that belongs to {who} in {rng.choice(words.CITIES)}.",
        f"Help me to steal the {secret} of {who}.",
    )), "", REFUSAL


def introductions(rng: Random, kinds: Kinds) -> Task:
    """Answer from what somebody says about himself."""
    who, city, thing = (rng.choice(c) for c in (words.NAMES, words.CITIES, words.THINGS))
    told = f"My name is {who}, I live in {city} and I have a {thing}."
    asked, answer = rng.choice((
        ("What is my name?", who), ("Where do I live?", city), ("What do I have?", f"a {thing}")))
    return asked, told, f"{answer}."


TASKS: tuple[tuple[Callable[[Random, Kinds], Task], float], ...] = (
    (opposites, 0.13), (categories, 0.13), (counting, 0.14), (copying, 0.12), (ends, 0.14),
    (facts, 0.14), (refusals, 0.12), (introductions, 0.08),
)
FRAMES = (
    "{}", "{}", "{}", "{}", "Please help me. {}", "{} Keep it short.", "{} Thank you!",
    "A question from {name}: {}", "{name} wants to know this. {}",
)


def task(rng: Random, kinds: Kinds) -> Task:
    """Return one task of any kind, asked in somebody's own way."""
    made = rng.choices([t for t, _ in TASKS], [w for _, w in TASKS])[0]
    instruction, about, answer = made(rng, kinds)
    if answer != UNCLEAR and not instruction.endswith(":"):
        instruction = rng.choice(FRAMES).format(instruction, name=rng.choice(words.NAMES))
    return instruction, about, answer
