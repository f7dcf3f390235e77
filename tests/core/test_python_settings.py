"""What another Python process is started with finds this FTzard, and no other copy of it."""

import subprocess
import sys

import ftzard
from ftzard.core import python_settings


def test_a_served_model_s_copy_of_the_package_does_not_stand_in_for_it(tmp_path, monkeypatch):
    """MLflow puts the code that a model brings along first on the path when it loads the model."""
    (tmp_path / "ftzard").mkdir()
    (tmp_path / "ftzard" / "__init__.py").write_text("")
    monkeypatch.setattr(sys, "path", [str(tmp_path), "a-hook-that-is-no-folder", *sys.path])
    done = subprocess.run([sys.executable, "-P", "-c", "import ftzard; print(ftzard.__file__)"],
                          env=python_settings.for_child(), capture_output=True, text=True)
    assert done.stdout.strip() == ftzard.__file__, done.stderr
