"""Show a report as text, as HTML, as a display bundle. Nothing here imports jax or IPython."""
