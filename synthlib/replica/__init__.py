"""How the embedded replica of D4RL was made: behaviour policies, their selection, collection, and checks of the data.

The command is ``python -m synthlib.replica``. Only notebooks import from this folder.
"""
