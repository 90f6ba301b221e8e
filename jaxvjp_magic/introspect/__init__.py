"""The program's live Python objects, read without running anything of theirs."""
