"""The small model that tests of models and training share."""

from tests.data.conftest import raw, shared_data  # noqa: F401 - fixtures
from tests.small_model import *  # noqa: F403 - fixtures
