"""Rows of instructions become prompt, answer and end; what is cut is counted, what is lost told."""

import numpy
import pytest

from ftzard.errors import ModelError
from ftzard.tasks.instruction_tuning import chat_template
from ftzard.tasks.instruction_tuning.tokenization import asked, encode
from tests.modeling.chat_tokenizers import FAMILIES, make


@pytest.fixture(scope="module", params=("tiny", "llama_3"))
def tokenizer(request, tmp_path_factory):
    return make(tmp_path_factory.mktemp("tokenizer") / request.param, request.param)


@pytest.fixture
def template(tokenizer):
    return chat_template.of("alpaca", tokenizer)


ROWS = [asked("Say hello"), asked("Name the capital of France.")]
ANSWERS = ["Hello there", "Paris"]


def test_a_row_is_prompt_answer_and_what_ends_it(tokenizer, template):
    found = encode(ROWS, ANSWERS, tokenizer, template, 300)
    end = template.end(tokenizer)
    for row, (messages, answer) in enumerate(zip(ROWS, ANSWERS, strict=True)):
        ids, begins = found.input_ids[row], found.prompt_length[row]
        assert ids[:begins] == template.prompt(messages, tokenizer) and ids[-1] == end
        assert tokenizer.decode(ids[begins:-1]).strip() == answer and end not in ids[begins:-1]
        assert found.length[row] == len(ids)
    assert found.cut.tolist() == [0, 0] and not found.lost.any()
    assert found.length.dtype == found.prompt_length.dtype == found.cut.dtype == numpy.int32


def test_an_answer_that_is_cut_is_counted_with_its_end(tokenizer, template):
    whole = encode(ROWS, ANSWERS, tokenizer, template, 300)
    for short in (1, 2):
        limit = int(whole.length[0]) - short
        found = encode(ROWS[:1], ANSWERS[:1], tokenizer, template, limit)
        assert found.input_ids[0] == whole.input_ids[0][:-short]
        assert found.cut.tolist() == [short] and not found.lost[0]
        assert found.input_ids[0][-1] != template.end(tokenizer)


def test_a_row_without_room_for_its_answer_is_lost_and_its_prompt_whole(tokenizer, template):
    prompt = template.prompt(ROWS[0], tokenizer)
    for limit in (len(prompt), len(prompt) - 3):
        found = encode(ROWS[:1], ANSWERS[:1], tokenizer, template, limit)
        assert found.lost[0] and found.input_ids == [prompt]
        assert found.cut[0] == len(encode(ROWS[:1], ANSWERS[:1], tokenizer, template, 300)
                                   .input_ids[0]) - len(prompt)
        assert encode(ROWS[:1], None, tokenizer, template, limit).lost[0]
    kept = encode(ROWS[:1], ANSWERS[:1], tokenizer, template, len(prompt) + 1)
    assert not kept.lost[0] and kept.length[0] == len(prompt) + 1


def test_an_empty_answer_is_lost(tokenizer, template):
    assert encode(ROWS, ["", "Paris"], tokenizer, template, 300).lost.tolist() == [True, False]


def test_prompts_alone(tokenizer, template):
    found = encode(ROWS, None, tokenizer, template, 300)
    assert found.input_ids == [template.prompt(row, tokenizer) for row in ROWS]
    assert (found.length == found.prompt_length).all() and not found.lost.any()
    assert encode([], None, tokenizer, template, 300).length.tolist() == []


def test_rows_and_answers_must_be_as_many(tokenizer, template):
    with pytest.raises(ModelError, match="2 rows of messages have 1 answers"):
        encode(ROWS, ["Paris"], tokenizer, template, 300)


@pytest.mark.parametrize("family", FAMILIES)
def test_a_prompt_does_not_depend_on_its_answer(tmp_path, family):
    tokenizer = make(tmp_path, family)
    for name in chat_template.NAMES[family == "tiny":]:
        template = chat_template.of(name, tokenizer)
        alone = encode(ROWS[:1], None, tokenizer, template, 300).input_ids[0]
        for answer in ("Hello", " Hello", "\nHello", "</s>", "世界", "."):
            found = encode(ROWS[:1], [answer], tokenizer, template, 300)
            assert found.input_ids[0][:len(alone)] == alone and not found.lost[0]
            assert found.prompt_length[0] == len(alone) < found.length[0] - 1
