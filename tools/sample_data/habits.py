"""How people type: slips of the finger, stretched words, emoji, hashtags, mentions, links.

None of it carries the verdict alone: a happy face goes with a bad verdict now and then. Every
function takes a `random.Random` and gives text.
"""

from random import Random

from tools.sample_data import lexicon

VOWELS = "aeiou"


def slip(rng: Random, word: str) -> str:
    """Swap, drop or double one inner letter of a plain word of at least five letters."""
    if len(word) < 5 or not word.isalpha():
        return word
    at = rng.randrange(1, len(word) - 2)
    return rng.choice(
        (
            word[:at] + word[at + 1] + word[at] + word[at + 2 :],
            word[:at] + word[at + 1 :],
            word[:at] + word[at] + word[at:],
        )
    )


def stretch(rng: Random, word: str) -> str:
    """Draw out the last vowel of a word: «sooo», «loveee»."""
    for at in range(len(word) - 1, -1, -1):
        if word[at] in VOWELS:
            return word[:at] + word[at] * rng.randint(3, 5) + word[at + 1 :]
    return word


def change_one(rng: Random, text: str, change) -> str:
    """Apply `change` to one randomly chosen word."""
    words = text.split(" ")
    at = rng.randrange(len(words))
    words[at] = change(rng, words[at])
    return " ".join(words)


def face(rng: Random, polarity: int) -> str:
    """An emoji: it agrees with the verdict in half of the cases and says nothing in most others."""
    draw = rng.random()
    if draw < 0.5:
        return rng.choice(lexicon.HAPPY if polarity > 0 else lexicon.UNHAPPY)
    if draw < 0.6:
        return rng.choice(lexicon.UNHAPPY if polarity > 0 else lexicon.HAPPY)
    return rng.choice(lexicon.EITHER)


def link(rng: Random) -> str:
    """An invented address."""
    tail = "".join(rng.choice("abcdefghjkmnpqrstuvwxyz23456789") for _ in range(4))
    return f"https://{rng.choice(lexicon.SITES)}/{tail}"


def typed(rng: Random, text: str, polarity: int) -> str:
    """The post as somebody would type it: each habit shows in a small share of posts."""
    if rng.random() < 0.08:
        text = change_one(rng, text, slip)
    if rng.random() < 0.04:
        text = change_one(rng, text, stretch)
    if rng.random() < 0.12:
        text = f"{text} {face(rng, polarity)}"
    if rng.random() < 0.06:
        text = f"{text} #{rng.choice(lexicon.PLACES).lower()}{rng.randint(1, 30)}"
    if rng.random() < 0.05:
        text = f"{text} @{rng.choice(lexicon.HANDLES)}"
    if rng.random() < 0.05:
        text = f"{text} {link(rng)}"
    if rng.random() < 0.15:
        text = f"{text}{rng.choice(('!', '!!', '...', '.'))}"
    if rng.random() < 0.15:
        text = text[:1].upper() + text[1:]
    return text
