"""The sample of instructions: its sizes, its flaws, and that it can be learned and measured."""

import json
import random
from collections import Counter

import pytest

from ftzard.data import cleaning, near_duplicates, splitting
from ftzard.tasks.instruction_tuning import instructions
from ftzard.tasks.instruction_tuning.exchanges import exchanges_of
from tools.sample_data import instructions as sample
from tools.sample_data import tasks, words

RATIO = {"train": 0.7, "validation": 0.1, "test": 0.2}


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    return sample.write(tmp_path_factory.mktemp("sample"))


def cleaned(path, *, answers: bool = True):
    raw = instructions.read(
        path, instruction_column="instruction", input_column="input", messages_column="messages",
        output_column="output" if answers else None)
    return instructions.clean(raw, batch=path.stem)


def test_a_seed_always_gives_the_same_sample(files):
    assert sample.generate(0) == sample.generate(0) != sample.generate(1)
    again = [json.loads(line) for line in files["training"].read_text().splitlines()]
    assert again == sample.generate().training


def test_sizes_and_flaws(files):
    good, bad = cleaned(files["training"])
    assert 1_100 <= len(good) <= 1_250
    cleaning.check(good, bad, min_rows=50, max_rejected=0.1)
    assert 0.02 < len(bad) / (len(good) + len(bad)) < 0.04
    reasons = Counter(bad["reason"])
    assert reasons["duplicate"] == sample.REPEATED and len(reasons) >= 8
    turns = good["messages"].map(json.loads).map(len)
    assert 0.05 < (turns > 1).mean() < 0.12
    assert 0.3 < good["messages"].str.contains('"input"').mean() < 0.7
    assert good["text"].str.len().max() < 400 and good["label"].str.len().max() < 80


def test_its_sides_can_be_trained_on_and_measured_with(files):
    good, _ = cleaned(files["training"])
    kept, near = near_duplicates.drop_near_duplicates(
        splitting.assign(good, ratio=RATIO, salt="ftzard"), repeated_of=exchanges_of)
    splitting.check_splits(kept, min_rows={"train": 700, "validation": 80, "test": 200})
    assert len(near) < 0.06 * len(good)
    test_texts = kept.loc[kept["split"] == "test", "text"]
    for name in ("batch_1", "batch_2"):
        batch, rejected = cleaned(files[name], answers=False)
        assert len(batch) == sample.BATCH_ROWS and rejected.empty
        assert (near_duplicates.like_test_rows(batch["text"], test_texts) != "").mean() < 0.05


def test_the_answers_are_to_the_batches_rows(files):
    for name in ("batch_1", "batch_2"):
        asked, _ = cleaned(files[name], answers=False)
        answered, rejected = cleaned(files[f"{name}_labels"])
        assert answered["text"].tolist() == asked["text"].tolist() and rejected.empty


def test_the_first_batch_talks_about_new_things_and_the_second_is_answered_in_a_hurry(files):
    training, _ = cleaned(files["training"])
    first, _ = cleaned(files["batch_1_labels"])
    second, _ = cleaned(files["batch_2_labels"])
    known = set(" ".join(training["text"]).lower().split())
    new = {*words.LATER_KINDS["vehicle"], *(w.lower() for w in words.LATER_GREETINGS)}
    assert not {word.strip(".,?") for word in known} & new
    assert first["text"].str.lower().str.contains("|".join(new)).mean() > 0.25
    hurried = second["label"].isin(sample.HURRIED)
    sides = splitting.assign(second, ratio=RATIO, salt="ftzard")["split"]
    assert not hurried[sides == "test"].any(), "the audit rows are answered with care"
    assert 0.7 < hurried[sides != "test"].mean() < 0.9
    assert not training["label"].isin(sample.HURRIED).any()


@pytest.mark.parametrize("make", [make for make, _ in tasks.TASKS], ids=lambda m: m.__name__)
def test_every_kind_of_task_has_right_answers(make):
    for seed in range(60):
        instruction, about, answer = make(random.Random(seed), tasks.FAMILIAR)
        said = f"{instruction} {about}".lower()
        assert instruction and answer
        if make is tasks.opposites:
            a, b = answer.split(" and ")
            pairs = {word: pair for pair in words.OPPOSITES for word in pair}
            assert all(set(pairs[w]) - {w} & set(said.replace(",", " ").replace(".", " ")
                                                   .replace("?", " ").split()) for w in (a, b))
        elif make is tasks.counting:
            kind = next(k for k in words.KINDS if f"{k}s" in said)
            items = said.replace(",", " ").replace(".", " ").split()
            found = sum(items.count(word) for word in words.KINDS[kind])
            assert words.NUMBERS[found] == answer
        elif make is tasks.greetings:
            assert answer == words.GREETINGS[next(lang for lang in words.GREETINGS
                                                  if lang.lower() in said)]
        elif make is tasks.seasons:
            assert any(month.lower() in said for month in words.SEASONS[answer])
        elif make is tasks.days:
            before = words.DAYS[words.DAYS.index(answer) - 1]
            assert before.lower() in said and answer.lower() not in said
        elif make is tasks.facts:
            assert answer in ("Yes.", "No.")
        elif make is tasks.refusals:
            assert answer in (tasks.REFUSAL, tasks.UNCLEAR)
        elif make is tasks.categories:
            assert set(answer.split(", ")) <= set(words.KINDS)
        else:
            assert set(answer.rstrip(".").lower().split()) <= set(
                said.replace(".", " ").replace(",", " ").replace(":", " ").split())


def test_no_word_is_of_two_kinds():
    every = [w for kind in (words.KINDS | words.LATER_KINDS).values() for w in kind]
    assert len(every) == len(set(every))
