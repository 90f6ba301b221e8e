"""The error for a program that cannot be run."""


class CannotRunError(Exception):
    """The program could not be run at all; the message is one line."""
