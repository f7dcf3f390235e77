"""Which side of a split a row is on, for ever.

A row's side is a function of its group or its words, and of nothing else: neither the rows around
it nor the order of deliveries can move it, and two rows with the same words share a side. What
stands almost the same on another side leaves training, so that a test measures new texts; so does
the question and answer of a test row, whatever a chat has before the question.
"""

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from ftzard.data.identity import FIRST, LATEST, tidy
from ftzard.data.normalization import SIGN, SYLLABLE, arrow, normalise_all, spaced_all
from ftzard.errors import ConfigError, DataError, nearest

SPLITS = ("train", "validation", "test")
ALIASES = {"val": "validation", "valid": "validation", "dev": "validation", "training": "train"}
# Shorter texts are compared as a whole: 'so good' and 'not good' differ by one word too. Measured
# on 16,000 tweets: at four words 0.4 % of them leave training, and of test rows with one word
# changed 97 % are found; at six 0.1 %, and 87 %.
NEAR_WORDS = 4
# How much of a word a sign is, in scripts without spaces, where two neighbours may differ as a word
# may: six syllables are four words, and twelve letters are. Measured on 7,752 Chinese reviews of at
# most 40 signs: 0.3 % of them leave training, and of English tweets of at most ten words 1.1 %.
WORD, SYLLABLE_SIGN, LETTER = 6, 4, 2
# How much neighbouring signs that differ may weigh, by the version of the rules of identity; two
# may differ in any case. From version 3, as much as a long word: five syllables or ten letters, if
# they are no more of their text than one word is of the shortest text that is compared.
LONGEST_WORD = {FIRST: 0, 2: 2, LATEST: 20}
_MULTIPLIER = np.uint64(0x9E3779B97F4A7C13)
_INVERSE = np.uint64(pow(int(_MULTIPLIER), -1, 1 << 64))


def canonical_split(names: pd.Series, identity: int = FIRST) -> pd.Series:
    """Return published split names as train, validation or test; '' stays ''.

    Case and the aliases val, valid, dev and training are understood; any other name is an error.
    From version 2 of the rules, so are two spellings of one split in a column.
    """
    found = {name: str(name).strip().lower() for name in names.unique()}
    if identity != FIRST:
        spelled = dict(zip(found, tidy(list(found)).to_pylist(), strict=True))
        found = {name: shown.casefold() for name, shown in spelled.items()}
    found = {name: ALIASES.get(lower, lower) for name, lower in found.items()}
    for name, canonical in found.items():
        if canonical and canonical not in SPLITS:
            raise DataError(
                f"Split '{name}' of data.split_column is unknown"
                f"{nearest(canonical, [*SPLITS, *ALIASES])} Rename it in the file, or set "
                "data.split=text."
            )
    if identity != FIRST:
        _refuse_two_spellings(names.map(spelled), names.map(found))
    return names.map(found)


def _refuse_two_spellings(spelled: pd.Series, split: pd.Series) -> None:
    """Raise DataError, with their counts, for two names of one split: they may be two splits."""
    for name in SPLITS:
        counts = spelled[split == name].value_counts()
        if len(counts) > 1:
            told = ", ".join(f"'{spelling}' ({rows:,} rows)" for spelling, rows in counts.items())
            raise DataError(f"data.split_column has several names for the {name} split: {told}. "
                            "Write them as one in the file, or set data.split=text.")


def _checked(ratio: Mapping[str, float]) -> dict[str, float]:
    ratio = {str(name): float(share) for name, share in ratio.items()}
    total = sum(ratio.values())
    if set(ratio) != set(SPLITS) or min(ratio.values()) <= 0 or abs(total - 1) > 1e-6:
        raise ConfigError(
            f"The split ratio is {ratio} (sum {total:g}), expected shares above zero for train, "
            "validation and test that add up to 1."
        )
    return ratio


def keys(frame: pd.DataFrame, identity: int = FIRST) -> pa.Array:
    """Return what decides each row's side: its group if it has one, else its text's words."""
    words = normalise_all(frame["text"], identity)
    if "group" not in frame:
        return words
    groups = pc.utf8_trim_whitespace(arrow(frame["group"]))
    named = pc.binary_join_element_wise(*arrow(["group"]), groups, *arrow(["\x00"]))
    return pc.if_else(pc.equal(groups, ""), words, named)


def position(key: str, salt: str) -> float:
    """Return where a key lies in [0, 1): uniform over keys, fixed for one salt."""
    digest = hashlib.sha256(f"{salt}\x00{key}".encode()).digest()
    return int.from_bytes(digest[:6], "big") / (1 << 48)


def assign(
    frame: pd.DataFrame, *, ratio: Mapping[str, float], salt: str, by: str = "text",
    identity: int = FIRST,
) -> pd.DataFrame:
    """Return the rows with a column `split`: 'train', 'validation' or 'test'.

    by='text': the hash of the salt with the row's group or words decides. by='given': the column
    `split` does, under its canonical names; a batch that has none at all (rows labelled later) is
    assigned by its text. `ratio`, `salt` and `identity`, the version of the rules by which texts
    and names are the same, must stay what they were when first used.
    """
    ratio = _checked(ratio)
    if by not in ("text", "given"):
        raise ConfigError(f"data.split='{by}' is unknown{nearest(by, ['text', 'given'])}")
    if by == "text":
        return frame.assign(split=_by_hash(frame, ratio, salt, identity))
    if "split" not in frame:
        raise DataError(
            "data.split=given needs a column with the published split; set data.split_column to "
            "its name, or data.split=text."
        )
    split = canonical_split(frame["split"].fillna(""), identity)
    missing = split == ""
    if missing.any():
        batch = frame["batch"] if "batch" in frame else pd.Series("", index=frame.index)
        partly = set(batch[missing]) & set(batch[~missing])
        if partly:
            raise DataError(
                f"{int(missing.sum())} rows of batch {sorted(partly)[0]} have no split while "
                "others do; fill data.split_column for all of them, or set data.split=text."
            )
        split = split.where(~missing, _by_hash(frame, ratio, salt, identity))
    return frame.assign(split=split)


def _by_hash(frame: pd.DataFrame, ratio: dict[str, float], salt: str, identity: int) -> pd.Series:
    places = [position(key, salt) for key in keys(frame, identity).to_pylist()]
    bounds = [ratio["test"], ratio["test"] + ratio["validation"]]
    sides = np.array(["test", "validation", "train"], dtype=object)
    found = np.searchsorted(bounds, np.array(places, dtype=float), side="right")
    return pd.Series(sides[found], frame.index, dtype="str")


def _runs(longest: int) -> range:
    """Return how many neighbouring signs of a weight of `longest` at most there may be."""
    return range(2, 1 + max(longest // LETTER, min(longest, 2)))


def shapes(words: tuple, weights: Sequence[int], signs: Sequence[bool], longest: int) -> set[tuple]:
    """Return what a text shares with its near-duplicates: its words, and those less one of them.

    weights: how much of a word each is; signs: which of them are signs of a script without spaces,
    of which two neighbours, or some that weigh at most `longest`, may be missing. A text of less
    than four words starts with -1 and is whole.
    """
    size = sum(weights)
    if size < NEAR_WORDS * WORD:
        return {(-1, *words)}
    found = {words} | {words[:i] + words[i + 1 :] for i in range(len(words))}
    most = min(longest, size // NEAR_WORDS)
    for run in _runs(longest):
        for i in range(len(words) - run + 1):
            if all(signs[i : i + run]) and (run == 2 or sum(weights[i : i + run]) <= most):
                found.add(words[:i] + words[i + run :])
    return found


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
    found: list[set[tuple]] = [set() for _ in texts]
    for way, (words, rows) in enumerate(_compared(texts, normalise_all(texts, identity), identity)):
        for row in np.flatnonzero(rows):
            found[row] |= {(way, *shape) for shape in words.named(row)}
    return found


def _near(signatures: Words, rows: np.ndarray, kept: np.ndarray) -> np.ndarray:
    """Return those of `rows` that equal one of `kept` up to one word, by position."""
    if not len(rows) or not len(kept):
        return rows[:0]
    found, owners = signatures.of(rows)
    against, against_owners = signatures.of(kept)
    hits = pd.Index(found).isin(pd.unique(against))
    if not hits.any():
        return rows[:0]
    # Equal hashes are only a suspicion: the words decide.
    suspects = np.unique(against_owners[pd.Index(against).isin(pd.unique(found[hits]))])
    texts = set().union(*(signatures.exact(row) for row in suspects))
    candidates = np.unique(owners[hits])
    return np.array(
        [row for row in candidates if not texts.isdisjoint(signatures.exact(row))], dtype=np.int64
    )


@dataclass(frozen=True)
class _Exchanges:
    """Questions and answers of rows, flat over all rows: of each row the last, and earlier ones.

    said: each question, with its input, and its answer as one string of words; owner: the row;
    last: whether it is the row's last one.
    """

    said: pa.Array
    owner: np.ndarray
    last: np.ndarray

    def again(self, rows: np.ndarray, kept: np.ndarray, *, earlier: bool, whole: str
              ) -> np.ndarray:
        """Return those of `rows` that say again what `kept` say last, or the other way round.

        earlier: whether earlier exchanges count as well: those of the leaving rows, or, if `whole`
        is 'kept', those of the rows that stay.
        """
        every = np.ones(len(self.last), dtype=bool) if earlier else self.last
        leaving, staying = (self.last, every) if whole == "kept" else (every, self.last)
        ours = np.flatnonzero(leaving & np.isin(self.owner, rows))
        theirs = np.flatnonzero(staying & np.isin(self.owner, kept))
        found = pc.is_in(self.said.take(pa.array(ours)),
                         value_set=self.said.take(pa.array(theirs))).to_numpy(False)
        return np.unique(self.owner[ours[found]])


def _exchanges(frame: pd.DataFrame, identity: int) -> _Exchanges | None:
    """Return the questions and answers of rows; None where no row has both messages and an answer.
    """
    if not {"messages", "label"} <= set(frame):
        return None
    asked, answers, owner, last = [], [], [], []
    for row, (cell, label) in enumerate(zip(frame["messages"], frame["label"], strict=True)):
        turns = [*json.loads(cell), {"role": "assistant", "content": label}]
        pairs = [pair for pair in zip(turns[:-1], turns[1:], strict=True)
                 if pair[0]["role"] == "user"]
        asked += ["\n\n".join(filter(None, (question["content"], question.get("input"))))
                  for question, _ in pairs]
        answers += [answer["content"] for _, answer in pairs]
        owner += [row] * len(pairs)
        last += [False] * (len(pairs) - 1) + [True] * bool(pairs)
    said = pc.binary_join_element_wise(
        normalise_all(pd.Series(asked, dtype="str"), identity),
        normalise_all(pd.Series(answers, dtype="str"), identity), *arrow(["\x00"]))
    return _Exchanges(said, np.array(owner, dtype=np.int64), np.array(last, dtype=bool))


def drop_near_duplicates(frame: pd.DataFrame, identity: int = FIRST, *, whole: str = "leaving"
                         ) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Take rows out of training that stand, up to one word, in validation or test.

    Two texts are near-duplicates if their words are the same, or if both have at least four words
    and become the same sequence when each, or only the longer one, loses one word. Words are what
    `normalise_all` finds, or what stands between spaces: 'hi...you' counts as two and as one. From
    version 2 of the rules (`identity`), signs of a script without spaces are words as well, and one
    of them or two neighbours may differ; from version 3 a whole word, of at most a quarter of the
    text. Test rows all stay; validation rows like a test row and
    training rows like a test or validation row go. Of rows with messages and answers, those go too
    whose last question and answer have the words of a test or validation row's, whatever stands
    before the question: a system's message or a greeting is no new question. From version 2, so do
    those that say it in an earlier turn, as where a dialogue became a row for each of its turns.
    whole: whose earlier turns count, of the rows that are 'leaving' or of those 'kept'. Returns
    (kept, dropped); dropped has a column `reason`. Linear in the number of words.
    """
    split = frame["split"].to_numpy()
    normalised = normalise_all(frame["text"], identity)
    compared = _compared(frame["text"], normalised, identity)
    exchanges = _exchanges(frame, identity)
    reason = np.full(len(frame), "", dtype=object)
    order = [("validation", "test"), ("train", "test"), ("train", "validation")]
    for side, against in order:
        rows = np.flatnonzero((split == side) & (reason == ""))
        kept = np.flatnonzero((split == against) & (reason == ""))
        near = np.unique(np.concatenate([
            _near(words, rows[which[rows]], kept[which[kept]]) for words, which in compared]))
        same = pc.is_in(normalised, value_set=normalised.take(pa.array(kept))).to_numpy(False)
        what = np.where(same[near], "duplicate", "near-duplicate")
        reason[near] = [f"{kind} of a {against} row" for kind in what]
        if exchanges is not None:
            again = exchanges.again(rows[reason[rows] == ""], kept, whole=whole,
                                    earlier=identity != FIRST)
            reason[again] = f"question and answer of a {against} row"
    gone = reason != ""
    dropped = frame[gone].assign(reason=pd.Series(reason[gone], frame.index[gone], dtype="str"))
    return frame[~gone].reset_index(drop=True), dropped.reset_index(drop=True)


def learned_before(rows: pd.DataFrame, earlier: pd.DataFrame | None,
                   identity: int = FIRST) -> int:
    """Return how many new test rows repeat a training row of an earlier version.

    rows: this version's (id, split, text, and messages and label of free answers); earlier: the
    version's before, or None. They repeat by the rule of `drop_near_duplicates`. Such training
    rows leave from now on, but models of before have learned them, and a challenger that starts
    from one of those with it: it will look a little better on these test rows than it is.
    """
    if earlier is None:
        return 0
    new = rows[(rows["split"] == "test") & ~rows["id"].isin(earlier["id"])]
    return int(repeats(new, earlier[earlier["split"] == "train"], identity).sum())


def repeats(rows: pd.DataFrame, learned: pd.DataFrame, identity: int = FIRST) -> pd.Series:
    """Return, per row, whether it repeats one of `learned`, by `drop_near_duplicates`' rule.

    rows, learned: text and, of free answers, messages and label; the index is that of `rows`.
    """
    both = pd.concat([learned.assign(split="test", place=-1),
                      rows.assign(split="train", place=np.arange(len(rows)))],
                     join="inner", ignore_index=True)
    # Here the rows that were learned stay: it is their earlier turns that may say a row's answer.
    found = drop_near_duplicates(both, identity, whole="kept")[1]["place"].to_numpy(dtype=int)
    return pd.Series(np.isin(np.arange(len(rows)), found), rows.index)


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
    _, found = drop_near_duplicates(rows, identity)
    reasons = pd.Series("", texts.index, dtype="str")
    reasons.iloc[found["place"].to_numpy(dtype=int)] = found["reason"].to_numpy()
    return reasons


def check_splits(
    frame: pd.DataFrame,
    *,
    min_rows: int | Mapping[str, int] = 1,
    labels: Sequence[str] | None = None,
) -> None:
    """Refuse splits that cannot be trained on or measured with.

    min_rows: fewest rows of every split, or of each by name. labels: the label names that every
    split must hold; None: all that the frame holds. Free answers (rows with messages) are no names
    that every split could hold.
    """
    needed = min_rows if isinstance(min_rows, Mapping) else dict.fromkeys(SPLITS, min_rows)
    counts = frame["split"].value_counts()
    for split in SPLITS:
        rows = int(counts.get(split, 0))
        least = max(1, int(needed.get(split, 1)))
        if rows < least:
            raise DataError(
                f"The {split} split has {rows} of {len(frame)} rows, at least {least} needed; "
                f"bring more rows, or {_larger(split)} before the first use."
            )
    if "label" not in frame or "messages" in frame:
        return
    expected = sorted(labels if labels is not None else frame["label"].unique())
    for split in SPLITS:
        found = set(frame.loc[frame["split"] == split, "label"])
        absent = [label for label in expected if label not in found]
        if absent:
            raise DataError(
                f"The {split} split has no row labelled {', '.join(map(repr, absent))} among its "
                f"{int(counts[split])} rows; bring more rows of that label, {_larger(split)} "
                "before the first use, or leave it out of data.labels, which rejects its rows."
            )


def _larger(split: str) -> str:
    other = "test" if split == "train" else "train"
    return f"raise data.{split}_share (and lower data.{other}_share by as much)"


def refuse_moved(now: pd.DataFrame, earlier: pd.DataFrame | None) -> None:
    """Refuse sides that differ from those an earlier run gave the same rows.

    Shares and salt are frozen at first use: a row that has been trained on must not become a test
    row. earlier: id and split of the rows as they were tokenized before, or None.
    """
    if earlier is None:
        return
    both = now[["id", "split", "text"]].merge(
        earlier[["id", "split"]], on="id", suffixes=("", "_before"))
    moved = both[both["split"] != both["split_before"]]
    if len(moved):
        first = moved.iloc[0]
        raise DataError(
            f"{len(moved):,} rows would change sides, such as {first['id']} from "
            f"{first['split_before']} to {first['split']}: data.salt, the shares or data.split "
            "differ from those that this workspace began with. Set them back, or begin a new one."
        )
