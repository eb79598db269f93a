"""The package is laid out as docs/architecture.md says: who may import whom, no circles, nothing in the root, no long files."""

import ast
import pkgutil
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "src" / "proxymask"
MODULES = {path.relative_to(PACKAGE).with_suffix("").parts: path for path in PACKAGE.rglob("*.py")}
MODULES = {name[:-1] if name[-1] == "__init__" else name: path for name, path in MODULES.items()}
MAX_LINES = 500


def imports(name: tuple[str, ...]) -> set[tuple[str, ...]]:
    """The modules of this package that module ``name`` imports anywhere, also inside functions and for type checking only."""
    path, found = MODULES[name], set()
    package = name if path.name == "__init__.py" else name[:-1]
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {tuple(entry.name.split(".")[1:]) for entry in node.names if entry.name.split(".")[0] == "proxymask"}
        if not isinstance(node, ast.ImportFrom):
            continue
        parts = tuple(node.module.split(".")) if node.module else ()
        if node.level:
            base = (*package[: len(package) - node.level + 1], *parts)
        elif parts[:1] == ("proxymask",):
            base = parts[1:]
        else:
            continue
        for entry in node.names:
            found.add((*base, entry.name) if (*base, entry.name) in MODULES else base)
    return (found & MODULES.keys()) - {name}


GRAPH = {name: imports(name) for name in MODULES}


def reachable(start: tuple[str, ...]) -> set[tuple[str, ...]]:
    """All modules that ``start`` imports, directly or through others."""
    seen, todo = set(), list(GRAPH[start])
    while todo:
        module = todo.pop()
        if module not in seen:
            seen.add(module)
            todo += GRAPH[module]
    return seen


def documented() -> dict[str, set[str]]:
    """Package -> packages that it may import, from the table of docs/architecture.md."""
    text = (ROOT / "docs" / "architecture.md").read_text()
    rows = re.findall(r"^\| `(\w+)/` \|.*\| ([^|]*) \|$", text, flags=re.MULTILINE)
    return {name: set(re.findall(r"`(\w+)`", allowed)) for name, allowed in rows}


def test_the_root_holds_packages_only():
    assert sorted(path.name for path in PACKAGE.glob("*.py")) == ["__init__.py", "__main__.py"]


def test_no_import_circles():
    circles = sorted(".".join(name) for name in MODULES if name in reachable(name))
    assert not circles


@pytest.mark.parametrize("package", sorted({name[0] for name in MODULES if len(name) > 1}))
def test_imports_go_the_way_the_architecture_page_says(package: str):
    allowed = documented()
    assert package in allowed, "docs/architecture.md has no row for this package"
    used = {found[0] for name, targets in GRAPH.items() if name[:1] == (package,) for found in targets if found}
    assert used - {package} <= allowed[package]


def test_no_file_is_long():
    folders = ("src", "tests", "benchmarks", "examples")
    counted = {path: len(path.read_text().splitlines()) for folder in folders for path in (ROOT / folder).rglob("*.py")}
    assert not {str(path.relative_to(ROOT)): lines for path, lines in counted.items() if lines > MAX_LINES}


def test_the_documented_modules_exist():
    text = (ROOT / "docs" / "architecture.md").read_text()
    named = re.findall(
        r"`((?:core|imaging|models|checkpoints|conditions|data|inference|training|metrics|evaluation|studio|cli)/[\w/]+\.py)`", text
    )
    assert named
    assert not [name for name in named if not (PACKAGE / name).is_file()]


def test_the_targets_of_cross_references_exist():
    found = {target for path in MODULES.values() for target in re.findall(r":\w+:`~?(proxymask[\w.]+)`", path.read_text())}
    assert found
    for target in sorted(found):
        pkgutil.resolve_name(target)
