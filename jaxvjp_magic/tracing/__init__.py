"""What JAX did, as facts. Only `jax_internals` touches jax's private parts."""
