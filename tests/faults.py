"""Break functions of ours one at a time, whoever holds them: what stands behind their name is another code."""

from __future__ import annotations

import contextlib
import functools
import gc
import importlib
import inspect
import pkgutil
import sys
import threading
import types

import jaxvjp_magic
from jaxvjp_magic.jax_compat import patch_points

FAULT = "a fault of ours"


def standing():
    """What stands in JAX's places."""
    points = (
        patch_points.custom_vjp(), patch_points.vjp(), patch_points.pullback(),
        patch_points.partial_pullback(), patch_points.custom_jvp(), patch_points.custom_vjp3(),
    )  # fmt: skip
    return [point and point.original for point in points]


def modules_in(*names):
    """The modules of these names in our package; of a package, all that are in it."""
    for name in names:
        module = importlib.import_module(f"jaxvjp_magic.{name}")
        if hasattr(module, "__path__"):
            for one in pkgutil.iter_modules(module.__path__):
                yield importlib.import_module(f"{module.__name__}.{one.name}")
        yield module


def functions_in(*names):
    """Every function and method that these modules define, by name: `collector.Collector.note`."""
    found = {}
    for module in modules_in(*names):
        short = module.__name__.removeprefix(f"{jaxvjp_magic.__name__}.")
        for name, value in vars(module).items():
            if getattr(value, "_is_protocol", False):
                continue
            if isinstance(value, type) and value.__module__ == module.__name__:
                for method, inner in vars(value).items():
                    found[f"{short}.{name}.{method}"] = plain(inner)
            else:
                found[f"{short}.{name}"] = plain(value)
    return {name: one for name, one in found.items() if one is not None and is_ours(one, name)}


def plain(value):
    """The function in a method, a property, a cache or a context manager; None for anything else."""
    value = value.fget if isinstance(value, property) else value
    value = value.func if isinstance(value, functools.cached_property) else value
    value = value.__func__ if isinstance(value, (staticmethod, classmethod)) else value
    inner = inspect.unwrap(value) if callable(value) and not isinstance(value, type) else value
    return inner if isinstance(inner, types.FunctionType) else None


def is_ours(function, name):
    """Whether somebody wrote it, and here: a dataclass's methods are Python's, an imported function is another's."""
    module = function.__module__.removeprefix(f"{jaxvjp_magic.__name__}.")
    return "jaxvjp_magic" in function.__code__.co_filename and name.startswith(f"{module}.")


@contextlib.contextmanager
def broken(function):
    """While this lasts, every call of the function raises a RuntimeError."""
    before = function.__code__
    clear_caches()
    is_generator = bool(before.co_flags & inspect.CO_GENERATOR)
    function.__code__ = raising(before.co_freevars, is_generator).replace(co_filename=before.co_filename)
    try:
        yield
    finally:
        function.__code__ = before
        clear_caches()


def raising(freevars, is_generator):
    """The code of a function that raises, and closes over as many variables; a generator raises when it is asked."""
    lines = ["def outer():", *(f"    {name} = None" for name in freevars)]
    lines += [
        "    def broken(*_, **__):",
        f"        {', '.join(freevars) or None}",
        f"        raise RuntimeError({FAULT!r})",
    ]
    lines += ["        yield"] * is_generator + ["    return broken"]
    scope = {}
    exec("\n".join(lines), scope)  # noqa: S102 (that is the way to have as many free variables)
    return scope["outer"]().__code__


KEPT = {"_setting", "_the_hooks", "_inside_boundary"}  # what they gave is in use in this process


def clear_caches():
    """A cached result would hide a fault, and one made with a fault would hide what is right."""
    for name, module in list(sys.modules.items()):
        if name.startswith("jaxvjp_magic"):
            for value in vars(module).values():
                if hasattr(value, "cache_clear") and value.__name__ not in KEPT:
                    value.cache_clear()


def reached_by(program):
    """The codes of ours that a program runs."""
    seen = set()

    def look(frame, event, _):
        if event == "call":
            seen.add(frame.f_code)

    before = sys.getprofile()
    clear_caches()
    gc.disable()  # what it calls is none of the program's
    sys.setprofile(look)
    threading.setprofile(look)
    try:
        program()
    finally:
        threading.setprofile(None)
        sys.setprofile(before)
        gc.enable()
    return seen


def reaching(functions, programs, run, tells_a_fault):
    """For each function by name, the programs that run it.

    In some runs Python tells the profiler nothing of a call: what no program
    seems to run is broken, to see where that shows.
    """
    found = {}
    for program in programs:
        codes = reached_by(lambda program=program: run(program))
        for name, function in functions.items():
            if function.__code__ in codes:
                found.setdefault(name, []).append(program)
    for name in functions.keys() - found.keys():
        with broken(functions[name]):
            found[name] = [program for program in programs if tells_a_fault(program)]
    return {name: some for name, some in found.items() if some}
