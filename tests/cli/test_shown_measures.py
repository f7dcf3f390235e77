"""A model judged by another measure than accuracy is shown by that measure."""

from ftzard.cli import model_tables, tables

SCORES = {"measure": "loss", "score": 2.3104, "lower": 2.2, "upper": 2.4, "loss": 2.3104,
          "perplexity": 10.078, "rouge_l": 0.3124, "exact_match": 0.125, "n": 1200,
          "generated": 100}
ACCURATE = {"accuracy": 0.8134, "lower": 0.79, "upper": 0.83, "macro_f1": 0.8, "n": 1200}


def said(thing) -> str:
    return " ".join(str(thing).split())


def line(**scores) -> dict:
    return {"model": "m", "version": 1, "aliases": ["champion"], "kind": "tuned", "verdict":
            "promote", "base": "b", "data_version": None, "size_bytes": None, "created": None,
            "accuracy": None, "lower": None, "upper": None, "test_rows": 1200, "score": None,
            "measure": None, "task": "classification", "trial": False, "reasons": [], **scores}


def test_the_list_of_models_names_what_its_scores_are():
    loss = line(measure="loss", score=2.3104, lower=2.2, upper=2.4)
    right = line(measure="accuracy", score=0.8134, accuracy=0.8134, lower=0.79, upper=0.83)
    table = said(model_tables.list_table([loss, right]))
    assert "aliases score verdict" in table and "81.3 % (79.0–83.0) of 1,200" in table
    assert "loss 2.310 (2.200 – 2.400) of 1,200" in table
    table = said(model_tables.list_table([right]))
    assert "aliases accuracy verdict" in table and "81.3 % (79.0–83.0) of 1,200" in table
    assert "aliases accuracy verdict" in said(model_tables.list_table([line()]))


def test_the_list_sets_apart_what_was_measured_on_other_rows():
    scores = {"measure": "accuracy", "lower": 0.8, "upper": 0.9}
    here = line(score=0.834, accuracy=0.834, measured_on="the 83 test rows", test_rows=83, **scores)
    other = line(score=0.878, accuracy=0.878, measured_on="the 41 test rows", test_rows=41,
                 apart="its adapter is not in this workspace", **scores)
    table = said(model_tables.list_table([here, other]))
    assert "accuracy accuracy on other rows verdict" in table
    assert "83.4 % (80.0–90.0) of 83 - promote" in table
    assert "- 87.8 % (80.0–90.0) of 41 promote" in table
    assert table.endswith("accuracy of m: on the 83 test rows")
    assert "other rows" not in said(model_tables.list_table([here]))


def test_a_model_s_tree_says_its_measure():
    told = {**line(), "task": "instruction_tuning", "source": "s", "record": None, "labels": None,
            "calibration": None, "data": {}, "parent": None, "promotions": [], "tags": {},
            "base": {"source": "b", "name": "b", "revision": None, "weight_hash": None,
                     "registered": None},
            "run": {"id": "1", "name": "n", "state": "FINISHED"},
            "metrics": {"challenger": SCORES, "base": {**SCORES, "score": 3.0, "loss": 3.0}}}
    tree = said(model_tables.model_tree(told))
    assert "challenger: loss 2.310 nats per token (2.200–2.400) on 1,200 test rows" in tree
    assert "base: loss 3.000" in tree and "accuracy" not in tree
    tree = said(model_tables.model_tree({**told, "metrics": {"challenger": ACCURATE}}))
    assert "challenger: 81.3% (79.0%–83.0%) of 1,200 test rows, macro F1 0.800" in tree


def test_a_lineage_says_its_measure():
    told = {"model": "m", "version": 1, "roles": [], "verdict": None, "promotions": [],
            "deleted": None, "metrics": SCORES, "record": {"path": "p", "commit": None},
            "created": "2026-11-21T03:05:22", "adapter": None, "runs": [], "data": [],
            "data_here": True, "parents": [], "code": {"commit": None, "code_hash": None,
                                                       "notebook_hash": None, "packages": {}},
            "base": {"source": "b", "name": "b", "revision": None, "weight_hash": "w",
                     "tokenizer_hash": "t"}, "config": {}, "config_hash": "c"}
    tree = said(tables.lineage_tree(told))
    assert "loss 2.310 nats per token" in tree and "macro F1" not in tree
    tree = said(tables.lineage_tree({**told, "metrics": ACCURATE}))
    assert "81.3% of 1,200 test rows, macro F1 0.800" in tree
