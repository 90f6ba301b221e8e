"""What stands in JAX's places during a check."""
