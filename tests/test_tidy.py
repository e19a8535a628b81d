"""House rules that a linter does not know: sizes, names, and libraries that live in one file."""

import ast
import subprocess
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
FLOORS = ("crdt", "storage", "server", "syncline")
PRODUCT = sorted(path for floor in FLOORS for path in (ROOT / floor).rglob("*.py"))
TABOO = ("utils", "helpers", "common", "misc", "manager", "handler", "base", "core")
MAX_FILE_LINES = 400
MAX_FUNCTION_LINES = 70
MAX_ROOT_ENTRIES = 20


def relative(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


@cache
def tree_of(path: Path) -> ast.Module:
    return ast.parse(path.read_text())


@pytest.mark.parametrize("path", PRODUCT, ids=relative)
def test_files_and_functions_are_short_enough_to_read(path: Path) -> None:
    assert path.read_text().count("\n") <= MAX_FILE_LINES
    for node in ast.walk(tree_of(path)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            assert (node.end_lineno or 0) - node.lineno < MAX_FUNCTION_LINES, node.name


@pytest.mark.parametrize("path", PRODUCT, ids=relative)
def test_modules_are_named_and_described(path: Path) -> None:
    assert not any(word in TABOO for word in path.stem.split("_"))
    if path.read_text().strip():
        assert ast.get_docstring(tree_of(path))


def importers_of(package: str, name: str = "") -> set[str]:
    """Product files that import a package, or one name from it."""
    return {relative(path) for path in PRODUCT if (package, name) in imports_of(path)}


@cache
def imports_of(path: Path) -> set[tuple[str, str]]:
    """(top-level package, imported name) for everything a file imports; "" for the package itself."""
    found: set[tuple[str, str]] = set()
    for node in ast.walk(tree_of(path)):
        if isinstance(node, ast.ImportFrom):
            package = (node.module or "").split(".")[0]
            found.update((package, name) for name in ("", *(alias.name for alias in node.names)))
        elif isinstance(node, ast.Import):
            found.update((alias.name.split(".")[0], "") for alias in node.names)
    return found


def test_live_documents_exist_behind_one_file_of_the_engine_and_one_of_the_sdk() -> None:
    assert importers_of("pycrdt", "Doc") == {"crdt/document.py", "syncline/replica.py"}


def test_the_websocket_library_is_known_to_one_file() -> None:
    assert importers_of("picows") == {"server/websocket/picows.py"}


def test_tokens_are_signed_in_one_file() -> None:
    assert importers_of("jwt") == {"server/auth/tokens.py"}


def test_the_root_stays_small() -> None:
    tracked = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout.split()
    assert len({path.split("/")[0] for path in tracked}) < MAX_ROOT_ENTRIES


def test_every_document_that_is_linked_exists() -> None:
    for document in [ROOT / "README.md", ROOT / "ARCHITECTURE.md", *(ROOT / "docs").rglob("*.md")]:
        for part in document.read_text().split("](")[1:]:
            target = part.split(")")[0].split("#")[0]
            if target and "://" not in target:
                assert (document.parent / target).exists(), f"{relative(document)} links to {target}"
