"""What the YAML files document is what is checked, before anything starts."""

import re
from typing import get_args

import pytest
import yaml

from ftzard.config.compose import PACKAGED, compose, defaults
from ftzard.config.limits import RANGES, Range
from ftzard.config.requests import leaves
from ftzard.config.schema import hint_of
from ftzard.core import yaml_file
from ftzard.errors import ConfigError

RANGE = re.compile(r"\b(int|float)(?: \w+)? (>=|>) ([\d.]+)|\b(int|float) in ([\[(])([\w.]+), "
                   r"([\w.*-]+)([\])])")


def documented() -> dict[str, Range]:
    """Return the range that the comment above each key states, for those that state one."""
    found = {}
    for group, choice in {**defaults(), "": "config"}.items():
        file = PACKAGED / group / f"{choice}.yaml"
        if (group, choice) == ("task", "classification"):
            file = PACKAGED / "task" / "instruction_tuning.yaml"
        comment, covered = "", 0
        inside = ""
        for line in file.read_text(encoding="utf-8").splitlines():
            if line.strip().startswith("#"):
                comment, covered = (comment if not covered else "") + line.strip(" #") + " ", 0
            elif match := re.match(r"(\s*)(\w+):", line):
                covered += 1
                if not match[1]:
                    inside = ""
                key = ".".join(filter(None, (group, inside, match[2])))
                if key == "task.instructions":
                    inside = "instructions"
                stated = RANGE.findall(comment)
                if stated:
                    low_high = stated[min(covered, len(stated)) - 1]
                    found[key] = _range(low_high)
    return found


def _range(stated: tuple) -> Range:
    kind, sign, low, _, opened, first, last, closed = stated
    if sign:
        return Range(float(low), low_open=sign == ">")
    low = 0.0 if first == "false_alarms" else float(first)  # above the other key's value
    high = float(2**32 - 1) if last == "2**32-1" else float(last)
    return Range(low, high, opened == "(", closed == ")")


def bad(allowed: Range) -> list[float]:
    """Return values just outside a range, and those that are in none."""
    found = [allowed.low if allowed.low_open else allowed.low - 1]
    if allowed.high != float("inf"):
        found.append(allowed.high if allowed.high_open else allowed.high + 1)
    return found


def refused(key: str, value: object) -> str | None:
    given = {"overrides": [f"{key}={yaml_file.dump(value, True).splitlines()[0]}"]}
    more = {}
    if key.startswith("task.instructions"):
        more = {"task": "instruction_tuning", "tuning": {"metric": "validation_loss"}}
    try:
        compose(more, given)
    except ConfigError as error:
        return str(error)
    return None


def test_every_number_of_the_schema_has_a_range():
    numbers = set()
    for key in leaves(compose_all()):
        hint = hint_of(key)
        parts = {hint, *get_args(hint), *(a for h in get_args(hint) for a in get_args(h))}
        if parts & {int, float} and key != "data.mix":  # whose weights a function looks at
            numbers.add(key)
    assert numbers <= set(RANGES), numbers - set(RANGES)


def compose_all() -> dict:
    from ftzard.config.compose import to_record

    return to_record(compose({"task": "instruction_tuning", "tuning": {
        "metric": "validation_loss"}}))


def test_a_documented_range_is_the_one_that_is_checked():
    found = documented()
    assert len(found) > 35
    assert set(found) - set(RANGES) <= {"data.mix"}  # whose weights a function looks at
    wrong = {}
    for key in set(found) & set(RANGES):
        said, checked = found[key], RANGES[key]
        if (said.low, said.low_open) != (checked.low, checked.low_open) or (
                said.high != float("inf") and (said.high, said.high_open)
                != (checked.high, checked.high_open)):
            wrong[key] = f"documented {said}, checked {checked}"
    assert not wrong


@pytest.mark.parametrize("key", sorted(RANGES))
def test_what_is_outside_is_refused_with_key_value_and_expectation(key):
    is_list = str(hint_of(key)).startswith("list")
    whole = "float" not in str(hint_of(key))
    if key == "training.class_weights":
        return
    for value in (*bad(RANGES[key]), *(() if whole else (float("nan"), float("inf")))):
        value = int(value) if whole else value
        said = refused(key, [value] if is_list else value)
        assert said is not None, (key, value)
        assert key.split(".")[-1] in said and "expected" in said


@pytest.mark.parametrize(("key", "value"), [
    ("tuning.learning_rate", [0.01, 0.001]), ("tuning.dropout", [0.1, 1.5]), ("tuning.rank", []),
    ("tuning.learning_rate", [0.1, 0.2, 0.3]), ("tuning.rank", [8, 8]),
    ("tuning.batch_size", [0, 8]),
    ("data.text_column", ""), ("data.label_column", " "), ("data.salt", ""), ("data.delimiter", ""),
    ("data.source", ""), ("data.group_column", ""), ("tracking.experiment", ""),
    ("tracking.registered_model", "a b"), ("tracking.registered_model", ""), ("model.name", "a/b"),
    ("model.name", ".."), ("model.name", ""), ("data.encoding", "utf-9"), ("data.encoding", "hex"),
    ("data.label_column", "text"), ("data.group_column", "label"), ("data.labels", {}),
    ("data.labels", {"a": "x"}), ("data.labels", {"a": "x", "b": "x"}), ("data.labels", {"a": "x",
                                                                                        "b": ""}),
    ("data.mix", {"a.csv": float("nan")}), ("data.mix", {}), ("model.lora_targets", [""]),
    ("model.build", {"width": 65}), ("model.build", {"vocabulary": 10}),
    ("paths.cleaned", "data/cleaned/rejected.parquet"), ("paths.cleaned", "data/x.csv"),
    ("paths.cleaned", "./data/tokenized/../tokenized/tokenized.parquet"),
    ("paths.cleaned", "data//tokenized/tokenized.parquet"), ("paths.cleaned", ""),
    ("paths.cleaned", "data/cleaned/{batch}.parquet"), ("paths.queue", "data/labelling/queue.csv"),
    ("paths.queue", "data/labelling/{other}.csv"),
    ("paths.queue", "data/labelling/{batch}.parquet"),
    ("paths.queue", "data/labelling/{batch.csv"), ("paths.cleaned", ".git/x.parquet"),
    ("paths.predictions", "data/incoming/p.parquet"), ("paths.cleaned", "~/x.parquet"),
    ("paths.rejected", "data/cleaned/cleaned.parquet/r.parquet"),
    ("versioning", {"push": False, "require_push": True}), ("seed", 2**32),
    ("training.epochs", 10**12), ("training.class_weights", {"a": 0.0}),
    ("data.delimiter", "ab"), ("data.delimiter", '"'), ("data.delimiter", "\n"),
    ("data.delimiter", ""), *(("data.encoding", name) for name in (
        "punycode", "undefined", "idna", "unicode_escape", "raw_unicode_escape", "RAW-unicode-"
        "escape")), ("paths.cleaned", "ftzard.yaml/x.parquet"),
    ("paths.tokenized", "./data/.gitignore/x.parquet"), ("paths.queue", "data/{batch!r}.csv"),
    ("paths.queue", "data/{batch:>9}.csv"), ("tracking.uri", "localhost:5000"),
    ("tracking.uri", "http://"), ("tracking.uri", "./mlruns"), ("training.class_weights", {}),
    ("training.class_weights", {"a": float("inf")}), ("data.mention", "a\0b")])
def test_what_no_number_s_range_says_is_refused_too(key, value):
    group, _, name = key.partition(".")
    request = {group: {name: value} if name else value}
    with pytest.raises(ConfigError, match="expected|twice|is missing"):
        compose(request)


@pytest.mark.parametrize("request_", [
    *({"data": {"delimiter": text}} for text in (",", "tab", "\\t", "\t", "|", " ")),
    *({"data": {"encoding": name}} for name in ("utf-8", "UTF_16", "latin-1", "cp1252", "gb18030")),
    *({"tracking": {"uri": uri}} for uri in (
        "sqlite:////a b/mlflow.db", "https://mlflow.example.org", "postgresql+psycopg://ada@db/x",
        "http://localhost:5000", None)),
    {"paths": {"queue": "data/{{x}}{batch}.csv"}}], ids=str)
def test_what_steps_can_use_is_taken(request_):
    assert compose(request_)


def test_no_password_of_an_address_is_shown():
    with pytest.raises(ConfigError, match="tracking.uri") as refused:
        compose({"tracking": {"uri": "ada:secret@localhost:5000"}})
    assert "secret" not in str(refused.value)


@pytest.mark.parametrize("value", [0.0, 0.5, 0.999])
def test_the_ends_that_belong_to_a_range_are_taken(value):
    assert compose({"training": {"dropout": value, "warmup_ratio": value}})
    assert compose({"tuning": {"learning_rate": [0.01, 0.01], "weight_decay": [0, 1], "dropout": [
        0.3]}, "data": {"mention": "", "link": "", "max_rejected": 1}, "seed": 2**32 - 1})


def test_config_plan_and_run_refuse_before_anything_starts(ftzard, workspace):
    job = "training_pipeline_job"
    for command in (["config"], ["plan", job], ["run", job]):
        code, said = ftzard(*command, "seed=-1", "training.dropout=1.0", "-w", workspace.root)
        assert code == 1 and "seed is -1; expected 0 to 4294967295." in said
        assert "training.dropout is 1.0; expected 0 or more and below 1." in said
    assert not (workspace.state / "runs").exists()


def test_a_launchpad_that_breaks_a_limit_is_refused(ftzard, workspace, tmp_path):
    file = tmp_path / "mine.yaml"
    file.write_text(yaml.safe_dump({"resources": {"experiment": {"config": {"seed": -1}}}}))
    code, said = ftzard("run", "training_pipeline_job", "-c", file, "-w", workspace.root)
    assert code == 1 and "seed is -1" in said
