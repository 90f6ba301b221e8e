"""How long compiling took is said where it was long, and what is compiled is kept on disk where that is asked for."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import pytest
from conftest import LOAD

from jaxvjp_magic import vjpcheck
from jaxvjp_magic.instrument import compile_time


def compile_something():
    jax.jit(lambda x: jnp.sin(x) + 1)(jnp.ones(3))


def test_a_long_compilation_is_told_with_what_helps(monkeypatch):
    """One note, with the time."""
    monkeypatch.setattr(compile_time, "LONG", 0.0)
    with vjpcheck() as report:
        compile_something()
    (note,) = report.notes
    assert note == (
        "compiling took 0 s of this run. JAX keeps the result until this session ends; its "
        "cache on disk keeps it longer: %vjpcheck cache on, or jax_compilation_cache_dir in a script"
    )


def test_a_short_compilation_is_not_worth_a_word():
    """A few milliseconds."""
    with vjpcheck() as report:
        compile_something()
    assert report.notes == ()


def test_nothing_listens_after_a_check(monkeypatch):
    """JAX's events are ours only while a check is on."""
    heard = []
    monkeypatch.setattr(
        compile_time.Compilation, "_listen", lambda self, event, duration_secs, **_: heard.append(event)
    )
    with vjpcheck():
        compile_something()
    assert heard
    heard.clear()
    compile_something()
    assert heard == []


@pytest.fixture(scope="module")
def kernel(start_kernel, tmp_path_factory):
    """A kernel whose user has a cache folder of its own, and which keeps whatever it compiles."""
    folder = tmp_path_factory.mktemp("cache")
    return start_kernel(XDG_CACHE_HOME=str(folder), JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS="0"), folder


def test_cache_on_lets_jax_keep_on_disk_what_it_compiles_until_cache_off(kernel):
    """In a folder of ours, also in a session that has compiled before; the answer says where."""
    kernel, folder = kernel
    kernel.run(LOAD)
    kernel.run("import jax, jax.numpy as jnp\njax.jit(jnp.sin)(1.)")
    said = kernel.run("%vjpcheck cache on").stream("stdout")
    assert said == f"vjpcheck: JAX keeps in {folder}/jaxvjp_magic what takes longer than 0 s to compile\n"
    kernel.run("jax.jit(lambda x: jnp.cos(x) * 3)(1.)")
    kept = sorted(folder.rglob("*"))
    assert kept
    assert kernel.run("%vjpcheck cache off").stream("stdout") == "vjpcheck: JAX keeps nothing on disk\n"
    kernel.run("jax.jit(lambda x: jnp.cos(x) * 4)(1.)")
    assert sorted(folder.rglob("*")) == kept


def test_cache_on_keeps_the_folder_that_the_user_has_chosen(kernel, tmp_path):
    """JAX's own setting comes first."""
    kernel, _ = kernel
    kernel.run(f"{LOAD}\nimport jax\njax.config.update('jax_compilation_cache_dir', {str(tmp_path)!r})")
    assert kernel.run("%vjpcheck cache on").stream("stdout").startswith(f"vjpcheck: JAX keeps in {tmp_path} what")
    kernel.run("%vjpcheck cache off")


@pytest.mark.parametrize("words", ["", "maybe", "on off"])
def test_cache_takes_on_or_off(kernel, words):
    """Anything else is told in one line."""
    kernel, _ = kernel
    kernel.run(LOAD)
    outcome = kernel.run(f"%vjpcheck cache {words}")
    assert outcome.stream("stderr") == "UsageError: %vjpcheck cache takes on or off\n"
