"""An answerer writes what it has learned, and tells losses that a plain calculation confirms."""

import numpy
import pytest
import torch
from transformers import AutoModelForCausalLM, GenerationConfig

from ftzard.errors import ModelError
from ftzard.modeling import adapter
from ftzard.modeling.base_model import load_base
from ftzard.modeling.batching import pad
from ftzard.modeling.spec import BaseSpec
from ftzard.modeling.tiny_falcon import build
from ftzard.modeling.tokenizer import load_tokenizer
from ftzard.tasks.instruction_tuning import TASK as INSTRUCTIONS
from ftzard.tasks.instruction_tuning import chat_template
from ftzard.tasks.instruction_tuning.generator import Generator
from ftzard.tasks.instruction_tuning.predictor import bare_generator, open_generator
from ftzard.tasks.instruction_tuning.tokenization import asked, encode
from tests.modeling import families

PAIRS = [("Say hello", "hello there"), ("Name the capital of France", "Paris"),
         ("What is two plus three?", "five"), ("Which colour has the sky on a sunny day?", "blue"),
         ("Repeat: a b c", "a b c a b c a b c"), ("Is fire cold?", "no")]
ROWS = [asked(question) for question, _ in PAIRS]


def answerer_of(folder, **changes) -> Generator:
    tokenizer = load_tokenizer(folder)
    model = AutoModelForCausalLM.from_pretrained(folder)
    model.config.pad_token_id, model.config.use_cache = tokenizer.pad_token_id, False
    model.eval().requires_grad_(False)
    return Generator(model, tokenizer, chat_template.of("alpaca", tokenizer),
                    **{"max_length": 200, "max_new_tokens": 12, "meta": {}, **changes})


@pytest.fixture(scope="module")
def untrained(tmp_path_factory):
    folder = build(
        tmp_path_factory.mktemp("answering") / "base", [w for pair in PAIRS for w in pair] * 2,
        seed=3, layers=2, width=64, heads=4, vocabulary=400)
    return answerer_of(folder)


@pytest.fixture(scope="module")
def learned(untrained):
    """The model after learning its six answers by heart."""
    import copy

    rows = encode(ROWS, [a for _, a in PAIRS], untrained.tokenizer, untrained.template, 200)
    model = copy.deepcopy(untrained.model).requires_grad_(True).train()
    batch = pad(rows.input_ids, untrained.tokenizer.pad_token_id)
    labels = batch["input_ids"].clone()
    for row, (begins, ends) in enumerate(zip(rows.prompt_length, rows.length, strict=True)):
        labels[row, :begins] = labels[row, ends:] = -100
    optimizer = torch.optim.AdamW(model.parameters(), lr=4e-3)
    for _ in range(60):
        model(**batch, labels=labels).loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    model.eval().requires_grad_(False)
    return Generator(model, untrained.tokenizer, untrained.template, 200, 12, {})


def encoded(answerer, answers=tuple(a for _, a in PAIRS)):
    return encode(ROWS, list(answers), answerer.tokenizer, answerer.template, 200)


def by_hand(answerer, ids, begins) -> float:
    """Return the loss of one row, alone, of its answer's tokens."""
    logits = answerer.model(input_ids=torch.tensor([ids])).logits[0].double()
    chances = logits.log_softmax(-1)
    return -float(sum(chances[place - 1, ids[place]] for place in range(begins, len(ids)))
                  / (len(ids) - begins))


def test_losses_are_those_of_the_answer_s_tokens_alone(untrained):
    rows = encoded(untrained)
    steps = []
    loss, tokens = untrained.losses(rows.input_ids, rows.prompt_length, batch_size=4,
                                    on_step=lambda *done: steps.append(done))
    wanted = [by_hand(untrained, ids, begins)
              for ids, begins in zip(rows.input_ids, rows.prompt_length, strict=True)]
    assert loss == pytest.approx(wanted, abs=1e-5) and loss.dtype == numpy.float64
    assert tokens.tolist() == (rows.length - rows.prompt_length).tolist()
    assert steps == [(4, 6), (6, 6)]
    for size in (1, 2):
        again, _ = untrained.losses(rows.input_ids, rows.prompt_length, batch_size=size)
        assert again == pytest.approx(loss, abs=1e-5)


def test_what_was_learned_is_answered_with_its_end_and_confidence(learned):
    found = learned.answers(ROWS)
    assert found["answer"].tolist() == [a for _, a in PAIRS]
    assert found["finished"].all() and (found["confidence"] > 0.5).all()
    rows = encoded(learned)
    loss, tokens = learned.losses(rows.input_ids, rows.prompt_length)
    assert found["tokens"].tolist() == tokens.tolist()
    assert found["confidence"].to_numpy() == pytest.approx(numpy.exp(-loss), abs=1e-4)
    told = learned.predict([question for question, _ in PAIRS])
    assert list(told) == ["label", "confidence", "tokens", "finished"]
    assert told["label"].tolist() == found["answer"].tolist()


def test_an_answer_that_does_not_end_is_cut_at_the_limit_and_says_so(learned):
    short = Generator(learned.model, learned.tokenizer, learned.template, 200, 2, {})
    found = short.answers(ROWS[4:5])
    assert found["finished"].tolist() == [False] and found["tokens"].tolist() == [2]
    assert PAIRS[4][1].startswith(found["answer"][0]) and found["answer"][0]


@pytest.mark.parametrize("family", ["falcon", "mistral", "qwen"])
def test_one_row_and_many_answer_the_same_as_a_loop_without_cache(tmp_path, family):
    texts = [w for pair in PAIRS for w in pair] * 2
    answerer = answerer_of(families.build(tmp_path / family, family, texts))
    prompts = encode(ROWS, None, answerer.tokenizer, answerer.template, 200).input_ids
    many = answerer.generate(prompts)
    one = answerer.generate(prompts, batch_size=1)
    assert one["answer"].tolist() == many["answer"].tolist()
    assert one["tokens"].tolist() == many["tokens"].tolist()
    assert one["confidence"].to_numpy() == pytest.approx(many["confidence"].to_numpy(), abs=1e-4)
    stops = answerer.template.stops(answerer.tokenizer)
    for row in (0, 3):
        ids, chances = list(prompts[row]), []
        while len(chances) < 12 and not (chances and ids[-1] in stops):
            logits = answerer.model(input_ids=torch.tensor([ids])).logits[0, -1].double()
            ids.append(int(logits.argmax()))
            chances.append(float(logits.log_softmax(-1).max()))
        assert many["tokens"][row] == len(chances)
        assert many["confidence"][row] == pytest.approx(numpy.exp(numpy.mean(chances)), abs=1e-4)
        assert many["answer"][row] == answerer.tokenizer.decode(
            [n for n in ids[len(prompts[row]):] if n not in stops],
            skip_special_tokens=True, clean_up_tokenization_spaces=False).strip()


def test_answers_are_greedy_whatever_the_base_says_of_sampling(learned):
    plain = learned.answers(ROWS)
    own = learned.model.generation_config
    learned.model.generation_config = GenerationConfig(
        do_sample=True, temperature=5.0, repetition_penalty=9.0, max_length=3)
    try:
        again = learned.answers(ROWS)
    finally:
        learned.model.generation_config = own
    assert again.equals(plain)
    assert learned.model.config.use_cache is False


def test_embeddings_are_means_of_the_last_hidden_states(untrained):
    prompts = encode(ROWS, None, untrained.tokenizer, untrained.template, 200).input_ids
    found = untrained.embeddings(prompts, batch_size=4)
    for row in (0, 3):
        hidden = untrained.model.transformer(input_ids=torch.tensor([prompts[row]]))[0][0]
        assert found[row] == pytest.approx(hidden.mean(dim=0).numpy(), abs=1e-5)
    assert found.dtype == numpy.float32 and found.shape == (6, 64)
    assert untrained.embeddings([]).shape == (0, 64)


def test_no_rows_are_no_answers(untrained):
    found = untrained.answers([])
    assert list(found) == ["answer", "confidence", "tokens", "finished"] and len(found) == 0
    loss, tokens = untrained.losses([], [])
    assert len(loss) == len(tokens) == 0


def test_what_cannot_be_answered_or_measured_is_refused(untrained):
    with pytest.raises(ModelError, match="prompt of row 1 has 200 tokens .* expected 1 to 199"):
        untrained.generate([[5], [5] * 200])
    with pytest.raises(ModelError, match="prompt of row 0 has 0 tokens"):
        untrained.generate([[]])
    for prompts in ([2], [0]):
        with pytest.raises(ModelError, match="given row 0 has 2 tokens.* expected at least"):
            untrained.losses([[5, 6]], prompts)
    with pytest.raises(ModelError, match="1 given rows have 2 prompt lengths"):
        untrained.losses([[5, 6]], [1, 1])


def test_broken_weights_are_refused(untrained):
    import copy

    model = copy.deepcopy(untrained.model)
    with torch.no_grad():
        model.transformer.ln_f.weight.fill_(float("nan"))
    broken = Generator(model, untrained.tokenizer, untrained.template, 200, 12, {})
    with pytest.raises(ModelError, match="losses of 1 of 1 rows are not finite"):
        broken.losses([[5, 6]], [1])
    with pytest.raises(ModelError, match="probabilities of an answer are not finite"):
        broken.generate([[5, 6]])


def test_a_quantised_base_with_an_adapter_answers_like_a_loop_without_cache(tmp_path):
    folder = build(tmp_path / "base", [w for pair in PAIRS for w in pair] * 2, seed=3, layers=2,
                   width=64, heads=4, vocabulary=400)
    loaded = load_base(BaseSpec(source=folder, name="small", max_length=200,
                                head=INSTRUCTIONS.head))
    kept = {"template": chat_template.of("alpaca", loaded.tokenizer).to_dict(), "max_new_tokens": 6}
    model = adapter.attach(loaded, seed=1, rank=4, alpha=8)
    with torch.no_grad():  # as if it had been trained
        for number, weight in enumerate(p for p in model.parameters() if p.requires_grad):
            weight.add_(0.1 * torch.randn(weight.shape, generator=torch.manual_seed(number)))
    saved = adapter.save(loaded, tmp_path / "adapter", kept)
    adapter.detach(loaded)
    answerer = open_generator(saved, loaded)
    rows = encoded(answerer)
    loss, _ = answerer.losses(rows.input_ids, rows.prompt_length)
    assert loss[1] == pytest.approx(by_hand(answerer, rows.input_ids[1], rows.prompt_length[1]),
                                    abs=1e-3)
    found = answerer.answers(ROWS)
    ids = list(answerer.template.prompt(ROWS[1], answerer.tokenizer))
    begins = len(ids)
    for _ in range(found["tokens"][1]):
        ids.append(int(answerer.model(input_ids=torch.tensor([ids])).logits[0, -1].argmax()))
    assert found["answer"][1] == answerer.tokenizer.decode(
        [n for n in ids[begins:] if n not in answerer.template.stops(answerer.tokenizer)],
        skip_special_tokens=True).strip()
    adapter.detach(loaded)
    bare = bare_generator(loaded, {"template": answerer.template.to_dict(), "max_new_tokens": 6})
    assert abs(bare.losses(rows.input_ids, rows.prompt_length)[0] - loss).min() > 1e-3
