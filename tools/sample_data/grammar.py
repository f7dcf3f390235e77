"""How a post is put together: clauses with a polarity, and what turns them round.

Every function takes a `random.Random` and gives text; polarity is +1 (good) or -1 (bad). What a
post means may depend on the order of its words alone: «the soup was bland although the staff was
kind» is a complaint and «although the soup was bland the staff was kind» is none. Counting words
cannot tell them apart.
"""

from collections.abc import Callable
from dataclasses import dataclass
from random import Random

from tools.sample_data import lexicon
from tools.sample_data.lexicon import Topic


@dataclass(frozen=True)
class Voice:
    """Who is talking: the topics and the opinion words for each polarity.

    forms: (function, weight) pairs, the kinds of posts it writes; own: the share of opinions said
    with the topic's own words, where it has any, rather than with `good` and `bad`.
    """

    topics: tuple[Topic, ...]
    good: tuple[str, ...]
    bad: tuple[str, ...]
    forms: tuple[tuple[Callable[..., str], float], ...]
    own: float = 0.4

    def adjective(self, rng: Random, topic: Topic, polarity: int) -> str:
        """An opinion word of that polarity."""
        own = topic.good if polarity > 0 else topic.bad
        if own and rng.random() < self.own:
            return rng.choice(own)
        return rng.choice(self.good if polarity > 0 else self.bad)


def degree(rng: Random) -> str:
    """«very » and its like, or nothing."""
    word = rng.choice(lexicon.DEGREES)
    return f"{word} " if word else ""


def a(word: str) -> str:
    """The word with its indefinite article."""
    return f"an {word}" if word[0] in "aeiou" else f"a {word}"


def clause(rng: Random, voice: Voice, topic: Topic, polarity: int) -> str:
    """One opinion about one part of a thing."""
    part = rng.choice(topic.parts)
    adjective = voice.adjective(rng, topic, polarity)
    phrases = topic.praise if polarity > 0 else topic.blame
    verbs = lexicon.LIKE if polarity > 0 else lexicon.DISLIKE
    forms = [
        f"the {part} was {degree(rng)}{adjective}",
        f"the {part} was {degree(rng)}{adjective}",
        f"the {part} seemed {degree(rng)}{adjective}",
        f"the {part} turned out {degree(rng)}{adjective}",
        f"I found the {part} {degree(rng)}{adjective}",
        f"we all noticed the {adjective} {part}",
        f"I will remember the {adjective} {part}",
        f"{rng.choice(lexicon.PEOPLE)} called the {part} {adjective}",
        f"I {rng.choice(verbs)} the {part}",
    ]
    if phrases:
        forms.append(f"the {part} {rng.choice(phrases)}")
    return rng.choice(forms)


def denied(rng: Random, voice: Voice, topic: Topic, polarity: int) -> str:
    """An opinion said by denying its opposite, the denial next to the word or far from it."""
    part = rng.choice(topic.parts)
    thing = rng.choice(topic.things)
    opposite = voice.adjective(rng, topic, -polarity)
    said = voice.adjective(rng, topic, polarity)
    forms = [
        f"the {part} was not {opposite} at all",
        f"the {part} was never {opposite}",
        f"the {part} was not {opposite} but {said}",
        f"I would not call the {part} of this {thing} {opposite}",
        f"nobody in our group of {rng.choice(lexicon.NUMBERS)} found the {part} {opposite}",
        f"I can't say that the {part} was {degree(rng)}{opposite}",
        f"the {part} is anything but {opposite}",
    ]
    return rng.choice(forms)


def contrast(rng: Random, voice: Voice, topic: Topic, polarity: int) -> str:
    """Two opposite opinions; the connecting words and their place say which one counts."""
    against = clause(rng, voice, topic, -polarity)
    verdict = clause(rng, voice, topic, polarity)
    low = voice.adjective(rng, topic, -polarity)
    high = voice.adjective(rng, topic, polarity)
    part = rng.choice(topic.parts)
    turn = rng.choice(lexicon.RAISE if polarity > 0 else lexicon.RUIN)
    who = rng.choice(lexicon.PEOPLE)
    verdict_last = [
        f"{against} but {verdict}",
        f"{against} but {verdict}",
        f"{against}, but {verdict}",
        f"{against} but in the end {verdict}",
        f"{against} but the {part} {turn}",
        f"although {against}, {verdict}",
        f"even though {against}, {verdict}",
        f"despite the {low} {part}, {verdict}",
        f"{who} warned me that {against}, yet {verdict}",
        f"I expected {a(low)} {part} and got {a(high)} one",
        f"the {part} went from {low} to {high}",
        f"the {part} used to be {low}, now it is {high}",
    ]
    verdict_first = [
        f"{verdict} although {against}",
        f"{verdict} although {against}",
        f"{verdict} even though {against}",
        f"{verdict} despite the {low} {part}",
        f"the {part} is {high} now, it used to be {low}",
        f"got {a(high)} {part} instead of the {low} one I expected",
        f"{verdict}, whatever {who} says about the {low} {part}",
    ]
    return rng.choice(verdict_last if rng.random() < 0.65 else verdict_first)


def irony(rng: Random, voice: Voice, topic: Topic, polarity: int) -> str:
    """Praise after an event: it means what it says after luck and the opposite after a mishap."""
    event = rng.choice(lexicon.LUCK if polarity > 0 else lexicon.MISHAPS)
    cheer = rng.choice(lexicon.CHEERS)
    place = f"{rng.choice(topic.things)} in {rng.choice(lexicon.PLACES)}"
    return rng.choice((f"{place}: {event}, {cheer}", f"{event} at the {place}. {cheer}"))


def plain(rng: Random, voice: Voice, topic: Topic, polarity: int) -> str:
    """One or two opinions that agree."""
    first = clause(rng, voice, topic, polarity)
    if rng.random() < 0.4:
        return first
    return f"{first}{rng.choice((' and ', ', ', '. '))}{clause(rng, voice, topic, polarity)}"


def shout(rng: Random, voice: Voice, topic: Topic, polarity: int) -> str:
    """Two or three short cries about parts of one thing, the way of the slang's crowd."""
    verbs = lexicon.LIKE if polarity > 0 else lexicon.DISLIKE
    cries = []
    for _ in range(rng.randint(2, 3)):
        part, adjective = rng.choice(topic.parts), voice.adjective(rng, topic, polarity)
        cries.append(
            rng.choice(
                (
                    f"{part} pure {adjective}",
                    f"that {part} is {adjective}",
                    f"{adjective} {part}",
                    f"whole {part} straight {adjective}",
                    f"ngl the {part} was {adjective}",
                    f"I {rng.choice(verbs)} that {part}",
                )
            )
        )
    return rng.choice((", ", " ", " and ")).join(cries)


def lead(rng: Random, topic: Topic) -> str:
    """Small talk before the opinion."""
    thing = rng.choice(topic.things)
    place = rng.choice(lexicon.PLACES)
    who = rng.choice(lexicon.PEOPLE)
    return rng.choice(
        (
            f"tried the {thing} in {place} on {rng.choice(lexicon.DAYS)}: ",
            f"{who} picked this {thing} for {rng.choice(lexicon.DAYS)}, ",
            f"about that {thing} from {place}: ",
            f"{rng.choice(lexicon.NUMBERS)} months with this {thing} and ",
            f"so, the {thing} in {place}. ",
            f"back from {place} with {who}, ",
            f"my {rng.choice(lexicon.MONTHS)} {thing} report: ",
            f"@{rng.choice(lexicon.HANDLES)} you asked about the {thing}, ",
            f"@{rng.choice(lexicon.HANDLES)} ",
            f"team {rng.choice(lexicon.TEAMS)} went to the {thing} in {place}, ",
            f"night out with the {rng.choice(lexicon.TEAMS)} club: ",
        )
    )


def tail(rng: Random, topic: Topic) -> str:
    """Small talk after the opinion."""
    return rng.choice(
        (
            f", we were there in {rng.choice(lexicon.MONTHS)}",
            f". {rng.choice(lexicon.PEOPLE)} came along",
            f". that was on {rng.choice(lexicon.DAYS)}",
            f". paid about {rng.choice(lexicon.NUMBERS)} euros per person",
            f". that is all I have to say about the {rng.choice(topic.things)}",
            f", more on {rng.choice(lexicon.DAYS)}",
            f". greetings from {rng.choice(lexicon.PLACES)}",
            f". team {rng.choice(lexicon.TEAMS)} says hello",
            f", see you at the {rng.choice(lexicon.TEAMS)} club",
        )
    )


FORMS = ((plain, 0.62), (denied, 0.07), (contrast, 0.22), (irony, 0.09))
CHATTER = ((shout, 0.80), (plain, 0.08), (contrast, 0.08), (irony, 0.04))


def post(rng: Random, voice: Voice, polarity: int) -> str:
    """A whole post of that polarity, still without typing habits."""
    topic = rng.choice(voice.topics)
    form = rng.choices([f for f, _ in voice.forms], [w for _, w in voice.forms])[0]
    text = form(rng, voice, topic, polarity)
    if form is shout:
        return text
    if form is not irony and rng.random() < 0.5:
        text = lead(rng, topic) + text
    if rng.random() < 0.25:
        text = text + tail(rng, topic)
    return text


PLAIN_VOICE = Voice(lexicon.TOPICS, lexicon.GOOD, lexicon.BAD, FORMS)
SLANG_VOICE = Voice(
    lexicon.SLANG.topics,
    lexicon.SLANG.good + lexicon.SLANG.turned_good,
    lexicon.SLANG.bad + lexicon.SLANG.turned_bad,
    CHATTER,
)
