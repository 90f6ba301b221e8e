"""Runs code of the program once more for the check: which code, where, and how."""
