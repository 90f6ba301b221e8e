"""The only folder that touches `jax._src`: what is private in JAX, since which version, and how it is replaced."""
