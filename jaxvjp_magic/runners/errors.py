"""What keeps a program from being run."""


class CannotRunError(Exception):
    """Why the program could not be run at all, in one line."""
