"""What CONTRIBUTING.md says of the project is so: its rooms, paths and commands."""

import re
import tomllib
from pathlib import Path

import pytest
import yaml

import ftzard
from tests.test_structure import RANKS

ROOT = Path(__file__).parents[1]
TEXT = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")


def test_the_rooms_are_those_of_the_ranks_in_their_order_and_all_are_named():
    rooms = re.findall(r"^\| `([a-z]+)/?` \|", TEXT, flags=re.M)
    assert tuple(rooms) == RANKS
    there = {path.stem for path in (ROOT / "ftzard").iterdir()
             if path.suffix == ".py" or (path / "__init__.py").is_file()}
    assert there - {"__init__", "__pycache__"} == set(rooms)


@pytest.mark.parametrize("path", sorted(set(re.findall(
    r"`((?:ftzard|tests|bench|tools|\.ci|\.github)/[\w./-]*[\w/])`", TEXT))))
def test_every_path_is_there(path):
    assert (ROOT / path).exists()


def test_every_target_of_make_and_every_marker_is_there():
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    for target in set(re.findall(r"make ([a-z]+(?:-[a-z]+)*)", TEXT)):
        assert re.search(rf"^{target}:", makefile, flags=re.M), target
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    for marker in project["tool"]["pytest"]["ini_options"]["markers"]:
        assert f"`{marker.partition(':')[0]}`" in TEXT


def test_the_changelog_and_the_citation_are_of_this_version():
    changelog = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    versions = re.findall(r"^## \[([^]]+)\]", changelog, flags=re.M)
    assert versions[0] == "Unreleased" and ftzard.__version__ in versions
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf-8"))
    assert citation["version"] == ftzard.__version__ and citation["license"] == "Apache-2.0"
