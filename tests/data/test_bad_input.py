"""What a person may hand in by mistake, from the file to the check: a clear refusal each."""

import pytest

from ftzard.data.reading import read_raw
from ftzard.errors import DataError
from ftzard.tasks.classification.text_rows import check, clean

LABELS = {0: "negative", 4: "positive"}
GOOD = [f"{i},{i % 2 * 4},text number {i}" for i in range(100)]


def take(path, **options):
    """Read, clean and check a file as the first step does."""
    raw = read_raw(path, text_column="text", label_column="target", **options)
    cleaned, rejected = clean(raw, batch="b", labels=LABELS, max_characters=5000)
    check(cleaned, rejected, min_rows=50, max_rejected=0.1, labels=LABELS)
    return cleaned, rejected


def lines(*rows: str) -> bytes:
    return ("\n".join([",target,text", *rows]) + "\n").encode()


@pytest.mark.parametrize(
    "content, said",
    [
        (None, "does not exist"),
        (b"", "is empty (0 bytes)"),
        (lines(), "has a header but no rows"),
        (lines(*GOOD[:99], "99,4,caf\u00e9").decode().encode("latin-1"), "Set data.encoding to"),
        (lines(*GOOD).replace(b"text\n", b"tweet\n", 1), "no column 'text'; did you mean 'tweet'?"),
        (lines(*[row.replace(",4,", ",1,") for row in GOOD]), "50 unknown label '1'"),
        (lines(*GOOD[::2], *[r.replace(",4,", ",0,") for r in GOOD[1::2]]), "labelled 'negative'"),
        (lines(*["1,4,the same"] * 100), "all 99 others are duplicates"),
        (lines(*[f"{i},{i % 2 * 4}," for i in range(100)]), "100 empty text"),
        (lines(*GOOD[:49]), "Only 49 of 49 rows are left"),
        (lines(*GOOD, '"open'), "line 102: the record that starts here opens a quote"),
    ],
    ids=[
        "missing", "empty", "header only", "wrong encoding", "missing column", "unknown label",
        "one class", "all duplicates", "empty texts", "too few rows", "unclosed quote",
    ],
)  # fmt: skip
def test_a_delivery_that_cannot_be_used_stops_with_its_reason(tmp_path, content, said):
    path = tmp_path / "training.csv"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(DataError) as caught:
        take(path)
    assert said in str(caught.value)


def test_single_bad_rows_are_set_aside_and_the_rest_is_used(tmp_path):
    bad = ["100,4,", "101,4,   ", f"102,4,{'x' * 1_000_000}", "103,,no label", "104,nan,odd"]
    (tmp_path / "training.csv").write_bytes(lines(*GOOD, *bad, "105,4,NaN", "106,4.0,null"))
    cleaned, rejected = take(tmp_path / "training.csv")
    assert len(cleaned) == 102
    assert cleaned["text"].tolist()[-2:] == ["NaN", "null"]
    assert rejected["reason"].tolist() == [
        "empty text",
        "empty text",
        "text longer than 5000 characters",
        "label missing",
        "unknown label 'nan'",
    ]
    assert rejected["row"].tolist() == [100, 101, 102, 103, 104]
