"""Code of the program that is run once more for the check alone: which may be, where, and how."""
