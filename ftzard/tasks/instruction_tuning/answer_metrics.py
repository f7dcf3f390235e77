"""How good free answers are: exact match, ROUGE-L, loss and perplexity, and answers side by side.

Texts are compared as they are, but for two things. Exact match takes away the space around a text
and composes its accents (Unicode NFC), so that the same characters written in two ways are the
same; the case of letters and the space inside count. ROUGE-L (Lin, 2004, "ROUGE: A Package for
Automatic Evaluation of Summaries") is the F-measure of the longest common subsequence of words by
`rouge-score`, without stemming. Its own words are runs of a-z and 0-9, in which a text in Greek or
Chinese has none and would score 0 whatever it says; here words are runs of letters and digits of
any script, one character each where a script sets no spaces. In English the two are the same.
"""

import re
import unicodedata
from collections.abc import Mapping, Sequence
from math import exp

import numpy as np
import pandas as pd

from ftzard.core import custom_functions
from ftzard.errors import DataError, nearest

#: Han, kana, Thai, Lao, Khmer and Burmese: no spaces stand between words.
_NO_SPACES = "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff"
_WORD = re.compile(rf"[{_NO_SPACES}]|(?:(?![{_NO_SPACES}])[^\W_])+")
DRAWN, APART = "drawn by chance", "differ most"


def normalised(text: str) -> str:
    """Return a text without the space around it, its accents composed."""
    return unicodedata.normalize("NFC", str(text)).strip()


def words(text: str) -> list[str]:
    """Return the words of a text as ROUGE-L counts them, in lower case."""
    return _WORD.findall(normalised(text).lower())


class _Words:
    """The tokenizer that `rouge-score` is given."""

    def tokenize(self, text: str) -> list[str]:
        return words(text)


def exact_match(answers: Sequence[str], wanted: Sequence[str]) -> np.ndarray:
    """Return per row whether the answer is the wanted one, bool (n,); see the module's text.

    An empty answer is never right. Raises DataError if a wanted answer is empty.
    """
    _check(answers, wanted)
    return np.fromiter((normalised(a) == normalised(w) for a, w in
                        zip(answers, wanted, strict=True)), dtype=bool, count=len(answers))


def rouge_l(answers: Sequence[str], wanted: Sequence[str]) -> np.ndarray:
    """Return ROUGE-L's F-measure per row, float64 (n,) between 0 and 1.

    An empty answer has 0. A wanted answer without any word, such as ':-)', has 1 where it is
    matched exactly and else 0. Raises DataError if a wanted answer is empty.
    """
    from rouge_score.rouge_scorer import RougeScorer

    same = exact_match(answers, wanted)
    scorer = RougeScorer(["rougeL"], use_stemmer=False, tokenizer=_Words())
    return np.fromiter(
        (scorer.score(w, a)["rougeL"].fmeasure if words(w) else float(s)
         for a, w, s in zip(answers, wanted, same, strict=True)),
        dtype=np.float64, count=len(answers))


def own_metrics(functions: Mapping[str, Mapping], rows: pd.DataFrame, written: pd.DataFrame
                ) -> dict[str, float]:
    """Return the values of the workspace's own metrics, by name, of what a model wrote.

    Each function is called with the wanted answers, the written ones, and a table with a line per
    row: text (what was asked), confidence, tokens and finished.

    Args:
        functions: as `custom_functions.packed` returns each, by name.
        rows: those that were answered (text, label).
        written: what the model wrote for them (answer, confidence, tokens, finished).
    """
    if not functions:
        return {}
    table = written.drop(columns="answer").assign(text=rows["text"].tolist())
    return custom_functions.measured(
        functions, rows["label"].tolist(), written["answer"].tolist(),
        table[["text", "confidence", "tokens", "finished"]])


def measure(
    loss: np.ndarray,
    tokens: np.ndarray,
    answers: Sequence[str] = (),
    wanted: Sequence[str] = (),
) -> dict:
    """Return every score of one model on n test rows, of which it answered m.

    Args:
        loss: (n,) mean negative log-likelihood of each row's supervised tokens, in nats.
        tokens: (n,) how many they are.
        answers, wanted: M generated answers and what was wanted, m <= n.

    The result holds loss (over all tokens, each counting the same), perplexity (its exponential),
    exact_match and rouge_l (means over the m rows, None if there are none), n, generated (m) and
    supervised_tokens. Raises DataError for what cannot be right.
    """
    values, counts = _losses(loss, tokens)
    if len(answers) > len(values):
        raise DataError(f"{len(answers)} generated answers for {len(values)} measured rows; "
                        "expected answers of some of these rows.")
    total = int(counts.sum())
    mean = float((values * counts).sum() / total)
    return {
        "loss": mean,
        "perplexity": exp(mean) if mean < 700 else float("inf"),
        "exact_match": float(exact_match(answers, wanted).mean()) if len(answers) else None,
        "rouge_l": float(rouge_l(answers, wanted).mean()) if len(answers) else None,
        "n": len(values),
        "generated": len(answers),
        "supervised_tokens": total,
    }


def in_tokens(loss: np.ndarray, tokens: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Return losses per token as losses per token of another tokenizer, float64 (n,).

    A loss per token is comparable only between models with one tokenizer: what one calls two tokens
    another calls three. Of the same answers the sum over a row is comparable, so it is divided by
    the others' number of tokens (n,).
    """
    values, counts = _losses(loss, tokens)
    _, shared = _losses(loss, others)
    return values * counts / shared


def side_by_side(
    rows: pd.DataFrame,
    answers: Mapping[str, Sequence[str]],
    scores: Mapping[str, Sequence[float]],
    *,
    shown: int = 10,
    apart: int = 5,
    seed: int,
) -> pd.DataFrame:
    """Return generated answers of all models beside each other, a line per row.

    First `shown` rows drawn by `seed`, in their own order, then up to `apart` further ones on
    which challenger and champion (or the base, where there is none) differ most, the furthest
    first.

    Args:
        rows: N generated test rows (id, batch, text, label).
        answers: model's role -> n answers, in the order in which they are shown.
        scores: Role -> ROUGE-L of each of them (n,).

    Columns: why, id, batch, text, wanted, a column of answers per role, and `ROLE score` per role
    that has scores.
    """
    for what, given in (("answers", answers), ("scores", scores)):
        for role, values in given.items():
            if len(values) != len(rows):
                raise DataError(f"{len(values)} {what} of the {role} for {len(rows)} rows; "
                                "expected one of each per row.")
    if "challenger" not in answers:
        raise DataError(f"no answers of the challenger{nearest('challenger', answers)}")
    drawn = np.sort(np.random.default_rng(seed).permutation(len(rows))[:shown])
    rest = np.setdiff1d(np.arange(len(rows)), drawn)
    before = next((role for role in ("champion", "base") if role in scores), None)
    far = np.array([], dtype=int)
    if before is not None and "challenger" in scores:
        gap = abs(np.asarray(scores["challenger"], float) - np.asarray(scores[before], float))[rest]
        far = rest[np.argsort(-gap, kind="stable")][:min(apart, int((gap > 0).sum()))]
    chosen = np.concatenate([drawn, far])
    table = rows.iloc[chosen][["id", "batch", "text", "label"]].rename(columns={"label": "wanted"})
    table.insert(0, "why", [DRAWN] * len(drawn) + [APART] * len(far))
    for role, given in answers.items():
        table[role] = [str(given[i]) for i in chosen]
    for role, values in scores.items():
        table[f"{role} score"] = [float(values[i]) for i in chosen]
    return table.reset_index(drop=True)


def _check(answers: Sequence[str], wanted: Sequence[str]) -> None:
    if len(answers) != len(wanted):
        raise DataError(f"{len(answers)} answers and {len(wanted)} wanted ones; expected one of "
                        "each per row.")
    for row, text in enumerate(wanted):
        if not normalised(text):
            raise DataError(f"the wanted answer of row {row} is empty; such a row cannot be "
                            "learned or judged, so reject it in cleaning.")


def _losses(loss: np.ndarray, tokens: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    values, counts = np.asarray(loss, dtype=np.float64), np.asarray(tokens)
    if values.ndim != 1 or values.shape != counts.shape:
        raise DataError(f"losses of shape {values.shape} and tokens of shape {counts.shape}; "
                        "expected one of each per row.")
    if not len(values):
        raise DataError("there are no rows to measure; the test set is empty.")
    wrong = ~np.isfinite(values) | (values < 0)
    if wrong.any():
        row = int(wrong.argmax())
        raise DataError(f"the loss of row {row} is {values[row]}; expected a finite number of at "
                        "least 0. The model has diverged, or the row was lost on the way.")
    if (counts < 1).any():
        row = int((counts < 1).argmax())
        raise DataError(f"row {row} has {counts[row]} supervised tokens; expected 1 or more. A row "
                        "whose answer was cut away entirely is left out when rows are encoded.")
    return values, counts
