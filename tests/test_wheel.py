"""The wheel, installed where nothing else is: what lies where, what is shown, and what is left when it is gone."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[1]
PLACE = Path("share") / "jupyter" / "labextensions" / "jaxvjp-magic"
pytestmark = pytest.mark.xdist_group("wheel")  # built once


def run(*command, **environment):
    """Run a program to its end; what it prints."""
    done = subprocess.run(
        list(map(str, command)), check=False, capture_output=True, text=True, env=os.environ | environment, timeout=300
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """The wheel of this tree, built as pip builds it."""
    folder = tmp_path_factory.mktemp("wheel")
    try:
        run(sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "-w", folder, REPOSITORY)
    except AssertionError as error:
        if os.environ.get("CI") != "true" and "hatchling" in str(error):
            pytest.skip("needs hatchling, from the package index")
        raise
    (path,) = folder.glob("*.whl")
    return path


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
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
    built = [path for path in (REPOSITORY / "jaxvjp_magic" / "labextension").rglob("*") if path.is_file()]
    assert built
    for path in built:
        name = path.relative_to(REPOSITORY / "jaxvjp_magic" / "labextension").as_posix()
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
