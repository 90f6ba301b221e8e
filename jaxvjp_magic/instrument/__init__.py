"""What runs in place of JAX's functions during a check."""
