"""What the wheel has beside the Python code: the JupyterLab part, as it is built, or built now where it is not."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

PLACE = "share/jupyter/labextensions/jaxvjp-magic"
NODE = 20
STEPS = (("jlpm", "install", "--immutable"), ("jlpm", "build"))


class JupyterLabPart(BuildHookInterface):
    """Ships `jaxvjp_magic/labextension`, and says in one line what of it is there."""

    def dependencies(self) -> list[str]:
        """What builds the part, asked for only where it is going to be built."""
        return [] if self._is_built() or self._hindrance() else ["jupyter-builder>=1.2"]

    def initialize(self, _version: str, build_data: dict[str, Any]) -> None:
        """An installation never fails for this part."""
        state, hindrance = "as it is built in the source", ""
        if not self._is_built():
            state, hindrance = "built now", self._hindrance() or self._build()
        if hindrance or not self._is_built():
            self.app.display_warning(f"jaxvjp_magic: without the JupyterLab part, which is not built: {hindrance}")
            return
        self.app.display_info(f"jaxvjp_magic: with the JupyterLab part, {state}")
        build_data["shared_data"] |= {"jaxvjp_magic/labextension": PLACE, "install.json": f"{PLACE}/install.json"}

    def _is_built(self) -> bool:
        return any((Path(self.root) / "jaxvjp_magic" / "labextension" / "static").glob("remoteEntry.*.js"))

    def _hindrance(self) -> str:
        """Why the part cannot be built; "" where it can."""
        node = shutil.which("node")
        if node is None:
            return f"building it needs Node {NODE}, and there is none"
        version = _output(node, "--version") or "one that does not start"
        number = re.match(r"v(\d+)", version)
        return "" if number and int(number[1]) >= NODE else f"building it needs Node {NODE}, and this is {version}"

    def _build(self) -> str:
        """Build it; "", or the step that failed."""
        for program, *arguments in STEPS:
            path = shutil.which(program)
            if path is None or _output(path, *arguments, cwd=Path(self.root) / "labextension") is None:
                return f"`{program} {' '.join(arguments)}` failed"
        return ""


def _output(*command: str, cwd: Path | None = None) -> str | None:
    """What a program prints; None where it failed."""
    done = subprocess.run(command, cwd=cwd, check=False, capture_output=True, text=True)  # noqa: S603 (node and jlpm)
    return done.stdout.strip() if done.returncode == 0 else None
