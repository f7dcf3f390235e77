"""The page of a commit on the server of a git remote."""

import pytest

from ftzard.steps.report_links import commit_page


@pytest.mark.parametrize(("remote", "page"), [
    ("https://git.example/team/moods.git", "https://git.example/team/moods/commit/abc"),
    ("https://ada:secret@git.example/team/moods", "https://git.example/team/moods/commit/abc"),
    ("https://git.example:8443/moods.git", "https://git.example:8443/moods/commit/abc"),
    ("http://git.example/moods", "http://git.example/moods/commit/abc"),
    ("git@git.example:team/moods.git", "https://git.example/team/moods/commit/abc"),
    ("ssh://git@git.example:22/team/moods.git", "https://git.example/team/moods/commit/abc"),
    ("/srv/git/moods", None), ("../moods", None), (None, None)])
def test_the_page_of_a_commit_has_no_login(remote, page):
    assert commit_page(remote, "abc") == page
    assert commit_page(remote, None) is None
