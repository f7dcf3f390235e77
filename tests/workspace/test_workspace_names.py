"""A new workspace's experiment and model are called as its folder; an older one keeps its names."""

from pathlib import Path

import pytest
import yaml

from ftzard.config.compose import compose
from ftzard.workspace import workspace_names


@pytest.mark.parametrize(("folder", "name"), [
    ("reviews", "reviews"), ("Ärzte & Kliniken 2026", "Arzte-Kliniken-2026"), ("a.b_c", "a-b_c"),
    ("…", "model"), ("bases", "bases-model"), ("mail-base", "mail-base-model"),
    ("x" * 200, "x" * 60)])
def test_a_folder_s_name_becomes_one_that_a_model_may_have(folder, name):
    assert workspace_names.of_folder(Path("/somewhere", folder)) == name
    config = compose({"tracking": workspace_names.tracking(Path("/somewhere", folder))})
    assert config.tracking.experiment == config.tracking.registered_model == name


def test_init_writes_the_names_down_so_that_a_clone_elsewhere_keeps_them(ftzard, tmp_path):
    code, said = ftzard("init", tmp_path / "reviews")
    assert code == 0, said
    told = yaml.safe_load((tmp_path / "reviews" / "ftzard.yaml").read_text())
    assert told["tracking"] == {"experiment": "reviews", "registered_model": "reviews"}


def test_a_workspace_that_says_nothing_keeps_the_names_of_before():
    tracking = compose({}).tracking
    assert (tracking.experiment, tracking.registered_model) == (
        "sentiment_analysis", "FalconSentiAnalysis")
