"""The last cell of a notebook shows a step's facts as lines that a person can read."""

from IPython.lib.pretty import pretty

from ftzard.steps.shown_facts import ShownFacts


def test_a_line_for_each_fact_and_nothing_nested_is_spelled_out():
    facts = ShownFacts({
        "rows": 2000, "mean_confidence": 0.9676131514078454, "alarm": True, "batch": None,
        "shares": {"train": 0.75, "test": 0.25}, "sentence": "so " * 60,
        "drift": {"statistics": [{"name": "words"}], "score": 13.4}, "models": [{}, {}]})
    lines = pretty(facts).splitlines()
    assert [line.split()[0] for line in lines] == list(facts)
    told = {line.split()[0]: line.split(maxsplit=1)[1] for line in lines}
    assert told["rows"] == "2,000" and told["mean_confidence"] == "0.9676"
    assert told["alarm"] == "True" and told["batch"] == "none" and told["models"] == "2 entries"
    assert told["shares"] == "train 0.75, test 0.25" and told["drift"] == "statistics, score"
    assert max(map(len, lines)) < 100
    assert facts == dict(facts), "a notebook still reads them as a dict"
