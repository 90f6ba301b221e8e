"""Reads live Python objects of the program, without running any of its code, and gives facts about them."""
