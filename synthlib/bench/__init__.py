"""Benches: every fast version against its peers. Nothing imports from here."""
