"""Fuzzing: inputs made by chance, judged by what holds for every input, and the corpus of those that showed something.

Run by `tests/run fuzz SECONDS`; the corpus is replayed by ordinary tests.
"""
