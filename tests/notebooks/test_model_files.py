"""A base that cannot be there is refused by name, before a hub is asked or anything is written."""

import pytest

from ftzard.errors import ModelError
from ftzard.notebooks.model_files import base_spec, build_base


def model(workspace, **said):
    return workspace.config({"model": said}).model


@pytest.mark.parametrize("source", ["models/nowhere", "/models/nowhere", "./nowhere"])
def test_a_model_folder_that_does_not_exist_is_named(workspace, source):
    with pytest.raises(ModelError, match="nowhere.*(does not exist|is no folder here)"):
        base_spec(workspace, model(workspace, source=source, build=None))


def test_a_hub_id_without_its_commit_is_refused(workspace):
    asked = model(workspace, source="tiiuae/falcon-7b", build=None, revision="main")
    with pytest.raises(ModelError, match="40 hex digits.*Set model.revision"):
        base_spec(workspace, asked)


def test_a_base_that_no_step_has_built_yet_says_which_one_does(workspace):
    with pytest.raises(ModelError, match="falcon_tiny.zip does not exist.*preprocessing_job"):
        base_spec(workspace, model(workspace))


def test_a_base_is_built_once_and_other_sizes_are_refused(workspace, tmp_path):
    small = {"layers": 1, "width": 32, "heads": 2, "vocabulary": 300, "seed": 0}
    texts = ["one two three", "four five six"] * 20
    built = build_base(workspace, model(workspace, build=small), texts, tmp_path / "a")
    content = built.read_bytes()
    again = build_base(workspace, model(workspace, build=small), ["other texts"], tmp_path / "b")
    assert again == built and built.read_bytes() == content
    with pytest.raises(ModelError, match="frozen at first use"):
        build_base(workspace, model(workspace, build={**small, "layers": 2}), texts, tmp_path / "c")
