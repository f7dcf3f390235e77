"""The small model that tests of models and training share."""

from tests.data.conftest import raw  # noqa: F401 - a fixture
from tests.small_model import *  # noqa: F403 - fixtures
