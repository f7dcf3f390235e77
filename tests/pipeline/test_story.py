"""x"""
import pytest
pytestmark = pytest.mark.jobs
def test_all(story):
    for k, r in story.ran.items():
        print(k, r.before[:6], r.after[:6]); print(r.said)
