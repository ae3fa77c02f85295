"""Benchmarks: every fast version against its peers (``python -m synthlib.bench``). Only notebooks import this."""
