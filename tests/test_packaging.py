"""What a newcomer installs: one list of versions, a lock that holds together, a package with
everything in it, and ignore files that keep rows and weights out of git."""

import ast
import os
import re
import shutil
import subprocess
import sys
import tomllib
import zipfile
from importlib import metadata
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name
from packaging.version import Version
from rattler import LockFile, MatchSpec

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
PIXI = PROJECT["tool"]["pixi"]
CUDA = re.compile(r"nvidia-|cuda-|triton$")  # torch brings and pins these where there is a GPU


def requirements(path: Path) -> dict[str, Requirement]:
    """The requirements of a file by canonical name; comments and blank lines are not."""
    lines = [line.split("#")[0].strip() for line in path.read_text(encoding="utf-8").splitlines()]
    found = [Requirement(line) for line in lines if line]
    return {canonicalize_name(requirement.name): requirement for requirement in found}


DIRECT = requirements(ROOT / "requirements.txt")
TEST_EXTRA = [Requirement(line) for line in PROJECT["project"]["optional-dependencies"]["test"]]
#: Extras that a person adds for one purpose; nothing of ours needs them without that.
OPTIONAL = {canonicalize_name(Requirement(line).name)
            for extra in ("postgres", "mysql", "comet", "ray", "label-studio", "system")
            for line in PROJECT["project"]["optional-dependencies"][extra]}
CONSTRAINTS = requirements(ROOT / "constraints.txt")


def pinned(name: str) -> Version:
    """The one version that constraints.txt allows for a package."""
    (specifier,) = CONSTRAINTS[canonicalize_name(name)].specifier
    return Version(specifier.version)


def run(*command: str, cwd: Path) -> subprocess.CompletedProcess:
    """Run a command as a person would, not as a child of the `make` that may run these tests."""
    inherited = {k: v for k, v in os.environ.items() if not k.startswith(("MAKE", "MFLAGS"))}
    return subprocess.run(command, cwd=cwd, env=inherited, capture_output=True, text=True)


# --- versions --------------------------------------------------------------------------------


@pytest.mark.parametrize("wanted", [*DIRECT.values(), *TEST_EXTRA], ids=str)
def test_what_is_required_is_pinned_within_its_bounds(wanted):
    assert canonicalize_name(wanted.name) in CONSTRAINTS
    assert wanted.specifier.contains(pinned(wanted.name))


def test_every_requirement_has_a_bound_and_every_pin_its_reason():
    for line in (ROOT / "requirements.txt").read_text(encoding="utf-8").splitlines():
        if line and not line.startswith("#"):
            assert re.match(r"[a-z0-9-]+(>=|==)\d", line), line
            assert "==" not in line or "  # " in line, f"no reason beside {line}"


def test_constraints_are_exact_and_name_no_place():
    for line in (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines():
        # name==version, without a URL, a path or a build tag such as +cpu
        assert line.startswith("#") or re.fullmatch(r"[\w.-]+==[\w.!]+( ; .+)?", line), line


@pytest.mark.parametrize("folder", ["ftzard", "tests"])
def test_what_is_imported_is_declared(folder):
    declared = set(DIRECT)
    if folder == "tests":
        declared |= {canonicalize_name(requirement.name) for requirement in TEST_EXTRA}
    provided_by = metadata.packages_distributions()
    for path in sorted((ROOT / folder).rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            if isinstance(node, ast.ImportFrom) and node.level == 0:
                names = [node.module]
            for module in {name.split(".")[0] for name in names}:
                if module in {*sys.stdlib_module_names, "ftzard", "tests", "tools"}:
                    continue
                packages = {canonicalize_name(name) for name in provided_by.get(module, [module])}
                assert packages & (declared | OPTIONAL), (
                    f"{path.relative_to(ROOT)} imports {module}")


def needed_here() -> dict[str, metadata.Distribution]:
    """Every installed distribution that the project or its tests need on this machine."""
    found: dict[str, metadata.Distribution] = {}
    waiting = [(requirement, "") for requirement in [*DIRECT.values(), *TEST_EXTRA]]
    seen = set()
    while waiting:
        requirement, extra = waiting.pop()
        if requirement.marker and not requirement.marker.evaluate({"extra": extra}):
            continue
        name = canonicalize_name(requirement.name)
        for wanted in ("", *requirement.extras):
            if (name, wanted) in seen:
                continue
            seen.add((name, wanted))
            try:
                found[name] = metadata.distribution(name)
            except metadata.PackageNotFoundError:
                break
            waiting += [(Requirement(line), wanted) for line in found[name].requires or []]
    return found


def test_what_is_installed_is_what_the_constraints_say():
    installed = {name: d for name, d in needed_here().items() if not CUDA.match(name)}
    assert len(installed) > 100
    assert sorted(set(installed) - set(CONSTRAINTS)) == []
    found = {name: Version(d.version).public for name, d in installed.items()}
    assert found == {name: str(pinned(name)) for name in installed}


# --- pixi ------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def locked():
    """The records of pixi.lock: platform -> list of conda records."""
    lock = LockFile.from_path(ROOT / "pixi.lock")
    assert [name for name, _ in lock.environments()] == ["default"]
    environment = lock.default_environment()
    assert not any(environment.pypi_packages().values())
    return {
        str(platform.name): environment.conda_repodata_records_for_platform(platform)
        for platform in lock.platforms()
    }


def direct_specs(platform: str) -> list[MatchSpec]:
    wanted = dict(PIXI["dependencies"])
    wanted |= PIXI.get("target", {}).get(platform, {}).get("dependencies", {})
    return [MatchSpec(f"{name} {version}") for name, version in wanted.items()]


@pytest.mark.parametrize("platform", PIXI["workspace"]["platforms"])
def test_lock_satisfies_the_manifest_and_is_closed_and_minimal(locked, platform):
    by_name = {record.name.normalized: record for record in locked[platform]}
    assert len(by_name) == len(locked[platform])
    waiting = direct_specs(platform)
    used = set()
    while waiting:
        spec = waiting.pop()
        if str(spec).startswith("__"):
            continue  # a virtual package: the machine itself provides it
        matching = {name for name, record in by_name.items() if spec.matches(record)}
        assert len(matching) == 1, f"{platform}: {matching or 'nothing'} for '{spec}'"
        waiting += [MatchSpec(d) for name in matching - used for d in by_name[name].depends]
        used |= matching
    assert used == set(by_name)
    for record in locked[platform]:
        for constraint in record.constrains:
            other = by_name.get(constraint.split()[0])
            assert other is None or MatchSpec(constraint).matches(other), constraint


def test_lock_has_the_channel_and_platforms_of_the_manifest(locked):
    assert sorted(locked) == sorted(PIXI["workspace"]["platforms"])
    (channel,) = PIXI["workspace"]["channels"]
    urls = [record.url for records in locked.values() for record in records]
    assert all(f"/{channel}/" in url for url in urls)


def test_pixi_would_find_no_python_packages_of_its_own():
    # A list in [project] would be taken for PyPI dependencies and make the lock out of date.
    assert "dependencies" in PROJECT["project"]["dynamic"]
    assert "dependencies" not in PROJECT["project"]
    assert "pypi-dependencies" not in PIXI


def test_pixi_tasks_install_first_and_call_commands_that_exist():
    from typer.testing import CliRunner

    from ftzard.cli import app

    tasks = dict(PIXI["tasks"])
    assert "-c constraints.txt" in tasks.pop("install")["cmd"]
    assert {"dagster_ui", "mlflow_ui", "mlflow_server", "jupyter", "local_jupyter", "demo", "test",
            "quick"} <= set(tasks)
    for name, task in tasks.items():
        assert task["depends-on"] == ["install"], name
        program, *arguments = task["cmd"].split()
        if program == "ftzard":
            result = CliRunner().invoke(app, [*arguments, "--help"])
            assert result.exit_code == 0, f"{name}: {result.output}"
        else:
            assert program == "pytest", name


def test_the_same_switches_everywhere():
    switches = {"OMP_WAIT_POLICY", "MLFLOW_DISABLE_TELEMETRY", "DAGSTER_DISABLE_TELEMETRY"}
    switches |= {"DVC_NO_ANALYTICS", "HF_HUB_DISABLE_TELEMETRY", "TORCHDYNAMO_DISABLE"}
    wanted = {name: PIXI["activation"]["env"][name] for name in switches}
    for name, pattern in (("Makefile", r"(\w+) := (\S+)"), ("Dockerfile", r"(\w+)=(\w+)")):
        found = dict(re.findall(pattern, (ROOT / name).read_text(encoding="utf-8")))
        assert {switch: found.get(switch) for switch in switches} == wanted, name


# --- the package -----------------------------------------------------------------------------


def test_the_wheel_holds_every_file_of_the_package(tmp_path):
    source = tmp_path / "source"
    shutil.copytree(
        ROOT / "ftzard",
        source / "ftzard",
        ignore=shutil.ignore_patterns("__pycache__", ".ipynb_checkpoints", ".*"),
    )
    for name in ("pyproject.toml", "requirements.txt", "LICENSE"):
        shutil.copy(ROOT / name, source)
    command = [sys.executable, "-m", "pip", "wheel", "-qq", "--no-deps", "--no-build-isolation"]
    built = run(*command, "-w", str(tmp_path), str(source), cwd=tmp_path)
    assert built.returncode == 0, built.stderr
    (wheel,) = tmp_path.glob("ftzard-*.whl")
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
        (about,) = [name for name in names if name.endswith("dist-info/METADATA")]
        text = archive.read(about).decode()
        (entry,) = [name for name in names if name.endswith("entry_points.txt")]
        assert "ftzard = ftzard.cli:main" in archive.read(entry).decode()
    files = (path for path in (source / "ftzard").rglob("*") if path.is_file())
    assert sorted({path.relative_to(source).as_posix() for path in files} - names) == []
    required = {Requirement(line) for line in re.findall(r"^Requires-Dist: (.+)$", text, re.M)}
    assert set(DIRECT.values()) <= required
    assert "License-Expression: Apache-2.0" in text


@pytest.mark.skipif(not shutil.which("make"), reason="make is not installed")
@pytest.mark.parametrize("python", ["false", "no-such-python"])
def test_make_says_which_python_it_needs_before_it_makes_anything(tmp_path, python):
    for name in ("Makefile", "pyproject.toml", "requirements.txt", "constraints.txt"):
        shutil.copy(ROOT / name, tmp_path)
    made = run("make", "quick", f"PYTHON={python}", cwd=tmp_path)
    assert made.returncode != 0
    assert f"FTzard needs Python 3.11 or newer, which '{python}' (" in made.stderr
    assert "make quick PYTHON=python3.11" in made.stderr
    assert not (tmp_path / ".venv").exists()


def test_the_metadata_names_the_pythons_that_are_checked_and_no_other():
    allowed = SpecifierSet(PROJECT["project"]["requires-python"])
    checked = re.search(r"for version in ([\d. ]+);", (ROOT / "Makefile").read_text())[1].split()
    named = [line.rpartition(" ")[2] for line in PROJECT["project"]["classifiers"]
             if line.startswith("Programming Language :: Python :: 3.")]
    workflow = yaml.safe_load((ROOT / ".github/workflows/ci.yml").read_text())
    assert checked == named == workflow["jobs"]["lint"]["strategy"]["matrix"]["python"]
    assert [f"3.{n}" for n in range(9, 20) if f"3.{n}.1" in allowed] == checked
    oldest = f"py{checked[0].replace('.', '')}"
    assert PROJECT["tool"]["ruff"]["target-version"] == oldest
    assert PROJECT["tool"]["mypy"]["python_version"] == checked[0]


def test_lint_is_pinned_and_runs_wherever_the_tests_run():
    lint = [Requirement(line) for line in PROJECT["project"]["optional-dependencies"]["lint"]]
    assert {requirement.name for requirement in lint} == {"ruff", "mypy"}
    assert all(pinned(requirement.name) in requirement.specifier for requirement in lint)
    assert "make lint" in (ROOT / ".ci/run").read_text()
    workflow = (ROOT / ".github/workflows/ci.yml").read_text()
    assert "make lint" in workflow and ".ci/run" in workflow
    hooks = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())["repos"][0]["hooks"]
    assert all(hook["language"] == "system" and hook["entry"].startswith(".venv/bin/")
               for hook in hooks)


# --- what git and DVC see --------------------------------------------------------------------


def test_rows_and_weights_stay_out_of_git_and_dvc_adds_no_ignore_files(tmp_path):
    for name in (".gitignore", ".dvcignore", "data/.gitignore", "models/.gitignore"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        shutil.copy(ROOT / name, tmp_path / name)
    dvc = (sys.executable, "-m", "dvc")
    for command in (("git", "init", "-q"), (*dvc, "init", "-q"), ("git", "add", "-A")):
        done = run(*command, cwd=tmp_path)
        assert done.returncode == 0, done.stderr
    files = ["data/raw/ab12.csv", "data/cleaned.parquet", "models/clf/1.yaml", "models/clf/1.zip"]
    files += ["data/incoming/new.csv", ".env", "demo/README.md", "reports/index.html"]
    for name in files:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(name)
    added = run(*dvc, "add", "-q", files[0], files[1], files[3], cwd=tmp_path)
    assert added.returncode == 0, added.stderr
    seen = run("git", "status", "--porcelain", "-uall", cwd=tmp_path).stdout.splitlines()
    new = sorted(line[3:] for line in seen if line.startswith("??"))
    changed = [line for line in seen if line[1] != " " and not line.startswith("??")]
    assert changed == []
    assert new == [
        "data/cleaned.parquet.dvc",
        "data/raw/ab12.csv.dvc",
        "models/clf/1.yaml",
        "models/clf/1.zip.dvc",
    ]
