"""The wheel, installed where nothing else is: what lies where, what is shown, and what is left when it is gone."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[1]
BUILT = Path("jaxvjp_magic") / "labextension"
PLACE = Path("share") / "jupyter" / "labextensions" / "jaxvjp-magic"
pytestmark = [pytest.mark.xdist_group("wheel"), pytest.mark.any_jax]  # built once


def run(*command, **environment):
    """Run a program to its end; what it prints."""
    done = subprocess.run(
        list(map(str, command)), check=False, capture_output=True, text=True, env=os.environ | environment, timeout=600
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def build(tree, folder, **environment):
    """The wheel of a tree, built as pip builds it, and the lines that are said of us."""
    try:
        command = (sys.executable, "-m", "pip", "wheel", "-v", "--no-deps", "-w", folder, tree)
        printed = run(*command, **environment)
    except AssertionError as error:
        if os.environ.get("CI") != "true" and "hatchling" in str(error) and "No matching distribution" in str(error):
            pytest.skip("needs hatchling, from the package index")
        raise
    (path,) = folder.glob("*.whl")
    return path, [line.strip() for line in printed.splitlines() if line.strip().startswith("jaxvjp_magic: ")]


def names_in(wheel):
    """The files of a wheel."""
    with zipfile.ZipFile(wheel) as archive:
        return archive.namelist()


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """The wheel of this tree, built as pip builds it."""
    return build(REPOSITORY, tmp_path_factory.mktemp("wheel"))[0]


@pytest.fixture
def tree(tmp_path):
    """A copy of this tree, as far as the wheel is made of it."""
    copy = tmp_path / "tree"
    left = shutil.ignore_patterns("node_modules", "lib", ".test", ".yarn", "__pycache__")
    for name in ("jaxvjp_magic", "labextension"):
        shutil.copytree(REPOSITORY / name, copy / name, ignore=left)
    for name in ("pyproject.toml", "hatch_build.py", "README.md", "LICENSE", "install.json", "docs/rules.md"):
        (copy / name).parent.mkdir(exist_ok=True)
        shutil.copy(REPOSITORY / name, copy / name)
    return copy


@pytest.fixture(scope="module")
def installed(wheel, tmp_path_factory):
    """An environment with this wheel alone."""
    folder = tmp_path_factory.mktemp("environment")
    run(sys.executable, "-m", "venv", folder)
    python = next(path for path in (folder / "bin" / "python", folder / "Scripts" / "python.exe") if path.exists())
    run(python, "-m", "pip", "install", "-q", "--no-deps", "--no-index", wheel)
    return folder, python


def shown(folder):
    """What `jupyter labextension list` says of ours, where only this environment is looked at."""
    place = {"JUPYTER_PATH": str(folder / "share" / "jupyter"), "JUPYTER_CONFIG_DIR": str(folder / "config")}
    text = run(sys.executable, "-m", "jupyter", "labextension", "list", **place)
    return re.sub(r"\x1b\[[0-9;]*m", "", text)


def test_the_wheel_has_what_is_built(wheel):
    """All of it, once where JupyterLab looks and once where developers link it from."""
    names = names_in(wheel)
    built = [path for path in (REPOSITORY / BUILT).rglob("*") if path.is_file()]
    assert built
    for path in built:
        name = path.relative_to(REPOSITORY / BUILT).as_posix()
        assert f"jaxvjp_magic/labextension/{name}" in names
        assert any(one.endswith(f".data/data/{PLACE.as_posix()}/{name}") for one in names)
    assert not [name for name in names if "node_modules" in name or name.endswith((".ts", "yarn.lock"))]


def test_it_is_installed_shown_and_uninstalled(wheel, installed):
    """What its package.json loads is there, JupyterLab says who installed it, and nothing is left in the end."""
    folder, python = installed
    place = folder / PLACE
    package = json.loads((place / "package.json").read_text())
    assert (place / package["jupyterlab"]["_build"]["load"]).is_file()
    assert (place / "schemas" / "jaxvjp-magic" / "plugin.json").is_file()
    assert (place / "install.json").read_text() == (REPOSITORY / "install.json").read_text()
    line = f"jaxvjp-magic v{wheel.name.split('-')[1]} enabled OK (python, jaxvjp_magic)"
    assert line in shown(folder)
    run(python, "-m", "pip", "uninstall", "-q", "-y", "jaxvjp_magic")
    assert [path for path in folder.rglob("*") if "jaxvjp" in path.name] == []


def test_without_node_the_wheel_has_what_is_built(wheel, tree, tmp_path):
    """And one line says so."""
    same, said = build(tree, tmp_path, PATH=str(tmp_path))
    assert said == ["jaxvjp_magic: with the JupyterLab part, as it is built in the source"]
    assert sorted(names_in(same)) == sorted(names_in(wheel))


def test_without_node_and_what_is_built(wheel, tree, tmp_path):
    """The rest is installed, and one line says what is not there."""
    shutil.rmtree(tree / BUILT)
    rest, said = build(tree, tmp_path, PATH=str(tmp_path))
    reason = "building it needs Node 20, and there is none"
    assert said == [f"jaxvjp_magic: without the JupyterLab part, which is not built: {reason}"]
    assert names_in(rest) == [name for name in names_in(wheel) if "labextension" not in name]


@pytest.mark.skipif(shutil.which("node") is None, reason="no Node here")
def test_with_node_it_is_built(wheel, tree, tmp_path):
    """Where it is not there: the same files as those of the repository."""
    shutil.rmtree(tree / BUILT)
    same, said = build(tree, tmp_path)
    if os.environ.get("CI") != "true" and "failed" in said[0]:
        pytest.skip("needs packages from the npm registry")
    assert said == ["jaxvjp_magic: with the JupyterLab part, built now"]
    for name in names_in(wheel):
        if not name.endswith("RECORD"):
            with zipfile.ZipFile(wheel) as one, zipfile.ZipFile(same) as other:
                assert one.read(name) == other.read(name), name
