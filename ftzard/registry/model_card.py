"""The card of an exported model: how to load it, how good it is, what for, what it is made of.

Pure: facts in, the README.md of a folder out. What is not known is stated as such.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ftzard.core.escaping import markdown, markdown_code
from ftzard.evaluation import gate, metric_info
from ftzard.evaluation.gate_sentences import unknown_rows
from ftzard.registry.model_record import ModelRecord
from ftzard.reporting import standings
from ftzard.tracking.card import intended, limits

_LOAD = {
    "adapter": """import torch
from peft import PeftModel
from transformers import AutoModelForSequenceClassification, AutoTokenizer

labels = {labels}
tokenizer = AutoTokenizer.from_pretrained({folder!r})
base = AutoModelForSequenceClassification.from_pretrained(
    {base!r}, revision={revision!r}, dtype=torch.{dtype}, num_labels=len(labels),
    id2label=dict(enumerate(labels)), label2id={{label: i for i, label in enumerate(labels)}})
base.config.pad_token_id = tokenizer.pad_token_id
model = PeftModel.from_pretrained(base, {folder!r}).eval()
""",
    "merged": """import torch
from transformers import AutoModelForSequenceClassification, AutoTokenizer

tokenizer = AutoTokenizer.from_pretrained({folder!r})
model = AutoModelForSequenceClassification.from_pretrained(
    {folder!r}, dtype=torch.{dtype}).eval()
""",
}
_ASK = """
texts = ["A text of yours.", "Another one."]
batch = tokenizer(texts, truncation=True, padding=True, return_tensors="pt")
batch.pop("token_type_ids", None)
with torch.inference_mode():
    chances = model(**batch).logits.float(){calibrated}.softmax(dim=-1)
for row in chances:
    print(model.config.id2label[int(row.argmax())], float(row.max()))
"""
_ASK_FOR_SEVERAL = """
thresholds = torch.tensor({thresholds})
texts = ["A text of yours.", "Another one."]
batch = tokenizer(texts, truncation=True, padding=True, return_tensors="pt")
batch.pop("token_type_ids", None)
with torch.inference_mode():
    chances = model(**batch).logits.float().sigmoid()
for row in chances:
    print([model.config.id2label[int(i)] for i in (row >= thresholds).nonzero()], row.tolist())
"""
_LOAD_TO_WRITE = {
    "adapter": """import torch
from peft import PeftModel
from transformers import AutoModelForCausalLM, AutoTokenizer, GenerationConfig

tokenizer = AutoTokenizer.from_pretrained({folder!r})
base = AutoModelForCausalLM.from_pretrained(
    {base!r}, revision={revision!r}, dtype=torch.{dtype})
model = PeftModel.from_pretrained(base, {folder!r}).eval()
""",
    "merged": """import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, GenerationConfig

tokenizer = AutoTokenizer.from_pretrained({folder!r})
model = AutoModelForCausalLM.from_pretrained({folder!r}, dtype=torch.{dtype}).eval()
""",
}
_ASK_TO_WRITE = """
texts = ["An instruction of yours.", "Another one."]
batch = tokenizer.apply_chat_template(
    [[{{"role": "user", "content": text}}] for text in texts], add_generation_prompt=True,
    padding=True, return_dict=True, return_tensors="pt")
batch.pop("token_type_ids", None)
with torch.inference_mode():
    ids = model.generate(**batch, generation_config=GenerationConfig.from_pretrained({folder!r}))
for answer in tokenizer.batch_decode(
        ids[:, batch["input_ids"].shape[1]:], skip_special_tokens=True):
    print(answer.strip())
"""


@dataclass(frozen=True)
class Card:
    """What a card tells.

    Attributes:
        name: 'MODEL@VERSION'.
        form: 'adapter' or 'merged'.
        base: {name, source, revision, weight_hash, registered}.
        beside: The base's folder inside the export, None where a hub has it.
        spec: How the base was loaded.
        method, cleaning, max_length: Of training.
        parity: Of the export.
        record: The model's record, {} if there is none.
        lineage: Lines of where it comes from.
        answering: {template, max_new_tokens} of a model that writes answers, else {}.
        thresholds: From which each label is given, of a model that gives any number of them, else
            none. None of the training's or the test's texts is in it: a card may be pushed to a
            public hub.
    """

    name: str
    form: str
    labels: Sequence[str]
    base: Mapping
    beside: str | None
    spec: Mapping
    method: str
    cleaning: Mapping
    max_length: int
    parity: Mapping
    record: Mapping
    lineage: Sequence[str]
    answering: Mapping
    thresholds: Sequence[float] = ()

    @property
    def output(self) -> str:
        """What the model gives a text: a label, or an answer."""
        return "answer" if self.answering else "label set" if self.thresholds else "label"


def render(card: Card) -> str:
    """Return the text of README.md."""
    title = f"# {markdown(card.name)}"
    parts = [_front_matter(card), title, _what(card), "## Loading it", _loading(card),
             "## How good it is", *_scores(card),
             *(() if card.answering or card.thresholds else ("## Calibration", _calibration(card))),
             "## What it is for", intended(() if card.answering else card.labels),
             "## Limits", _limits(card),
             "## Data", *_data(card), "## Where it comes from", _lineage(card)]
    return "\n\n".join(parts) + "\n"


def snippet(card: Card, folder: str = ".") -> str:
    """Return the Python that loads the export from `folder` and asks it, without FTzard."""
    base = f"{folder}/{card.beside}" if card.beside else str(card.base.get("source"))
    code = (_LOAD_TO_WRITE if card.answering else _LOAD)[card.form].format(
        labels=list(card.labels), folder=folder, base=base,
        revision=None if card.beside else card.base.get("revision"),
        dtype=card.spec["compute_dtype"])
    if card.thresholds:
        return code + _ASK_FOR_SEVERAL.format(thresholds=list(card.thresholds))
    temperature = ModelRecord(card.record).temperature
    calibrated = "" if temperature is None else f".div({temperature!r})"
    return code + (_ASK_TO_WRITE.format(folder=folder) if card.answering
                   else _ASK.format(calibrated=calibrated))


def _front_matter(card: Card) -> str:
    """Return the metadata that the Hugging Face hub reads, with the scores on the test rows."""
    from huggingface_hub import EvalResult, ModelCardData

    task, scores = "text-generation" if card.answering else "text-classification", _own_scores(card)
    results = [EvalResult(
        task_type=task, dataset_type="private", dataset_name="the workspace's test rows",
        metric_type=kind, metric_name=title, metric_value=round(scores[name], 4))
        for name, kind, title in (*_CLASS_METRICS, *_ANSWER_METRICS)
        if scores.get(name) is not None]
    data = ModelCardData(
        library_name="peft" if card.form == "adapter" else "transformers", pipeline_tag=task,
        tags=[task, "ftzard", card.method],
        base_model=None if card.beside else card.base.get("source") or None,
        **({"model_name": card.name, "eval_results": results} if results else {}))
    return f"---\n{data.to_yaml()}\n---"


#: Key in the record's scores, type and name in the hub's metadata.
_CLASS_METRICS = (("accuracy", "accuracy", None), ("macro_f1", "f1", "macro F1"),
                  ("micro_f1", "f1", "micro F1"), ("subset_accuracy", "accuracy", "exact match"))
_ANSWER_METRICS = (("loss", "loss", "loss"), ("perplexity", "perplexity", "perplexity"),
                   ("rouge_l", "rouge", "rouge l"), ("exact_match", "exact_match", "exact match"))


def _what(card: Card) -> str:
    base = card.base.get("source") or card.base.get("name") or "its base"
    how = {"full": "trained in full"}.get(card.method, f"fine-tuned with {card.method.upper()}")
    stored = {"none": "", "nf4": " quantised to 4 bit (NF4)", "int8": " quantised to 8 bit"}
    quantised = stored.get(card.spec["quantisation"], "")
    what = "A model that writes answers to instructions" if card.answering else (
        f"A classifier of texts into {'any of ' if card.thresholds else ''}{len(card.labels)} "
        f"labels ({_named(card.labels)})")
    text = f"{what}: {markdown_code(base)}{quantised}, {how}."
    if card.form == "merged":
        return (f"{text} Here adapter and base are one model, unquantised; its logits differ from "
                f"the registered model's by at most {card.parity['largest']:.2g} on "
                f"{card.parity['rows']} texts ({card.parity['changed']} with another "
                f"{card.output}).")
    head = "" if card.answering else " with its head"
    beside = ""
    if card.beside:
        beside = ", and the base" + (" as the numbers that its quantised weights stand for"
                                     if quantised else "")
    return (f"{text} Here is the adapter{head}{beside}. "
            "Loaded as below, its logits differ from the registered "
            f"model's by at most {card.parity['largest']:.2g} on {card.parity['rows']} texts "
            f"({card.parity['changed']} with another {card.output}).")


def _loading(card: Card) -> str:
    code = f"```python\n{snippet(card)}```"
    if card.answering:
        return (f"{code}\n\nThe tokenizer's chat template is the one that it was trained with, "
                f"`{card.answering['template']['name']}`; a turn may have an `input` beside its "
                f"`content`, if the template has a place for it. Prompt and answer had at most "
                f"{card.max_length} tokens in training. Markup such as `</s>` in a text would be "
                "read as a special token; pass `sanitize_control_tokens=True` where you do not "
                "trust your texts.")
    cleaned = []
    if card.cleaning.get("mention"):
        cleaned.append(f"mentions became {markdown_code(card.cleaning['mention'])}")
    if card.cleaning.get("link"):
        cleaned.append(f"links became {markdown_code(card.cleaning['link'])}")
    own = card.cleaning.get("own")
    if own:
        cleaned.append(f"the function {markdown_code(own['function'])} (sha256 "
                       f"`{own['sha256'][:12]}`, its source in the adapter's ftzard.json) was "
                       "called")
    before = (f" In training {' and '.join(cleaned)}, HTML entities their character, and runs of "
              "space one space; do the same to a raw text first.") if cleaned else ""
    return (f"{code}\n\nThe tokenizer puts the right tokens around a text by itself and cuts it at "
            f"{card.max_length} tokens.{before}")


def _named(names: Sequence[object]) -> str:
    return ", ".join(map(markdown, names))


def _own_scores(card: Card) -> Mapping:
    return (card.record.get("metrics") or {}).get("challenger") or {}


def _scores(card: Card) -> list[str]:
    metrics = card.record.get("metrics") or {}
    if not metrics:
        return ["It was not measured: this export had no record of the model's test."]
    names = {"challenger": f"**{markdown(card.name)}**",
             "champion": "the champion it was held against",
             "base": "the base, untrained head", "TF-IDF": "TF-IDF with logistic regression",
             "majority": "the most frequent label"}
    if card.answering:
        names["base"] = "the base, before training"
        return _answer_scores(card, names, metrics)
    several = bool(card.thresholds)
    lines = [f"| model | {'F1 per row' if several else 'accuracy'} (95 % interval) | macro F1 | "
             "test rows |", "|---|---|---|---|"]
    lines += [f"| {names.get(role, role)} | {100 * metric_info.score(s):.1f} % "
              f"({100 * s['lower']:.1f} to "
              f"{100 * s['upper']:.1f}) | {s['macro_f1']:.3f} | {s['n']:,} |"
              for role, s in metrics.items()]
    paragraphs = ["\n".join(lines), *_judged(card)]
    per_class = (card.record.get("test_metrics") or {}).get("per_class")
    if per_class:
        rows = ["| label | precision | recall | F1 | test rows |", "|---|---|---|---|---|"]
        rows += [f"| {markdown(label)} | {s['precision']:.3f} | {s['recall']:.3f} | "
                 f"{s['f1']:.3f} | {s['support']:,} |" for label, s in per_class.items()]
        paragraphs.append("\n".join(rows))
    return paragraphs


def _judged(card: Card) -> list[str]:
    paragraphs = [f"All of these are scores on {standings.own_rows(card.record)}.",
                  _split_sentence(card)]
    verdict = card.record.get("verdict")
    if verdict and unknown_rows(verdict):
        paragraphs.append(markdown(unknown_rows(verdict)))
    if verdict:
        paragraphs.append(f"The gate's verdict: **{verdict['decision']}**. "
                          f"{markdown(' '.join(verdict['reasons']))}")
    if gate.is_trial(verdict):
        warnings = markdown(" ".join(verdict.get("warnings") or []))
        paragraphs.append(f"**{gate.TRIAL}** {warnings}".strip())
    return paragraphs


def _split_sentence(card: Card) -> str:
    """Say what decided which rows the model was tested on."""
    data = (card.record.get("config") or {}).get("data") or {}
    if "split" not in data:
        return "What decided which rows are test rows is not on record."
    grouped = data.get("group_column") is not None
    by_hash = "a hash of " + ("their group, or of their text where they have none"
                              if grouped else "their text")
    sentence = (f"The test rows were kept out of training by {by_hash}."
                if data["split"] == "text" else
                "The test rows are those that the data came with as its test split; of deliveries "
                f"without one, those that {by_hash} decided on.")
    return f"{sentence} Training rows that repeat one of them, up to one word, were taken out."


def _answer_scores(card: Card, names: Mapping[str, str], metrics: Mapping) -> list[str]:
    lines = ["| model | loss, nats per token | perplexity | ROUGE-L | exact match | test rows | "
             "answers |", "|---|---|---|---|---|---|---|"]
    for role, scores in metrics.items():
        judged = metric_info.measure_of(scores)
        values = [measure.value(scores.get(measure.name), unit=measure is metric_info.EXACT_MATCH)
                  + (f" ({measure.range(scores['lower'], scores['upper'])})"
                     if measure is judged and scores.get("lower") is not None else "")
                  for measure in (metric_info.LOSS, metric_info.ROUGE_L, metric_info.EXACT_MATCH)]
        lines.append(f"| {names.get(role, role)} | {values[0]} | {scores['perplexity']:,.2f} | "
                     f"{values[1]} | {values[2]} | {scores['n']:,} | "
                     f"{scores.get('generated', 0):,} |")
    return ["\n".join(lines), "ROUGE-L and exact match are of answers that each model wrote for "
            "some of these rows, drawn by chance.", *_judged(card)]


def _calibration(card: Card) -> str:
    calibration = card.record.get("calibration")
    if not calibration:
        return "Not measured."
    return (f"The expected calibration error is {calibration['ece_before']:.3f} as it answers, and "
            f"{calibration['ece_after']:.3f} with its logits divided by the temperature "
            f"{calibration['temperature']:.3f}, which was fitted on "
            f"{calibration['validation_rows']:,} validation rows and measured on "
            f"{calibration['n']:,} test rows. The files hold the logits as they are; the code "
            "above divides them by the temperature.")


def _limits(card: Card) -> str:
    return "\n".join(f"- {line}" for line in limits(
        () if card.answering else card.labels, several=bool(card.thresholds),
        max_length=card.max_length, accuracy=_own_scores(card).get("accuracy"),
        max_new_tokens=card.answering["max_new_tokens"] if card.answering else None))


def _data(card: Card) -> list[str]:
    data, rows = card.record.get("data") or {}, card.record.get("rows") or {}
    lines = [f"- {name}: data version `{h['commit'] or 'none'}`, sha256 `{h['sha256']}`"
             for name, h in data.items()]
    paragraphs = []
    if rows:
        sides = ", ".join(f"{n:,} {side} rows" for side, n in rows.items())
        paragraphs.append(f"{_trained_on(card.record)} Its table has {sides}, batches: "
                          f"{_named(card.record.get('batches') or []) or 'unknown'}.")
    return [*paragraphs, "\n".join(lines) if lines else "Its data version is not on record."]


def _trained_on(record: Mapping) -> str:
    """Say how many rows a model was trained on; a record of before may not tell of a retraining,
    which takes some of the training rows only."""
    rows = record.get("trained_rows")
    if rows is None and not (record.get("recipe") or {}).get("replayed"):
        rows = (record.get("rows") or {}).get("train")
    return ("How many rows it was trained on is not on record." if rows is None else
            f"Trained on {rows:,} rows.")


def _lineage(card: Card) -> str:
    base = card.base
    lines = [
        f"base: {markdown(base.get('source') or base.get('name') or 'unknown')}, revision "
        f"{markdown(base.get('revision') or 'none')}, weights "
        f"`{base.get('weight_hash') or 'unknown'}`",
        f"method: {card.method}, {_values(ModelRecord(card.record).trained_params)}",
        *card.lineage,
    ]
    packages = card.record.get("packages") or {}
    if packages:
        lines.append("made with " + ", ".join(f"{k} {v}" for k, v in packages.items()))
    return "\n".join(f"- {line}" for line in lines)


def _values(params: Mapping) -> str:
    return ", ".join(f"{key} {value}" for key, value in params.items()) or "values not on record"
