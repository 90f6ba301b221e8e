"""The way of the data is the way of the imports: no folder imports one that comes after it."""

from __future__ import annotations

import ast
import graphlib
import importlib
import re
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import jaxvjp_magic

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.any_jax
PACKAGE = Path(jaxvjp_magic.__file__).parent
# In the order in which data flows, as far as code relies on code: each may import those before it, and itself.
ORDER = (
    "versions", "catalogue", "record", "jax_compat", "introspect", "results", "source", "retracing", "verify",
    "recording", "instrument", "checks", "rendering", "report", "analyse", "session", "notebook", "runners", "cli",
    "__main__", "",
)  # fmt: skip
WITHOUT_JAX = ("versions", "catalogue", "record", "results", "source", "checks", "rendering", "report")
MODULES = {
    ".".join(path.relative_to(PACKAGE).with_suffix("").parts).removesuffix("__init__").removesuffix("."): path
    for path in PACKAGE.rglob("*.py")
}


def imported(module: str, *, for_types: bool) -> Iterator[str]:
    """The modules that a module names in its imports, those inside functions too."""
    tree = ast.parse(MODULES[module].read_text(encoding="utf-8"))
    skipped = {
        inner
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING" and not for_types
        for inner in ast.walk(node)
    }
    for node in ast.walk(tree):
        if node in skipped:
            continue
        if isinstance(node, ast.Import):
            yield from (name.name for name in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{module} has a relative import"
            for name in node.names:
                full = f"{node.module}.{name.name}"
                yield full if full.removeprefix("jaxvjp_magic.") in MODULES else str(node.module)


def ours(module: str, *, for_types: bool) -> set[str]:
    """Of these the package's own, without its name."""
    found = imported(module, for_types=for_types)
    return {name.removeprefix("jaxvjp_magic").removeprefix(".") for name in found if name.startswith("jaxvjp_magic")}


def folder(module: str) -> str:
    return module.split(".", maxsplit=1)[0]


def test_every_folder_has_its_place():
    assert {folder(module) for module in MODULES} == set(ORDER)


@pytest.mark.parametrize("module", MODULES)
def test_no_import_runs_back(module):
    """Also not for types alone, or inside a function."""
    later = {one for one in ours(module, for_types=True) if ORDER.index(folder(one)) > ORDER.index(folder(module))}
    assert not later


def test_no_modules_import_each_other():
    """Not in a circle, either."""
    graphlib.TopologicalSorter({module: ours(module, for_types=False) - {module} for module in MODULES}).prepare()


@pytest.mark.parametrize("module", [module for module in MODULES if folder(module) in WITHOUT_JAX])
def test_what_is_no_part_of_the_tracing_imports_neither_jax_nor_ipython(module):
    """A report can be read and shown wherever its JSON goes."""
    assert not {name.split(".")[0] for name in imported(module, for_types=True)} & {"jax", "jaxlib", "IPython"}


@pytest.mark.parametrize("module", MODULES)
def test_one_folder_touches_what_is_private_in_jax(module):
    """When a version of JAX moves something, one folder has to follow."""
    text = MODULES[module].read_text(encoding="utf-8")
    private = [name for name in imported(module, for_types=True) if name.startswith(("jax._src", "jaxlib"))]
    in_text = [node for node in ast.walk(ast.parse(text)) if isinstance(node, ast.Attribute) and node.attr == "_src"]
    by_name = re.search(r"jax\._src\.\{", text)
    assert folder(module) == "jax_compat" or not (private or in_text or by_name)


SCRIPTS = [path for folder in ("benchmarks", "docs") for path in (PACKAGE.parent / folder).glob("*.py")]


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.name)
def test_what_scripts_beside_the_package_import_is_there(script):
    """Nothing else runs them each time."""
    for node in ast.walk(ast.parse(script.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and str(node.module).startswith("jaxvjp_magic"):
            module = importlib.import_module(str(node.module))
            assert [name.name for name in node.names if not _has(module, name.name)] == []


VAGUE = {"one", "known", "some", "those", "another"}


@pytest.mark.parametrize("module", MODULES)
def test_locals_say_what_they_are(module):
    """No variable and no parameter has a name that could be that of anything."""
    names = (
        node.id if isinstance(node, ast.Name) else node.arg
        for node in ast.walk(ast.parse(MODULES[module].read_text(encoding="utf-8")))
        if (isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)) or isinstance(node, ast.arg)
    )
    assert not VAGUE & set(names)


def _has(module, name):
    return hasattr(module, name) or f"{module.__name__}.{name}".removeprefix("jaxvjp_magic.") in MODULES
