"""Replaces functions of JAX during a check, and passes what they are called with to a recorder."""
