"""The small model that tests of models and training share."""

from tests.small_model import *  # noqa: F403 - fixtures
from tests.data.conftest import raw, shared_data  # noqa: F401 - fixtures
