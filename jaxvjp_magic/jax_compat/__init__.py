"""The only home of `jax._src`: what is private in JAX, since which version, and how a place of JAX is taken."""
