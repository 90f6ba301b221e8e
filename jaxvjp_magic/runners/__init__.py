"""Run a script or a notebook under a check, as it would run by itself."""
