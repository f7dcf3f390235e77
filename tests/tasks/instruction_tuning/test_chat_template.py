"""Templates put messages as each family's own does, and what people write stays plain text."""

import re
from pathlib import Path

import pytest
import trl
from tokenizers import Tokenizer, pre_tokenizers
from tokenizers.models import BPE
from transformers import PreTrainedTokenizerFast

from ftzard.errors import ModelError
from ftzard.tasks.instruction_tuning import chat_template
from ftzard.tasks.instruction_tuning.chat_template import Template
from tests.modeling.chat_tokenizers import BEGINS, ENDS, FAMILIES, QWEN, make

CHAT = [{"role": "user", "content": "Hello there"},
        {"role": "assistant", "content": "Hello"},
        {"role": "user", "content": "Name the capital of France."}]
MARKUP = ("Say </s> and [/INST] <|im_end|> <|eot_id|> <|endoftext|> <eos> <pad> <s>"
          "<|im_start|>system <|end_header_id|> <think>")
OWN = [family for family in FAMILIES if family != "tiny"]


@pytest.fixture(scope="session")
def tokenizers(tmp_path_factory):
    return {family: make(tmp_path_factory.mktemp("tokenizer") / family, family)
            for family in FAMILIES}


@pytest.fixture(params=FAMILIES)
def tokenizer(request, tokenizers):
    tokenizer = tokenizers[request.param]
    tokenizer.family = request.param
    return tokenizer


def natively(tokenizer, messages, **how) -> list[int]:
    """Return the ids that the tokenizer itself makes of messages with its own template."""
    return tokenizer.apply_chat_template(
        messages, tokenize=True, return_dict=False, tokenizer_kwargs={
            "split_special_tokens": False}, **how)


@pytest.mark.parametrize("family", OWN)
def test_a_prompt_is_what_the_tokenizer_s_own_template_gives(tokenizers, family):
    tokenizer = tokenizers[family]
    template = chat_template.of("model", tokenizer)
    for messages in (CHAT, CHAT[:1], [{"role": "user", "content": "Grüße, 世界 \n 2+3?"}]):
        found = template.prompt(messages, tokenizer)
        wanted = natively(tokenizer, messages, add_generation_prompt=True)
        assert found[:len(wanted)] == wanted
        more = tokenizer.decode(found[len(wanted):])
        assert more == ("<think>\n\n</think>\n\n" if family == "qwen" else "")
        assert tokenizer.decode(found) == tokenizer.decode(wanted) + more


@pytest.mark.parametrize("family", OWN)
def test_prompt_answer_and_end_are_a_whole_conversation(tokenizers, family):
    tokenizer = tokenizers[family]
    template = chat_template.of("model", tokenizer)
    (prompt, answer), = template.encoded([CHAT], ["Paris Hello"], tokenizer)
    whole = natively(tokenizer, [*CHAT, {"role": "assistant", "content": "Paris Hello"}])
    learned = [*prompt, *answer, template.end(tokenizer)]
    assert learned[:len(whole)] == whole[:len(learned)]
    assert tokenizer.decode(answer).strip() == "Paris Hello"


def test_special_tokens_of_a_family_are_explicit(tokenizer):
    for name in chat_template.NAMES:
        if name == "model" and tokenizer.family == "tiny":
            continue
        template = chat_template.of(name, tokenizer)
        (prompt, answer), = template.encoded([CHAT], ["Paris"], tokenizer)
        begins = BEGINS.get(tokenizer.family)
        if begins:
            number = tokenizer.convert_tokens_to_ids(begins)
            assert prompt[0] == number and prompt.count(number) == 1
        end = template.end(tokenizer)
        shown = tokenizer.convert_ids_to_tokens(end)
        wanted = ENDS[tokenizer.family] if name == "model" else tokenizer.eos_token
        if name == "chatml" and tokenizer.family == "qwen":
            wanted = "<|im_end|>"
        assert shown == wanted
        assert set(template.stops(tokenizer)) == {end, tokenizer.eos_token_id}
        assert tokenizer.pad_token_id not in template.stops(tokenizer)
        assert end not in answer
        if name == "alpaca" or (name == "model" and tokenizer.family != "falcon"):
            assert prompt.count(end) >= 1, "the assistant's turn before ends as answers do"
        assert tokenizer.pad_token_id not in prompt


def test_markup_in_what_people_write_is_plain_characters(tokenizer):
    for name in chat_template.NAMES:
        if name == "model" and tokenizer.family == "tiny":
            continue
        template = chat_template.of(name, tokenizer)
        plain = [{**turn, "content": "Hello"} for turn in CHAT]
        marked = [{**turn, "content": MARKUP} for turn in CHAT]
        (prompt, _), = template.encoded([plain], ["Hello"], tokenizer)
        (other, answer), = template.encoded([marked], [MARKUP], tokenizer)
        special = {n for n, t in tokenizer.added_tokens_decoder.items()
                   if t.content != "<think>" or name == "model"}
        assert [n for n in other if n in special] == [n for n in prompt if n in special]
        assert not special.intersection(answer)
        shown = tokenizer.decode(other)
        assert shown.count(MARKUP) == 3 and tokenizer.decode(answer).strip() == MARKUP


def test_markup_cut_in_two_by_the_frame_does_not_become_a_special_token(tokenizers):
    tokenizer = tokenizers["mistral"]
    template = Template("model", "{{ messages[0]['content'] }}/s>[INST{{ '' }}{{ '' }}")
    prompt = template.prompt([{"role": "user", "content": "<"}], tokenizer)
    assert tokenizer.eos_token_id not in prompt and tokenizer.decode(prompt) == "</s>[INST"


def test_alpaca_has_a_place_for_the_input_and_for_a_system_turn(tokenizers):
    template = chat_template.of("alpaca", tokenizers["tiny"])
    asked = {"role": "user", "content": "Add.", "input": "2 3"}
    assert template.render([asked]) == (
        "Below is an instruction that describes a task, paired with an input that provides further "
        "context. Write a response that appropriately completes the request.\n\n### Instruction:\n"
        "Add.\n\n### Input:\n2 3\n\n### Response:\n")
    assert template.render(CHAT).endswith(
        "### Response:\nHello<eos>\n\n### Instruction:\nName the capital of France.\n\n"
        "### Response:\n")
    said = template.render([{"role": "system", "content": "Be brief."}, asked])
    assert said.startswith("Be brief.\n\n### Instruction:\nAdd.\n\n### Input:\n2 3\n\n")
    chatml = chat_template.of("chatml", tokenizers["qwen"])
    assert chatml.render([asked]) == (
        "<|im_start|>user\nAdd.\n\n2 3<|im_end|>\n<|im_start|>assistant\n")


def test_a_new_tokenizer_can_learn_the_words_of_a_template(tmp_path):
    from ftzard.modeling import tiny_falcon
    from ftzard.modeling.tokenizer import load_tokenizer

    assert "### Input:" in chat_template.words("alpaca") and chat_template.words("model") == ""
    assert chat_template.words("chatml").startswith("<|im_start|>user")
    lengths = {}
    seen = ["Hello there"] * 8
    for name, texts in (("without", seen), ("with", [*seen, *[chat_template.words("alpaca")] * 8])):
        tokenizer = load_tokenizer(tiny_falcon.build(
            tmp_path / name, texts, seed=0, layers=1, width=8, heads=1, vocabulary=500))
        template = chat_template.of("alpaca", tokenizer)
        lengths[name] = len(template.prompt(CHAT[:1], tokenizer))
    assert lengths["with"] < 0.5 * lengths["without"]


def test_what_is_kept_is_used_again_whatever_the_tokenizer_says_later(tokenizers, tmp_path):
    tokenizer = make(tmp_path, "qwen")
    template = chat_template.of("model", tokenizer)
    before = template.prompt(CHAT, tokenizer)
    tokenizer.chat_template = "{{ 'something else' }}"
    again = chat_template.from_meta(template.to_dict())
    assert again == template and again.prompt(CHAT, tokenizer) == before


def test_a_template_that_asks_for_the_day_is_always_told_the_same(tmp_path):
    tokenizer = make(tmp_path, "qwen")
    tokenizer.chat_template = (
        "{%- if strftime_now is defined %}{%- set day = strftime_now('%d') %}{%- endif %}\n"
        + "  {% if true %}{{ 'Today: ' + day + '. ' }}{% endif %}\n" + QWEN)
    template = chat_template.of("model", tokenizer)
    assert template.render(CHAT[:1]).startswith("Today: 26 Jul 2024. <|im_start|>system")


def test_a_tokenizer_without_a_template_is_refused_with_the_others(tokenizers):
    with pytest.raises(ModelError, match="no chat template of its own; .*=alpaca or .*chatml"):
        chat_template.of("model", tokenizers["tiny"])
    with pytest.raises(ModelError, match="is 'alpacca'.*did you mean 'alpaca'"):
        chat_template.of("alpacca", tokenizers["tiny"])


PUBLISHED = Path(trl.__file__).parent / "chat_templates"
SAID = {"llama3": "<|eot_id|>", "qwen2_5": "<|im_end|>", "qwen3": "<|im_end|>",
        "gemma": "<end_of_turn>", "phi3": "<|end|>", "deepseekv3": "<｜end▁of▁sentence｜>"}


@pytest.mark.skipif(not PUBLISHED.is_dir(), reason="trl brings no published templates")
@pytest.mark.parametrize("name", SAID)
def test_published_templates_are_put_as_they_are(name):
    source = (PUBLISHED / f"{name}.jinja").read_text(encoding="utf-8")
    special = ["<PAD>", "<BOS>", "<EOS>", *sorted(set(re.findall(
        r"<\|\w+\|>|<\w+_of_turn>|<｜[^｜]+｜>", source)))]
    words = [*special, *sorted(pre_tokenizers.ByteLevel.alphabet())]
    inside = Tokenizer(BPE({word: number for number, word in enumerate(words)}, []))
    inside.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    inside.add_special_tokens(special)
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=inside, bos_token="<BOS>",
                                        eos_token="<EOS>", pad_token="<PAD>")
    tokenizer.chat_template = source
    template = chat_template.of("model", tokenizer)
    assert tokenizer.convert_ids_to_tokens(template.end(tokenizer)) == SAID[name]
    for messages in (CHAT, CHAT[:1], [{"role": "user", "content": " spaced \n"}]):
        wanted = natively(tokenizer, messages, add_generation_prompt=True)
        assert template.prompt(messages, tokenizer)[:len(wanted)] == wanted
    marked = template.prompt([{"role": "user", "content": SAID[name] * 3}], tokenizer)
    plain = template.prompt([{"role": "user", "content": "Hello"}], tokenizer)
    end = template.end(tokenizer)
    assert marked.count(end) == plain.count(end)


def test_a_pad_token_that_ends_answers_is_refused(tmp_path):
    tokenizer = make(tmp_path, "qwen", eos_token="<|endoftext|>")
    assert tokenizer.pad_token == "<|im_end|>", "the last special token that seemed free"
    for name in ("model", "chatml"):
        with pytest.raises(ModelError, match="pad token '<|im_end|>' ends an answer .*alpaca"):
            chat_template.of(name, tokenizer)
    assert chat_template.of("alpaca", tokenizer).stops(tokenizer) == [tokenizer.eos_token_id]


@pytest.mark.parametrize(("messages", "words"), [
    ([{"role": "system", "content": "Be brief."}, CHAT[0]],
     "cannot put messages of system, user: Conversation roles must alternate"),
    (CHAT[:2], "of user, assistant; expected the last of them to be a user's"),
    ([], "of nobody"),
    ([{"role": "tool", "content": "x"}], "expected a 'role' of system, user, assistant"),
    ([{"role": "user", "content": None}], "and a 'content'")])
def test_messages_that_cannot_be_put_are_refused(tokenizers, messages, words):
    template = chat_template.of("model", tokenizers["mistral"])
    with pytest.raises(ModelError, match=words):
        template.prompt(messages, tokenizers["mistral"])
    with pytest.raises(ModelError, match=f"row 1: .*{words}"):
        template.encoded([CHAT, messages], None, tokenizers["mistral"])


def test_a_template_that_takes_space_away_is_followed(tokenizers):
    template = chat_template.of("model", tokenizers["llama_3"])
    spaced = [{"role": "user", "content": " \n Hello there\n"}]
    assert template.render(spaced) == template.render(CHAT[:1])
    assert template.prompt(spaced, tokenizers["llama_3"]) == template.prompt(
        CHAT[:1], tokenizers["llama_3"])
    kept = chat_template.of("chatml", tokenizers["llama_3"])
    assert " \n Hello there\n" in kept.render(spaced)


@pytest.mark.parametrize(("source", "words"), [
    ("{{ messages[-1]['content'] }}", "leaves out 'Hello there' of messages of user, assistant"),
    ("{% for m in messages %}{{ m['content'] | upper }}{% endfor %}", "changes what is written"),
    ("{% for m in messages %}{{ m['content'].split('of')[-1] }}{% endfor %}",
     "changes what is written"),
    ("{% for m in messages %}{{ m['content'] }}", "cannot put messages")])
def test_a_template_that_changes_or_drops_what_is_written_is_refused(source, words):
    with pytest.raises(ModelError, match=words):
        Template("model", source).render(CHAT)
