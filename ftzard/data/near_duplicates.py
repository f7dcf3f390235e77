"""Texts that are the same up to one word: such rows may not be on both sides of a split.

A test would measure what the model was trained on; so training rows that repeat a test or
validation row leave.
"""

from collections.abc import Callable, Iterator, Sequence
from typing import Protocol

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from ftzard.data.identity import FIRST, LATEST
from ftzard.data.normalization import SIGN, SYLLABLE, normalise_all, spaced_all

# Shorter texts are compared as a whole: 'so good' and 'not good' differ by one word too. Measured
# on 16,000 tweets: at four words 0.4 % of them leave training, and of test rows with one word
# changed 97 % are found; at six 0.1 %, and 87 %.
NEAR_WORDS = 4
# How much of a word a sign is, in scripts without spaces, where two neighbours may differ as a word
# may: six syllables are four words, and twelve letters are. Measured on 7,752 Chinese reviews of at
# most 40 signs: 0.3 % of them leave training, and of English tweets of at most ten words 1.1 %.
WORD = 6
SYLLABLE_SIGN = 4
LETTER = 2
# How much neighbouring signs that differ may weigh, by the version of the rules of identity; two
# may differ in any case. From version 3, as much as a long word: five syllables or ten letters, if
# they are no more of their text than one word is of the shortest text that is compared.
LONGEST_WORD = {FIRST: 0, 2: 2, LATEST: 20}
_MULTIPLIER = np.uint64(0x9E3779B97F4A7C13)
_INVERSE = np.uint64(pow(int(_MULTIPLIER), -1, 1 << 64))
#: Rows whose signatures are made at a time, and bits that tell their hashes apart.
_AT_ONCE, _BITS = 1 << 14, 24
_NO_HASHES = np.zeros(0, dtype=np.uint64)


def _runs(longest: int) -> range:
    """Return how many neighbouring signs of a weight of `longest` at most there may be."""
    return range(2, 1 + max(longest // LETTER, min(longest, 2)))


def shapes(words: tuple, weights: Sequence[int], signs: Sequence[bool], longest: int) -> set[tuple]:
    """Return what a text shares with its near-duplicates: its words, and those less one of them.

    A text of less than four words starts with -1 and is whole.

    Args:
        weights: How much of a word each is.
        signs: Which of them are signs of a script without spaces, of which two neighbours, or some
            that weigh at most `longest`, may be missing.
    """
    size = sum(weights)
    if size < NEAR_WORDS * WORD:
        return {(-1, *words)}
    variants = {words} | {words[:i] + words[i + 1 :] for i in range(len(words))}
    most = min(longest, size // NEAR_WORDS)
    for run in _runs(longest):
        for i in range(len(words) - run + 1):
            if all(signs[i : i + run]) and (run == 2 or sum(weights[i : i + run]) <= most):
                variants.add(words[:i] + words[i + run :])
    return variants


class Words:
    """The words of texts, flat over all texts, with hashes of a text and of it less a word.

    Texts that are compared up to one word are compared here: `rows` are the texts that are.
    longest: how much neighbouring signs of scripts without spaces may weigh that are missing; 0:
    these scripts have no words of their own.
    """

    def __init__(self, normalised: pa.Array, *, longest: int = 0):
        lists = pc.split_pattern(normalised, " ")
        offsets = np.asarray(lists.offsets).astype(np.int64)
        encoded = lists.values.dictionary_encode()
        self.words = encoded.indices.to_numpy(zero_copy_only=False).astype(np.int64)
        self.start, self.end = offsets[:-1], offsets[1:]
        self.vocabulary = encoded.dictionary.to_pylist()
        hashed = pd.util.hash_array(np.array(self.vocabulary, dtype=object))
        self.values = hashed.astype(np.uint64)
        self.is_sign = np.zeros(len(self.vocabulary), dtype=bool)
        self.weights = np.full(len(self.vocabulary), WORD)
        self.longest = longest
        if longest:
            self.is_sign, syllable = (
                pc.match_substring_regex(encoded.dictionary, f"^{pattern}$").to_numpy(False)
                for pattern in (SIGN, SYLLABLE))
            letters = pc.utf8_length(encoded.dictionary).to_numpy() * LETTER
            self.weights = np.where(syllable, SYLLABLE_SIGN, np.where(self.is_sign, letters, WORD))

    def of(self, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return (signatures, owners): one whole text and, if long enough, one less each word."""
        lengths = (self.end - self.start)[rows]
        ends = np.cumsum(lengths)
        begins = ends - lengths
        place = np.arange(lengths.sum()) - np.repeat(begins, lengths)
        owner = np.repeat(np.arange(len(rows)), lengths)
        at = np.repeat(self.start[rows], lengths) + place
        longest = int(lengths.max(initial=0))
        powers = np.cumprod(np.concatenate([[np.uint64(1)], np.full(longest, _MULTIPLIER)]))
        words = self.words[at]
        weighted = self.values[words] * powers[place]
        running = np.concatenate([[np.uint64(0)], np.cumsum(weighted, dtype=np.uint64)])
        whole = running[ends] - running[begins]
        before = running[:-1] - running[begins][owner]
        after = running[ends][owner] - running[1:]
        size = np.bincount(owner, weights=self.weights[words], minlength=len(rows))
        is_long = size >= NEAR_WORDS * WORD
        # A short text may only equal a short text, never what a longer one is without a word.
        whole = np.where(is_long, whole, ~whole)
        long = is_long[owner]
        signatures, owners = [whole, (before + after * _INVERSE)[long]], [rows, rows[owner[long]]]
        signs = np.concatenate([[0], np.cumsum(self.is_sign[words])])
        weights = np.concatenate([[0], np.cumsum(self.weights[words])])
        for run in _runs(self.longest):
            first, last = np.arange(len(words) - run + 1), np.arange(run - 1, len(words))
            may_leave = long[first] & (owner[first] == owner[last])
            may_leave &= signs[last + 1] - signs[first] == run
            if run > 2:
                weight = weights[last + 1] - weights[first]
                may_leave &= weight <= np.minimum(self.longest, size[owner[first]] // NEAR_WORDS)
            first, last = first[may_leave], last[may_leave]
            inverse = np.uint64(pow(int(_MULTIPLIER), -run, 1 << 64))
            signatures.append(before[first] + after[last] * inverse)
            owners.append(rows[owner[first]])
        return np.concatenate(signatures), np.concatenate(owners)

    def exact(self, row: int) -> set[tuple[int, ...]]:
        """Return the word sequences behind one row's signatures, by number in the vocabulary."""
        return self._shapes(row, lambda number: number)

    def named(self, row: int) -> set[tuple[str, ...]]:
        """Return the word sequences behind one row's signatures as words."""
        return self._shapes(row, self.vocabulary.__getitem__)

    def _shapes(self, row: int, word: Callable[[int], int | str]) -> set[tuple]:
        numbers = self.words[self.start[row] : self.end[row]]
        return shapes(tuple(map(word, numbers.tolist())), self.weights[numbers].tolist(),
                      self.is_sign[numbers].tolist(), self.longest)


def _compared(texts: pd.Series, normalised: pa.Array, identity: int
              ) -> list[tuple[Words, np.ndarray]]:
    """Return each way in which texts are parted into words, with the rows that it is for."""
    every, spaced = np.ones(len(texts), dtype=bool), Words(spaced_all(texts))
    signed = every[:0]
    if identity != FIRST and not pc.all(pc.string_is_ascii(normalised)).as_py():
        signed = pc.match_substring_regex(normalised, SIGN).to_numpy(zero_copy_only=False)
    if not signed.any():
        return [(Words(normalised), every), (spaced, every)]
    return [(Words(normalise_all(texts)), every), (spaced, every),
            (Words(normalised, longest=LONGEST_WORD[identity]), signed)]


def all_shapes(texts: Sequence[str], identity: int = FIRST) -> list[set[tuple]]:
    """Return, per text, what near-duplicates share, as `drop_near_duplicates` has it."""
    texts = pd.Series(list(texts), dtype="str")
    shapes_of: list[set[tuple]] = [set() for _ in texts]
    for way, (words, rows) in enumerate(_compared(texts, normalise_all(texts, identity), identity)):
        for row in np.flatnonzero(rows):
            shapes_of[row] |= {(way, *shape) for shape in words.named(row)}
    return shapes_of


class _ReferenceRows:
    """Rows that stay, by the hashes of their signatures.

    Most hashes of other rows are told apart by some of their bits, which fit into a cache.
    """

    def __init__(self, signatures: Words, rows: np.ndarray):
        self._signatures = signatures
        parts = [signatures.of(part) for part in _parts(rows)]
        self._hashes = np.concatenate([hashes for hashes, _ in parts] or [_NO_HASHES])
        self._owners = np.concatenate([owners for _, owners in parts] or [rows[:0]])
        self._known = np.sort(self._hashes)
        self._bits = np.zeros(1 << _BITS, dtype=bool)
        self._bits[self._known >> np.uint64(64 - _BITS)] = True

    def contains(self, hashes: np.ndarray) -> np.ndarray:
        """Return the places of those hashes that a kept row has."""
        places = np.flatnonzero(self._bits[hashes >> np.uint64(64 - _BITS)])
        if not len(places):
            return places
        at = np.searchsorted(self._known, hashes[places])
        return places[self._known[np.minimum(at, len(self._known) - 1)] == hashes[places]]

    def near(self, hashes: np.ndarray, owners: np.ndarray) -> np.ndarray:
        """Return those owners of shared hashes that equal a kept row up to one word.

        Equal hashes are only a suspicion: the words decide.
        """
        if not len(hashes):
            return owners
        suspects = np.unique(self._owners[pd.Index(self._hashes).isin(pd.unique(hashes))])
        texts = set().union(*(self._signatures.exact(row) for row in suspects))
        return np.array([row for row in np.unique(owners)
                         if not texts.isdisjoint(self._signatures.exact(row))], dtype=np.int64)


def _parts(rows: np.ndarray) -> Iterator[np.ndarray]:
    """Yield rows in parts whose words fit into a processor's cache."""
    for start in range(0, len(rows), _AT_ONCE):
        yield rows[start : start + _AT_ONCE]


def _near(signatures: Words, rows: np.ndarray, parts: Sequence[np.ndarray]) -> list[np.ndarray]:
    """Return, for each of `parts`, those of `rows` that equal one of it up to one word."""
    sides = [_ReferenceRows(signatures, others) for others in parts]
    hits: list[list[tuple[np.ndarray, np.ndarray]]] = [[] for _ in sides]
    for part in _parts(rows):
        hashes, owners = signatures.of(part)
        for side, its in zip(sides, hits, strict=True):
            places = side.contains(hashes)
            its.append((hashes[places], owners[places]))
    return [side.near(np.concatenate([hashes for hashes, _ in its] or [_NO_HASHES]),
                      np.concatenate([owners for _, owners in its] or [rows[:0]]))
            for side, its in zip(sides, hits, strict=True)]


class Repeated(Protocol):
    """What rows repeat of each other besides their texts, and the reason against those that do."""

    reason: str

    def again(self, rows: np.ndarray, references: np.ndarray, *, earlier: bool, whole: str
              ) -> np.ndarray:
        """Return those of `rows`, by position, that repeat one of `references`."""
        ...


#: Makes it of rows under a version of the rules of identity; None where nothing can be repeated.
RepeatedOf = Callable[[pd.DataFrame, int], Repeated | None]


def drop_near_duplicates(
    frame: pd.DataFrame, identity: int = FIRST, *, whole: str = "leaving",
    repeated_of: RepeatedOf | None = None,
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Take rows out of training that stand, up to one word, in validation or test.

    Two texts are near-duplicates if their words are the same, or if both have at least four words
    and become the same sequence when each, or only the longer one, loses one word. Words are what
    `normalise_all` finds, or what stands between spaces: 'hi...you' counts as two and as one. From
    version 2 of the rules (`identity`), signs of a script without spaces are words as well, and one
    of them or two neighbours may differ; from version 3 a whole word, of at most a quarter of the
    text. Test rows all stay; validation rows like a test row and
    training rows like a test or validation row go. Returns (kept, dropped); dropped has a column
    `reason`. Linear in the number of words.

    Args:
        frame: rows with text and split.
        identity: version of the rules by which texts are the same.
        whole: whose earlier turns count in `repeated_of`, of the rows 'leaving' or of those 'kept'.
        repeated_of: what else a row may repeat.
    """
    split = frame["split"].to_numpy()
    normalised = normalise_all(frame["text"], identity)
    compared = _compared(frame["text"], normalised, identity)
    repeated = None if repeated_of is None else repeated_of(frame, identity)
    reason = np.full(len(frame), "", dtype=object)
    for side, others in (("validation", ("test",)), ("train", ("test", "validation"))):
        every = np.flatnonzero(split == side)
        references = [np.flatnonzero((split == against) & (reason == "")) for against in others]
        ways = [_near(words, every[which[every]], [rows[which[rows]] for rows in references])
                for words, which in compared]
        for number, against in enumerate(others):
            rows = every[reason[every] == ""]
            near = np.intersect1d(rows, np.concatenate([way[number] for way in ways]))
            same = pc.is_in(normalised.take(pa.array(near)),
                            value_set=normalised.take(pa.array(references[number]))).to_numpy(False)
            what = np.where(same, "duplicate", "near-duplicate")
            reason[near] = [f"{kind} of a {against} row" for kind in what]
            if repeated is not None:
                again = repeated.again(rows[reason[rows] == ""], references[number], whole=whole,
                                       earlier=identity != FIRST)
                reason[again] = f"{repeated.reason} of a {against} row"
    gone = reason != ""
    dropped = frame[gone].assign(reason=pd.Series(reason[gone], frame.index[gone], dtype="str"))
    return frame[~gone].reset_index(drop=True), dropped.reset_index(drop=True)


def learned_before(rows: pd.DataFrame, earlier: pd.DataFrame | None, identity: int = FIRST,
                   repeated_of: RepeatedOf | None = None) -> int:
    """Return how many new test rows repeat a training row of an earlier version.

    Args:
        rows: This version's (id, split, text, and messages and label of free answers).
        earlier: The version's before, or None. They repeat by the rule of `drop_near_duplicates`.
            Such training rows leave from now on, but models of before have learned them, and a
            challenger that starts from one of those with it: it will look a little better on these
            test rows than it is.
    """
    if earlier is None:
        return 0
    new = rows[(rows["split"] == "test") & ~rows["id"].isin(earlier["id"])]
    return int(repeats(new, earlier[earlier["split"] == "train"], identity, repeated_of).sum())


def repeats(rows: pd.DataFrame, learned: pd.DataFrame, identity: int = FIRST,
            repeated_of: RepeatedOf | None = None) -> pd.Series:
    """Return, per row, whether it repeats one of `learned`, by `drop_near_duplicates`' rule.

    Args:
        rows, learned: Text and, of free answers, messages and label; the index is that of `rows`.
    """
    both = pd.concat([learned.assign(split="test", place=-1),
                      rows.assign(split="train", place=np.arange(len(rows)))],
                     join="inner", ignore_index=True)
    # Here the rows that were learned stay: it is their earlier turns that may say a row's answer.
    pairs = drop_near_duplicates(both, identity, whole="kept", repeated_of=repeated_of)[1]
    pairs = pairs["place"].to_numpy(dtype=int)
    return pd.Series(np.isin(np.arange(len(rows)), pairs), rows.index)


def like_test_rows(texts: pd.Series, test_texts: Sequence[str] | pd.Series,
                   identity: int = FIRST) -> pd.Series:
    """Return, per text, 'duplicate of a test row', 'near-duplicate of a test row' or ''.

    The rule is that of `drop_near_duplicates`; the index is that of `texts`.
    """
    if len(texts) == 0 or len(test_texts) == 0:
        return pd.Series("", texts.index, dtype="str")
    rows = pd.concat([pd.DataFrame({"text": list(test_texts), "split": "test", "place": -1}),
                      pd.DataFrame({"text": list(texts), "split": "train",
                                    "place": np.arange(len(texts))})], ignore_index=True)
    _, reason = drop_near_duplicates(rows, identity)
    reasons = pd.Series("", texts.index, dtype="str")
    reasons.iloc[reason["place"].to_numpy(dtype=int)] = reason["reason"].to_numpy()
    return reasons
