"""The arrows of the design, the shape of the notebooks, and what the code location promises."""

import ast
import json
import subprocess
import sys
from functools import cache
from pathlib import Path

import nbformat
import pytest
import yaml
from dagster import validate_run_config

import ftzard
from ftzard import definitions
from ftzard.cli.start import COMMANDS
from ftzard.config.compose import PACKAGED
from ftzard.config.pipeline import BY_NAME, CHAINS, JOBS, STEPS
from ftzard.tasks.base import task_names
from ftzard.workspace import notebook_copies

ROOT = Path(ftzard.__file__).parent
FILES = sorted(ROOT.rglob("*.py"))
PACKAGED_NOTEBOOKS = ROOT / "notebooks"
NOTEBOOKS = sorted(PACKAGED_NOTEBOOKS.rglob("*.ipynb"))
#: Notebooks that are no step, and what their parameters cells name.
BESIDE_THE_STEPS = {"Git_Dvc": {"step"}, "Registry_Life_Cycle": {"tokenized"}}


def module_of(path: Path) -> str:
    parts = path.relative_to(ROOT.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imports(tree: ast.AST, *, top_only: bool = False) -> set[str]:
    """Return the dotted names of everything a syntax tree imports."""
    found = set()
    for node in tree.body if top_only else ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            found |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    return found


@cache
def tree_of(path: Path) -> ast.Module:
    if path.suffix == ".ipynb":
        cells = nbformat.read(path, as_version=4).cells
        return ast.parse("\n".join(c.source for c in cells if c.cell_type == "code"))
    return ast.parse(path.read_text(encoding="utf-8"))


def importers(package: str, files=(*FILES, *NOTEBOOKS)) -> set[str]:
    """Return the files, relative to the package, that import `package` anywhere."""
    return {path.relative_to(ROOT).as_posix() for path in files
            if any(name.split(".")[0] == package for name in imports(tree_of(path)))}


def place(file: str) -> str:
    return file.split("/")[0] if "/" in file else file


MODELS = {"modeling", "training", "tasks"}


@pytest.mark.parametrize(("package", "owners"), [
    ("mlflow", {"tracking", "registry"}), ("comet_ml", {"tracking"}), ("torch", MODELS),
    ("transformers", MODELS), ("peft", MODELS), ("bitsandbytes", MODELS),
    ("optuna", {"training"}), ("safetensors", MODELS), ("tokenizers", MODELS),
    ("papermill", {"orchestration"}), ("typer", {"cli"}), ("ray", {"compute"}),
])
def test_a_package_is_imported_in_its_rooms_only(package, owners):
    assert {place(file) for file in importers(package)} <= owners


def test_of_the_registry_only_what_ships_into_mlflow_imports_it():
    assert {file for file in importers("mlflow") if place(file) == "registry"} <= {
        "registry/packaging.py", "registry/pyfunc_model.py"}


def test_git_is_read_as_a_library_in_one_module_which_writes_nothing():
    """GitPython may open a repository there; what changes one goes through git's command line."""
    assert importers("git") == {"versioning/repository.py"}
    assert importers("pygit2") == set()
    written = {"index", "create_head", "create_tag", "create_remote", "config_writer", "git",
               "active_branch.checkout", "delete_head", "push", "pull", "fetch", "commit_tree"}
    used = {node.attr for node in ast.walk(tree_of(ROOT / "versioning" / "repository.py"))
            if isinstance(node, ast.Attribute)}
    assert not used & written


def test_dvc_as_a_library_stays_inside_versioning():
    """The process that serves DVC's commands may import it; nothing else may."""
    assert {place(file) for file in importers("dvc")} <= {"versioning"}


def test_only_versioning_runs_git_and_dvc():
    commands = {}
    for path in FILES:
        for node in ast.walk(tree_of(path)):
            first = node.elts[0] if isinstance(node, ast.List) and node.elts else None
            if isinstance(first, ast.Constant) and first.value in ("git", "dvc"):
                commands[path.relative_to(ROOT).as_posix()] = node.lineno
            name = getattr(getattr(node, "func", None), "attr", "")
            assert name not in ("system", "popen", "execvp"), f"{path}:{node.lineno}"
    assert commands and {place(file) for file in commands} == {"versioning"}


def test_only_four_places_start_processes():
    allowed = {"versioning": "git and DVC", "tasks": "an adapter's check in a fresh process",
               "orchestration": "the servers and the kernels",
               "compute": "what stops a cluster's jobs when the run that asked is gone"}
    assert {place(file) for file in importers("subprocess")} <= set(allowed)


def test_dagster_stays_out_of_the_library_and_the_notebooks():
    at_the_top = {path.relative_to(ROOT).as_posix() for path in FILES
                  if any(name.split(".")[0] in ("dagster", "dagstermill")
                         for name in imports(tree_of(path), top_only=True))}
    assert {place(file) for file in at_the_top} <= {"orchestration", "definitions.py"}
    anywhere = importers("dagster") | importers("dagstermill")
    assert {place(f) for f in anywhere} <= {"orchestration", "definitions.py", "cli"}


def running(tree: ast.Module) -> ast.Module:
    """Return a syntax tree without its `if TYPE_CHECKING:`."""
    return ast.Module([node for node in tree.body if not (
        isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING")], [])


def arrows() -> dict[str, set[str]]:
    """Return, for each module of ftzard, the modules of ftzard it imports anywhere.

    What a module imports for type checkers alone is left out: it never runs.
    """
    modules = {module_of(path) for path in FILES}
    found = {}
    for path in FILES:
        named = {n for n in imports(running(tree_of(path))) if n in modules}
        packages = {n.rpartition(".")[0] for n in named}  # `from a import b` means a.b, not a
        found[module_of(path)] = named - packages - {module_of(path)}
    return found


#: From the ground up: a room imports only from rooms that stand before it, and from itself.
RANKS = ("errors", "core", "config", "compute", "evaluation", "workspace", "versioning", "data",
         "modeling", "reporting", "tracking", "training", "tasks", "registry", "sources", "steps",
         "orchestration", "doctor", "api", "cli", "definitions")


def room(module: str) -> str:
    return module.split(".")[1] if "." in module else ""


def test_imports_point_down_only():
    up = sorted(f"{source} imports {target}" for source, targets in arrows().items()
                for target in targets if room(source) and room(target)
                and RANKS.index(room(target)) > RANKS.index(room(source)))
    assert up == []


def test_there_are_few_rooms_and_few_arrows_between_them():
    between = {(room(source), room(target)) for source, targets in arrows().items()
               for target in targets if room(source) and room(target)}
    between = {(source, target) for source, target in between if source != target}
    assert len({one for pair in between for one in pair}) <= 24
    assert len(between) <= 130


#: Words that say nothing of a value: name what it is (rows, version, sentence) in place of them.
VAGUE = {"chapter", "found", "held", "kept", "reigning", "said", "spare", "taken", "told"}
#: An HTTP status has its own name.
ALLOWED = {"_not_found"}


def identifiers(tree: ast.AST) -> set[str]:
    """Return the names of what a syntax tree defines: values, arguments, fields, functions."""
    names = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.arg):
            names.add(node.arg)
        elif isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            names.add(node.name)
        elif isinstance(node, (ast.Name, ast.Attribute)) and isinstance(node.ctx, ast.Store):
            names.add(node.id if isinstance(node, ast.Name) else node.attr)
    return names


def test_a_name_says_what_its_value_is():
    vague = [f"{path.relative_to(ROOT)}: {name}" for path in (*FILES, *NOTEBOOKS)
             for name in sorted(identifiers(tree_of(path)) - ALLOWED)
             if VAGUE & set(name.lower().split("_"))]
    assert vague == []


def test_no_file_is_longer_than_450_lines():
    assert [path.name for path in FILES
            if len(path.read_text(encoding="utf-8").splitlines()) > 450] == []


def test_a_task_is_named_only_in_its_folder_and_in_the_config():
    """Outside `tasks/` and `config/` nobody asks which task it is."""
    named = {f"{path.relative_to(ROOT)}: {task}" for path in (*FILES, *NOTEBOOKS)
             for task in ("instruction_tuning", "multi_label")
             if task in path.read_text(encoding="utf-8")
             and place(path.relative_to(ROOT).as_posix()) not in ("tasks", "config")}
    assert named == set()


def test_no_module_imports_itself_in_a_circle():
    edges, done, path = arrows(), set(), []

    def visit(module):
        assert module not in path, " → ".join([*path[path.index(module):], module])
        if module in done:
            return
        path.append(module)
        for target in sorted(edges[module]):
            visit(target)
        path.pop()
        done.add(module)

    for module in sorted(edges):
        visit(module)


def test_no_asset_selection_is_a_string():
    """Dagster's parser of selection strings breaks beside hydra's, so none may be used."""
    for path in FILES:
        for node in ast.walk(tree_of(path)):
            if isinstance(node, ast.Call):
                name = getattr(node.func, "attr", getattr(node.func, "id", ""))
                assert name != "from_string" and not (
                    name == "AssetSelection" and node.args), f"{path}:{node.lineno}"
                for word in node.keywords:
                    if word.arg in ("asset_selection", "selection", "target", "monitored_assets"):
                        assert not isinstance(word.value, ast.Constant), f"{path}:{node.lineno}"
                if name in ("define_asset_job", "sensor", "run_status_sensor"):
                    assert not any(isinstance(a, ast.Constant) for a in node.args[1:])


# The notebooks


def test_every_step_has_its_notebook_and_no_notebook_is_extra():
    steps = {s.notebook for s in STEPS}
    packaged = {task: set(notebook_copies.packaged(task)) for task in task_names()}
    for task, names in packaged.items():
        assert {f"{step}.ipynb" for step in (*steps, "Git_Dvc")} <= names, task
    every = {Path(name).stem for names in packaged.values() for name in names}
    assert every == steps | set(BESIDE_THE_STEPS)


@pytest.mark.parametrize("path", NOTEBOOKS,
                         ids=lambda p: p.relative_to(PACKAGED_NOTEBOOKS).as_posix())
class TestNotebook:
    def test_is_a_valid_notebook_without_outputs(self, path):
        notebook = nbformat.read(path, as_version=4)
        nbformat.validate(notebook)
        for cell in notebook.cells:
            if cell.cell_type == "code":
                assert cell.outputs == [] and cell.execution_count is None, cell.source

    def test_defines_nothing_and_loops_over_nothing(self, path):
        kinds = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.For, ast.AsyncFor,
                 ast.While, ast.Try, ast.With)
        found = [type(n).__name__ for n in ast.walk(tree_of(path)) if isinstance(n, kinds)]
        assert found == []

    def test_has_one_parameters_cell_that_runs_as_it_stands(self, path):
        tagged = [c for c in nbformat.read(path, as_version=4).cells
                  if "parameters" in c.metadata.get("tags", [])]
        assert len(tagged) == 1 and tagged[0].cell_type == "code"
        namespace = {}
        exec(tagged[0].source, namespace)
        step = next((s for s in STEPS if s.notebook == path.stem), None)
        wanted = {"overrides"} | (set(step.takes) if step else BESIDE_THE_STEPS[path.stem])
        wanted |= {BY_NAME[step.after].metadata} if step and step.after else set()
        assert set(namespace) - {"__builtins__"} == wanted
        assert namespace["overrides"] == []

    def test_opens_with_a_heading_and_two_lines_of_why(self, path):
        first = nbformat.read(path, as_version=4).cells[0]
        assert first.cell_type == "markdown"
        heading, *why = first.source.splitlines()
        assert heading.startswith("# ") and len([line for line in why if line.strip()]) == 2

    def test_is_short_enough_to_be_read_in_one_sitting(self, path):
        cells = [c for c in nbformat.read(path, as_version=4).cells if c.cell_type == "code"]
        assert len(cells) <= 10 and max(len(c.source.splitlines()) for c in cells) <= 30
        assert all(len(line) <= 100 for c in cells for line in c.source.splitlines())


# The code location


def fresh(code: str) -> str:
    done = subprocess.run([sys.executable, "-c", code], text=True, capture_output=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_code_location_loads_nothing_heavy():
    heavy = ("torch", "transformers", "peft", "bitsandbytes", "mlflow", "dvc", "pandas",
             "sklearn", "matplotlib", "optuna", "hydra", "rfc3987_syntax")
    loaded = json.loads(fresh(
        "import json, sys, ftzard.definitions; "
        f"print(json.dumps([n for n in {heavy!r} if n in sys.modules]))"))
    assert loaded == []


def test_what_a_job_process_says_and_prints_before_its_first_step_is_light():
    loaded = fresh("import sys, ftzard.cli, ftzard.steps.inputs, ftzard.orchestration.launch, "
                   "ftzard.workspace.workspace; heavy = ('torch', 'mlflow', 'dagster', 'pandas'); "
                   "print([n for n in heavy if n in sys.modules])")
    assert loaded.strip() == "[]"


def test_every_command_is_in_the_table_and_asking_for_one_imports_only_its_module():
    from importlib import import_module

    from typer.main import get_group

    found = {}
    for module in sorted(set(COMMANDS.values())):
        commands = get_group(import_module(f"ftzard.cli.{module}").app).commands
        found |= dict.fromkeys(commands, module)
    assert found == COMMANDS
    loaded = fresh("import sys, ftzard.cli.start as start; start.Lazy()['promote']; "
                   "print(sorted(n for n in sys.modules if n.startswith('ftzard.cli.')))")
    assert ast.literal_eval(loaded) == [f"ftzard.cli.{name}" for name in (
        "arguments", "completion", "layout", "output", "printing", "registry", "start")]


@pytest.mark.parametrize("name", JOBS)
def test_each_job_has_a_ready_yaml_that_its_config_schema_takes(name):
    file = PACKAGED / "dagster" / f"{name}.yaml"
    job = definitions.defs.resolve_job_def(name)
    values = yaml.safe_load(file.read_text(encoding="utf-8"))
    assert validate_run_config(job, values)
    assert file.read_text(encoding="utf-8").startswith(f"# {name}: ")


def test_there_is_no_yaml_without_a_job():
    assert {p.stem for p in (PACKAGED / "dagster").glob("*.yaml")} == set(JOBS)


@pytest.mark.parametrize("name", JOBS)
def test_a_job_runs_its_steps_in_order_each_followed_by_git_where_it_yields(name):
    job = definitions.defs.resolve_job_def(name)
    expected = []
    for step in (BY_NAME[n] for n in JOBS[name]):
        expected += [step.name, *([f"Git_Dvc_{step.name}"] if step.versioned else [])]
    assert [node.name for node in job.nodes_in_topological_order] == expected


def test_a_launchpad_key_that_does_not_exist_is_refused_before_anything_runs():
    job = definitions.defs.resolve_job_def("tuning_job")
    for wrong in ({"training": {"epoch": 1}}, {"training": {"epochs": "many"}},
                  {"model": {"choice": "falcon_8b"}}, {"trainnig": {}}):
        with pytest.raises(Exception, match="experiment"):
            validate_run_config(job, {"resources": {"experiment": {"config": wrong}}})


def test_the_table_of_steps_is_the_design_s():
    assert [s.run_name for s in STEPS] == [
        "DATA_CLEANING", "DATA_PREPROCESSING", "INFERENCE_PREPROCESSING", "HP_TUNING",
        "CHOOSE_BEST_MODEL", "INFERENCE", "DATA_SAMPLING", "RETRAINING", "EVALUATION"]
    assert len(JOBS) == len(STEPS) + len(CHAINS) == 12
    assert all(s.versioned for s in STEPS if s.yields)


def test_sensors_are_on_schedules_off_and_every_artifact_has_its_page():
    sensors = {s.name: s.default_status.value for s in definitions.defs.sensors}
    assert sensors == dict.fromkeys(
        ("incoming_sensor", "raw_incoming_sensor", "labelled_sensor", "dead_run_sensor",
         "failed_run_sensor", "cancelled_run_sensor"),
        "RUNNING")
    schedules = {s.name: s.default_status.value for s in definitions.defs.schedules}
    assert schedules == dict.fromkeys(
        ("incoming_schedule", "raw_incoming_schedule", "labelled_schedule"), "STOPPED")
    keys = {key.to_user_string() for spec in definitions.defs.assets for key in [spec.key]}
    assert keys == {name for step in STEPS for name in step.yields} | {
        "delivery", "incoming", "labelled", "trials", "model_version", "champion", "report"}


def test_the_assets_are_one_graph_from_delivery_to_champion_and_report():
    made_of = {spec.key.to_user_string(): {dep.asset_key.to_user_string() for dep in spec.deps}
               for spec in definitions.defs.assets}
    before = {name: set(deps) for name, deps in made_of.items()}
    for _ in made_of:
        before = {name: deps.union(*(before[dep] for dep in deps)) for name, deps in before.items()}
    assert not [name for name, earlier in before.items() if name in earlier]  # no circle
    for end in ("champion", "report", "labelled"):
        assert {"delivery", "cleaned", "tokenized", "trials", "model_version"} <= before[end], end
    assert "incoming" in before["predictions"] and "predictions" in before["queue"]
    assert all(spec.description and spec.group_name == "round" for spec in definitions.defs.assets)
    starts = {name for name, earlier in before.items() if not earlier}
    assert starts == {"delivery", "incoming"}


def test_jobs_sensors_and_schedules_say_what_they_are_for():
    for thing in (*definitions.jobs.values(), *definitions.defs.sensors,
                  *definitions.defs.schedules):
        assert len(thing.description.split()) >= 5, thing.name
    assert "Step7_Retraining" in definitions.jobs["retraining_pipeline_job"].description


def test_dagster_validates_the_definitions(tool, tmp_path):
    done = tool("dagster", "definitions", "validate", "-m", "ftzard.definitions", at=tmp_path,
                DAGSTER_HOME="")
    assert done.returncode == 0, done.stdout
    assert "All code locations passed validation" in done.stdout
