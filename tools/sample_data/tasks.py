"""What the sample's instructions ask, and how one answers: a function per kind of task.

Every function takes a `random.Random` and the world it may talk about, and gives (instruction,
input, answer). Each has at least two things in it that vary, since instructions that differ in one
word alone count as the same one. Some answers follow from a word of the instruction, which a small
model learns soon; others must be found in what was said, which it does not.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from random import Random

from tools.sample_data import words


@dataclass(frozen=True)
class World:
    """What instructions may talk about: kind -> things of it, language -> greeting."""

    kinds: Mapping[str, tuple[str, ...]]
    greetings: Mapping[str, str]


FAMILIAR = World(words.KINDS, words.GREETINGS)
LATER = World({**words.LATER_KINDS, "animal": words.KINDS["animal"]}, words.LATER_GREETINGS)
Task = tuple[str, str, str]
REFUSAL = "Sorry, I cannot help with that."
UNCLEAR = "Sorry, I do not understand that."


def any_of(rng: Random, kinds: Mapping[str, tuple[str, ...]]) -> tuple[str, str]:
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


def opposites(rng: Random, world: World) -> Task:
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


def categories(rng: Random, world: World) -> Task:
    """Say of two things what kind of thing they are."""
    found = [any_of(rng, world.kinds) for _ in range(2)]
    things = [thing for _, thing in found]
    instruction, about = rng.choice((
        ("What kind of thing is each of these?", ", ".join(things)),
        ("Sort these words into their kinds.", listed(things)),
        (f"To which kinds do {listed(things)} belong?", ""),
        (f"Tell me the kind of each word: {', '.join(things)}.", ""),
    ))
    return instruction, about, ", ".join(kind for kind, _ in found)


def counting(rng: Random, world: World) -> Task:
    """Count the things of one kind in a list."""
    kind = rng.choice(sorted(world.kinds))
    count = rng.randint(1, 3)
    others = [any_of(rng, {k: v for k, v in world.kinds.items() if k != kind})[1]
              for _ in range(rng.randint(1, 2))]
    items = rng.sample(world.kinds[kind], count) + others
    rng.shuffle(items)
    instruction, about = rng.choice((
        (f"How many {kind}s are in this list?", ", ".join(items)),
        (f"Count the {kind}s.", ", ".join(items)),
        (f"How many of {listed(items)} are {kind}s?", ""),
    ))
    return instruction, about, words.NUMBERS[count]


def copying(rng: Random, world: World) -> Task:
    """Repeat two words."""
    (_, a), (_, b) = any_of(rng, world.kinds), any_of(rng, world.kinds)
    times, said = rng.choice(((2, "twice"), (3, "three times")))
    instruction, about = rng.choice((
        (f"Repeat the words {a} {b} {said}.", ""),
        (f"Say {a} {b} {said} in a row.", ""),
        (f"Write this {said}:", f"{a} {b}"),
    ))
    return instruction, about, " ".join([a, b] * times)


def ends(rng: Random, world: World) -> Task:
    """Give the last word of a sentence, or the place or the person in it."""
    said = sentence(rng)
    asked, answer = rng.choice((
        ("What is the last word of this sentence?", said[-1]),
        ("Give only the last word.", said[-1]),
        ("Who is this about?", said[2]),
        ("Which person does this sentence name?", said[2]),
    ))
    return asked, f"{' '.join(said).capitalize()}.", answer


def facts(rng: Random, world: World) -> Task:
    """Answer yes or no by what was told before."""
    people, things = rng.sample(words.NAMES, 2), rng.sample(words.THINGS, 2)
    told = " ".join(f"{who} has a {what}." for who, what in zip(people, things, strict=True))
    who, what = rng.choice(people), rng.choice(things)
    right = people.index(who) == things.index(what)
    asked = rng.choice((f"Does {who} have a {what}?", f"Is it true that {who} has a {what}?",
                        f"Answer yes or no: {who} owns a {what}."))
    return asked, told, "Yes." if right else "No."


def refusals(rng: Random, world: World) -> Task:
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


def introductions(rng: Random, world: World) -> Task:
    """Answer from what somebody says about himself."""
    who, city, thing = (rng.choice(c) for c in (words.NAMES, words.CITIES, words.THINGS))
    told = f"My name is {who}, I live in {city} and I have a {thing}."
    asked, answer = rng.choice((
        ("What is my name?", who), ("Where do I live?", city), ("What do I have?", f"a {thing}")))
    return asked, told, f"{answer}."


def greetings(rng: Random, world: World) -> Task:
    """Greet somebody in a language."""
    language = rng.choice(sorted(world.greetings))
    who, city = rng.choice(words.NAMES), rng.choice(words.CITIES)
    instruction, about = rng.choice((
        (f"Greet {who} from {city} in {language}.", ""),
        (f"How do I say good day in {language} to {who} in {city}?", ""),
        (f"Write a {language} greeting.", f"It is for {who}, who lives in {city}."),
    ))
    return instruction, about, world.greetings[language]


def seasons(rng: Random, world: World) -> Task:
    """Say in which season a month is."""
    season = rng.choice(sorted(words.SEASONS))
    month = rng.choice(words.SEASONS[season])
    who, city = rng.choice(words.NAMES), rng.choice(words.CITIES)
    return rng.choice((
        f"{who} travels to {city} in {month}. Which season is that?",
        f"In {city} {who} was born in {month}; name the season.",
        f"Which season does {who} see in {city} when it is {month}?",
    )), "", season


def days(rng: Random, world: World) -> Task:
    """Say which day comes next."""
    at = rng.randrange(len(words.DAYS))
    who, city = rng.choice(words.NAMES), rng.choice(words.CITIES)
    return rng.choice((
        f"{who} came to {city} on {words.DAYS[at]} and left on the next day. Which day was it?",
        f"It is {words.DAYS[at]}; tomorrow {who} goes to {city}. On which day?",
        f"Tell {who} in {city} which day comes after {words.DAYS[at]}.",
    )), "", words.DAYS[(at + 1) % len(words.DAYS)]


TASKS: tuple[tuple[Callable[[Random, World], Task], float], ...] = (
    (refusals, 0.15), (greetings, 0.14), (seasons, 0.12), (days, 0.10), (facts, 0.10),
    (counting, 0.11), (categories, 0.10), (opposites, 0.06), (copying, 0.04), (ends, 0.04),
    (introductions, 0.04),
)
FRAMES = (
    "{}", "{}", "{}", "{}", "Please help me. {}", "{} Keep it short.", "{} Thank you!",
    "A question from {name}: {}", "{name} wants to know this. {}",
)


def task(rng: Random, world: World) -> Task:
    """Return one task of any kind, asked in somebody's own way."""
    made = rng.choices([t for t, _ in TASKS], [w for _, w in TASKS])[0]
    instruction, about, answer = made(rng, world)
    if answer != UNCLEAR and not instruction.endswith(":"):
        instruction = rng.choice(FRAMES).format(instruction, name=rng.choice(words.NAMES))
    return instruction, about, answer
