"""What was recorded, as plain data. Nothing here imports jax."""
