"""The rules of the house (CONTRIBUTING.md), held by tests because prose does not hold them."""

from __future__ import annotations

import ast
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PACKAGES = ("judges", "rollouts", "rewards", "rl", "conf")
MAX_FILE_LINES = 450
MAX_FUNCTION_LINES = 50
MAX_COLUMNS = 120
# Source files in one folder, its `__init__.py` not counted: a drawer that holds more wants rooms.
MAX_FILES = 12
SOURCES = {".py", ".js", ".css", ".html"}
# The branches of the densest function (McCabe's number, ruff C901). Whoever simplifies it lowers this number with it.
MAX_COMPLEXITY = 11

# What reads a multiple-choice answer, in lines together, every line counted: a rule more is a phrase of words.yaml or
# an unclear answer, and no special case.
CHOICE_READER = ("read", "wrappers", "mentions", "clauses", "statement", "words", "text")
MAX_CHOICE_READER_LINES = 1_000

# What each package may import of the others; "rollouts.records" allows that module only.
MAY_IMPORT = {
    "conf": (),
    # Leaves that load next to nothing: the supervisor of child processes, the console and tables of `judges.calibrate`,
    # the one way to open people's text files.
    "judges": ("rollouts.children", "rollouts.terminal", "rollouts.texts"),
    "rollouts": (),
    # The reader, because `rewards.check` scores stored rollouts; it loads no torch either.
    "rewards": (
        "judges",
        "rollouts.children",
        "rollouts.records",
        "rollouts.media",
        "rollouts.rows",
        "rollouts.store",
        "rollouts.annotations",
        "rollouts.nearest",
        "rollouts.terminal",
        "rollouts.texts",
    ),
    "rl": ("judges", "rollouts", "rewards", "conf"),
}
# Commands that bear a package's name and know more than the package does. Nothing imports them, so that no package
# learns what they know.
COMMANDS = {"judges/calibrate.py": ("rewards.graded_cases", "rl.config.door", "rl.run.progress")}
# The rooms and top files of each package. A room imports what stands to its left, and itself; nothing to its right.
ROOMS = {
    "judges": "settings verdict cases gateway guards model local rules build __init__ calibration calibrate",
    "rollouts": "annotations nearest terminal texts children measures records imaging media rows store prompt"
    " engine page transcript view diff check",
    "rewards": "contract registry answers relabelled maths metrics shipped calling plugins binding rubric scorer"
    " __init__ graded_cases adapters check",
    "rl": "algo statistics config data probes policy workers refusals protocols drawing prompts step refill run curate"
    " benchmarks sft stages evaluate compare report doctor replay export grpo training staged recipe train",
}
# The one file of the packages that may import a heavy dependency. Everything else stays light and replaceable. And the
# one that guesses which name was meant.
HOMES = {
    "av": "rollouts/imaging/video/reader.py",
    "difflib": "rollouts/nearest.py",
    "httpx2": "judges/gateway/client.py",
    "hydra": "rl/config/door.py",
    "nibabel": "rollouts/imaging/nifti/reader.py",
    "omegaconf": "rl/config/door.py",
    "openai": "judges/gateway/client.py",
    "peft": "rl/policy/lora.py",
    "pydicom": "rollouts/imaging/dicom/files.py",
    "radeval": "rewards/metrics/door_child.py",
    "ray": "rl/workers/cluster.py",
    "sacrebleu": "rewards/metrics/bleu.py",
    "sympy": "rewards/maths/sympy_child.py",
    # The oracle of tests: what runs does not import it.
    "trl": "tests/rl/sft/test_oracle.py",
    "verl": "rl/workers/cluster.py",
    "vllm": "rollouts/engine/vllm.py",
    "wandb": "rl/run/tracking.py",
}
HEAVY = ("torch", "transformers", "vllm", "ray", "verl", "trl", "wandb", "datasets", "hydra")
CODE_FROM_DATA = ("pickle", "cPickle", "cloudpickle", "dill", "marshal", "shelve", "joblib")
PRAGMA = re.compile(r"  # (?:type: ignore|noqa)\b.*$")
BAD_NAME = re.compile(r"^(utils?|common|core|helpers?|misc)$|_utils?$|^base_|_v\d+$")
# Names that leave open what it is that was found, told or said.
PARTICIPLES = frozenset({"found", "told", "asked", "judged", "covered", "said"})
# Names of one workplace that mean nothing to a reader elsewhere, spelled in parts so that this file does not name them.
WORKPLACE = tuple(
    "/".join(("", *parts)) for parts in (("work", "main"), ("work", "shared"), ("opt", "wheels"), ("opt", "pypi"))
)
TEXT_ENDINGS = {".py", ".md", ".yaml", ".toml", ".txt", ".html", ".jinja", ".json", ""}


def package_files() -> list[Path]:
    return sorted(path for package in PACKAGES for path in (ROOT / package).rglob("*.py"))


def all_python() -> list[Path]:
    others = (path for folder in ("tests", "examples", "requirements") for path in (ROOT / folder).rglob("*.py"))
    return sorted([*package_files(), *others])


@cache
def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"), filename=str(path))


def name_of(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def imports(path: Path) -> Iterator[tuple[int, str]]:
    """Line and dotted name of everything a file imports, inside functions too; `from a import b` gives "a.b"."""
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{name_of(path)}:{node.lineno} imports relatively; write the package's name"
            yield from ((node.lineno, f"{node.module}.{alias.name}") for alias in node.names)


def within(name: str, allowed: str) -> bool:
    return name == allowed or name.startswith(allowed + ".")


def calls(path: Path) -> Iterator[tuple[ast.Call, str]]:
    """Every call of a file with the dotted name of what is called ("" where it has none)."""
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Call):
            yield node, dotted(node.func)


def dotted(node: ast.expr) -> str:
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute):
        before = dotted(node.value)
        return f"{before}.{node.attr}"
    return ""


def report(faults: list[str], rule: str) -> None:
    assert not faults, rule + "\n" + "\n".join(faults)


def test_packages_import_only_what_the_house_allows() -> None:
    faults = []
    for path in package_files():
        package = name_of(path).split("/")[0]
        allowed = (package, *MAY_IMPORT[package], *COMMANDS.get(name_of(path), ()))
        for line, name in imports(path):
            if name.split(".")[0] in (*PACKAGES, "tests", "examples") and not any(within(name, ok) for ok in allowed):
                faults.append(f"{name_of(path)}:{line} imports {name}; {package} may import {allowed}")
            if any(within(name, command.removesuffix(".py").replace("/", ".")) for command in COMMANDS):
                faults.append(f"{name_of(path)}:{line} imports {name}, which is a command and no library")
    report(faults, "import directions")


def module_of(path: Path) -> str:
    """The dotted name a file is imported by; `a/b/__init__.py` is "a.b"."""
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


@cache
def graph() -> dict[str, set[str]]:
    """Which module of the packages imports which, inside functions too."""
    modules = {module_of(path): path for path in package_files()}

    def owner(name: str) -> str | None:
        """The module a dotted name lies in: "rl.config.Config" is of "rl.config"."""
        while name and name not in modules:
            name = name.rpartition(".")[0]
        return name or None

    return {
        module: {target for _, name in imports(path) if (target := owner(name)) and target != module}
        for module, path in modules.items()
    }


def circles(edges: dict[str, set[str]]) -> list[list[str]]:
    """The circles of a directed graph: what remains when nodes that import nothing, or that nobody imports, are taken
    away again and again."""
    rest = {node: set(targets) for node, targets in edges.items()}
    while True:
        imported = set().union(*rest.values()) if rest else set()
        ends = {node for node, targets in rest.items() if not targets & rest.keys() or node not in imported}
        if not ends:
            return [[node, *sorted(targets & rest.keys())] for node, targets in sorted(rest.items())]
        rest = {node: targets & (rest.keys() - ends) for node, targets in rest.items() if node not in ends}


def test_no_circle_of_files() -> None:
    assert circles({"a": {"b"}, "b": {"c"}, "c": {"a"}, "d": {"a"}, "e": set()}) == [["a", "b"], ["b", "c"], ["c", "a"]]
    assert circles({"a": {"b", "c"}, "b": {"c"}, "c": set()}) == []
    report([" -> ".join(circle) for circle in circles(graph())], "files that import each other in a circle")


def room_of(path: Path) -> str:
    """The room or top file of a package that a file belongs to: "rl/algo/losses.py" is of "algo"."""
    return path.relative_to(ROOT).with_suffix("").parts[1]


def test_rooms_import_only_what_stands_to_their_left() -> None:
    modules = {module_of(path): path for path in package_files()}
    faults = []
    for package, text in ROOMS.items():
        order = text.split()
        there = {room_of(path) for path in package_files() if name_of(path).startswith(f"{package}/")}
        unlisted, gone = sorted(there - {*order, "__init__"}), sorted(set(order) - there)
        faults += [f"{package}/{room} is not in ROOMS" for room in unlisted]
        faults += [f"{package}/{room} is in ROOMS and not in the tree" for room in gone]
        for module, targets in graph().items():
            for target in targets:
                if {module.split(".")[0], target.split(".")[0]} != {package}:
                    continue
                importer, imported = room_of(modules[module]), room_of(modules[target])
                if importer in order and imported in order and order.index(imported) > order.index(importer):
                    faults.append(f"{module} imports {target}: {imported} stands to the right of {importer}")
    report(faults, "import directions between the rooms of a package")


def test_a_folder_holds_few_files() -> None:
    folders: dict[Path, list[Path]] = {}
    for top in (*PACKAGES, "tests", "examples", "requirements"):
        for path in (ROOT / top).rglob("*"):
            if path.suffix in SOURCES and path.name != "__init__.py":
                folders.setdefault(path.parent, []).append(path)
    faults = [
        f"{name_of(folder)}/ holds {len(files)} files, at most {MAX_FILES}"
        for folder, files in sorted(folders.items())
        if len(files) > MAX_FILES
    ]
    report(faults, "rooms instead of drawers")


def test_every_room_says_what_lives_there() -> None:
    inits = [path for package in PACKAGES for path in (ROOT / package).rglob("__init__.py")]
    assert len(inits) > len(ROOMS)
    report(
        [name_of(path) for path in inits if not ast.get_docstring(tree(path))],
        "a room's __init__ says in a sentence what lives there",
    )


def test_branches_are_few_and_their_number_only_falls() -> None:
    asked = ["check", "--select", "C901", "--output-format", "json", "--isolated", "--config"]
    command = [sys.executable, "-m", "ruff", *asked, f"lint.mccabe.max-complexity={MAX_COMPLEXITY - 1}"]
    places = [str(ROOT / top) for top in (*PACKAGES, "tests", "examples", "requirements")]
    done = subprocess.run([*command, *places], capture_output=True, text=True, timeout=60)
    found = [
        (
            int(re.search(r"\((\d+) > ", fault["message"])[1]),
            f"{fault['filename']}:{fault['location']['row']} {fault['message']}",
        )
        for fault in json.loads(done.stdout)
    ]
    report([text for number, text in found if number > MAX_COMPLEXITY], "too many branches in one function")
    assert found, (
        f"no function has {MAX_COMPLEXITY} branches any more: lower MAX_COMPLEXITY, and pyproject.toml with it"
    )


def test_each_heavy_dependency_has_one_home() -> None:
    faults = [
        f"{name_of(path)}:{line} imports {name}; its one home is {HOMES[name.split('.')[0]]}"
        for path in package_files()
        for line, name in imports(path)
        if HOMES.get(name.split(".")[0], name_of(path)) != name_of(path)
    ]
    report(faults, "one home for each heavy dependency")


def test_files_and_functions_are_short() -> None:
    faults = []
    for path in all_python():
        num_lines = len(path.read_text(encoding="utf-8").splitlines())
        faults += [  # a pragma behind the code is for the tools
            f"{name_of(path)}:{number} has {len(line)} columns, at most {MAX_COLUMNS}"
            for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1)
            if len(PRAGMA.sub("", line)) > MAX_COLUMNS
        ]
        if num_lines > MAX_FILE_LINES:
            faults.append(f"{name_of(path)} has {num_lines} lines, at most {MAX_FILE_LINES}")
        for node in ast.walk(tree(path)):
            if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
                num_lines = (node.end_lineno or node.lineno) - node.lineno + 1
                if num_lines > MAX_FUNCTION_LINES:
                    faults.append(
                        f"{name_of(path)}:{node.lineno} {node.name} has {num_lines} lines, at most {MAX_FUNCTION_LINES}"
                    )
    report(faults, "sizes")


def test_the_reader_of_multiple_choice_stays_small() -> None:
    paths = [ROOT / "rewards" / "answers" / f"{name}.py" for name in CHOICE_READER]
    lines = {name_of(path): len(path.read_text(encoding="utf-8").splitlines()) for path in paths}
    assert sum(lines.values()) <= MAX_CHOICE_READER_LINES, f"at most {MAX_CHOICE_READER_LINES} lines together: {lines}"


def test_no_file_is_named_after_nothing() -> None:
    faults = [
        name_of(path)
        for path in all_python()
        if any(BAD_NAME.search(Path(part).stem) for part in path.relative_to(ROOT).parts)
    ]
    report(faults, "no utils, common, core, base_ or _v2: a file is named after what it holds")


def names_bound_in(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """Every name that a file gives: to variables, arguments, functions, classes and attributes; with its line."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            yield node.lineno, node.id
        elif isinstance(node, ast.arg):
            yield node.lineno, node.arg
        elif isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            yield node.lineno, node.name
        elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store):
            yield node.lineno, node.attr


def test_names_are_no_participles() -> None:
    examples = (path for path in (ROOT / "examples").rglob("*.py"))
    faults = [
        f"{name_of(path)}:{line} {name}"
        for path in (*package_files(), *examples)
        for line, name in (
            *names_bound_in(ast.parse(path.read_text(encoding="utf-8"))),
            (1, path.stem),
        )
        if name.strip("_").lower() in PARTICIPLES
    ]
    report(faults, "a name is a noun that says what it holds, or a verb that says what it does")


def test_rewards_judges_and_records_load_no_torch() -> None:
    code = f"import rewards, judges, rollouts.records, sys; print([name for name in {HEAVY!r} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "[]", f"loaded by an import that should be light: {done.stdout}"


def test_nothing_runs_code_from_text_or_data() -> None:
    faults = []
    examples = (path for path in (ROOT / "examples").rglob("*.py"))
    for path in (*package_files(), *examples):
        faults += [
            f"{name_of(path)}:{line} imports {name}"
            for line, name in imports(path)
            if name.split(".")[0] in CODE_FROM_DATA
        ]
        faults += [
            f"{name_of(path)}:{call.lineno} calls {name}"
            for call, name in calls(path)
            if name in ("eval", "exec", "torch.load")
        ]
    report(faults, "no eval, no exec, no pickle: model text and files are data")


def test_zip_is_strict_everywhere() -> None:
    faults = [
        f"{name_of(path)}:{call.lineno}"
        for path in all_python()
        for call, name in calls(path)
        if name == "zip" and not any(keyword.arg == "strict" for keyword in call.keywords)
    ]
    report(faults, "zip needs strict=True (or strict=False where a shorter end is meant)")


def test_config_is_read_by_attribute_behind_the_door() -> None:
    faults = [
        f"{name_of(path)}:{call.lineno} calls {name}"
        for path in package_files()
        for call, name in calls(path)
        if name in ("config.get", "cfg.get") and name_of(path) != "rl/config/door.py"
    ]
    report(faults, "config is a typed tree, not a dictionary")


def test_skipped_tests_say_why() -> None:
    faults = []
    for path in sorted((ROOT / "tests").rglob("*.py")):
        for call, name in calls(path):
            if name in ("pytest.skip", "pytest.xfail") and not (call.args or call.keywords):
                faults.append(f"{name_of(path)}:{call.lineno} {name} without a reason")
            needs_reason = ("pytest.mark.skip", "pytest.mark.skipif", "pytest.mark.xfail")
            if name in needs_reason and not any(keyword.arg == "reason" for keyword in call.keywords):
                faults.append(f"{name_of(path)}:{call.lineno} {name} without reason=")
        bare = [node for node in ast.walk(tree(path)) if isinstance(node, (ast.FunctionDef, ast.ClassDef))]
        for node in bare:
            faults += [f"{name_of(path)}:{node.lineno} bare @{dotted(d)}" for d in node.decorator_list
                       if dotted(d) in ("pytest.mark.skip", "pytest.mark.xfail")]  # fmt: skip
    report(faults, "a test that does not run says why")


def test_every_test_asserts_something() -> None:
    faults = []
    for path in sorted((ROOT / "tests").rglob("test_*.py")):
        for node in tree(path).body:
            if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)) and node.name.startswith("test_"):
                inside = list(ast.walk(node))
                called = [dotted(n.func).split(".")[-1] for n in inside if isinstance(n, ast.Call)]
                telling = any(re.match(r"assert|check|raises$|warns$|report$|fail$", name) for name in called)
                if not telling and not any(isinstance(n, ast.Assert) for n in inside):
                    faults.append(f"{name_of(path)}:{node.lineno} {node.name}")
    report(faults, "a test without an assertion proves nothing")


def test_every_module_and_public_function_is_explained() -> None:
    faults = []
    for path in package_files():
        if path.name != "__init__.py" and not ast.get_docstring(tree(path)):
            faults.append(f"{name_of(path)} has no docstring")
        for node in tree(path).body:
            public = isinstance(
                node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
            ) and not node.name.startswith("_")
            if public and not ast.get_docstring(node):
                faults.append(f"{name_of(path)}:{node.lineno} {node.name} has no docstring")
    report(faults, "public things carry a docstring")


@pytest.mark.parametrize("workplace", WORKPLACE)
def test_no_file_names_the_place_it_was_written_in(workplace: str) -> None:
    folders = (*PACKAGES, "tests", "examples", "requirements", ".ci")
    inside = (path for folder in folders for path in (ROOT / folder).rglob("*"))
    files = [
        path
        for path in (*ROOT.glob("*"), *inside)
        if path.is_file() and path.name != ".git" and path.suffix in TEXT_ENDINGS
    ]
    report(
        [name_of(path) for path in files if workplace in path.read_text(errors="replace")],
        f"{workplace} means nothing elsewhere",
    )
