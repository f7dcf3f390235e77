"""The small trained workspace, for the tests on two nodes."""

from tests.trained import own, trained  # noqa: F401 - fixtures
