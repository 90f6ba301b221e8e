"""Turns live values from the hooks into facts."""
