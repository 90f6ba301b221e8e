"""The text of the checked program."""
