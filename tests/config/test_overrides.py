"""An override's text is what it says: no file name means anything to a grammar."""

import pytest

from ftzard.config.compose import compose
from ftzard.config.overrides import parse_override
from ftzard.errors import ConfigError

NAMES = ["march (1).csv", "märz.csv", "a=b.csv", "a,b.csv", "o'neil.csv", 'say "x".csv', "no#2.csv",
         "R&D.csv", "50%.csv", "a;b.csv", "[x].csv", "{batch}.csv", "${seed}.csv", "🙂.csv",
         "a\\tb.csv", "a:b.csv", "  two  spaces.csv", "true", "1e5", "~x", "$HOME/x.csv", "x=[1,2]",
         "日本語.csv", "a\nb.csv", "-x.csv", "*.csv", "null.csv", "'", "a'b'c"]


@pytest.mark.parametrize("name", NAMES)
def test_a_file_s_name_is_taken_as_it_stands(name):
    path = f"data/incoming/{name}"
    assert compose({"overrides": [f"data.incoming={path}"]}).data.incoming == path
    assert compose({"overrides": [f"data.incoming={name}"]}).data.incoming == name


def test_the_command_takes_it_too(ftzard, workspace):
    for name in ("märz (1).csv", "a,b.csv", "o'neil.csv"):
        code, said = ftzard("config", f"data.incoming=data/incoming/{name}", "-w", workspace.root)
        assert code == 0 and name.replace("'", "''") in said or name in said


@pytest.mark.parametrize(("text", "value"), [
    ("'quoted.csv'", "quoted.csv"), ('"a, b.csv"', "a, b.csv"), (r"'o\'neil.csv'", "o'neil.csv"),
    ("null", None), ("'null'", "null"), ("NULL", None)])
def test_quotes_around_all_of_it_are_taken_off_and_null_is_none(text, value):
    assert parse_override(f"data.incoming={text}") == ("data.incoming", value)


@pytest.mark.parametrize(("text", "key", "value"), [
    ("data.delimiter=;", "data.delimiter", ";"), ("data.delimiter=,", "data.delimiter", ","),
    ("data.salt=2024", "data.salt", "2024"), ("seed=3", "seed", 3), ("++seed=3", "seed", 3),
    ("training.learning_rate=1e-4", "training.learning_rate", 1e-4),
    ("tuning.rank=[8, 16]", "tuning.rank", [8, 16]),
    ("versioning.push=no", "versioning.push", "no"),
    ("data.labels={no: a, 007: b}", "data.labels", {"no": "a", "007": "b"}),
    ("data.labels={a:x}", "data.labels", {"a": "x"}),
    ("data.labels={+1:x,-1:y,1_0:z, 007:w, no:n}", "data.labels",
     {"+1": "x", "-1": "y", "1_0": "z", "007": "w", "no": "n"}),
    ("data.labels={a:'x y', b: y}", "data.labels", {"a": "x y", "b": "y"}),
    ("training.class_weights={a:2,b:1.5}", "training.class_weights", {"a": 2, "b": 1.5}),
    ("data.mix={'märz (1).csv': 2, b.csv: 1.5}", "data.mix", {"märz (1).csv": 2, "b.csv": 1.5}),
    ("model.build={layers: 2}", "model.build", {"layers": 2}), ("model.build=null", "model.build",
                                                                None),
    ("training.class_weights=balanced", "training.class_weights", "balanced"),
    ("training.class_weights={a: 2}", "training.class_weights", {"a": 2}),
    ("data.labels.no=nein", "data.labels.no", "nein")])
def test_other_values_are_what_they_say(text, key, value):
    assert parse_override(text) == (key, value)


@pytest.mark.parametrize(("text", "words"), [
    ("data.mix={märz (1).csv:2}", "{'a name': value}"),
    ("data.labels={0:a, 0:b, 4:c}", "'0' stands twice"), ("data.labels={a: x", "as a map"),
    ("data.labels={0: a, 0: b, 4: c}", "'0' stands twice"),
    ("data.labels={0:a, 0: b, 4: c}", "'0' stands twice"),
    ("data.labels={12:30:x, a:y}", "as a map"), ("data.labels={'a:b', c:d}", "as a map"),
    ("data.labels={a: null, b: x}", "data.labels.a is None"),
    ("training.epochs=", "cannot be read|expec"),
    ("training.epochs=range(1,3)", "sweeps"), (["seed=1"], "is no text"),
    ("=x", "expected key=value")])
def test_what_is_no_value_is_refused(text, words):
    with pytest.raises(ConfigError, match=words):
        compose({"overrides": [text]})


def test_the_remedy_for_a_map_is_taken():
    remedy = "data.mix={'märz (1).csv': 2, 'b.csv': 1}"
    assert compose({"overrides": [remedy]}).data.mix == {"märz (1).csv": 2.0, "b.csv": 1.0}


def test_overrides_that_are_no_list_are_refused():
    with pytest.raises(ConfigError, match="overrides is 'seed=1'; expected a list"):
        compose({"overrides": "seed=1"})
