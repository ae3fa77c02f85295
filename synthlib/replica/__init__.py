"""How the embedded replica of D4RL was made: behaviour policies, their selection, collection, and checks of the data.

``python -m synthlib.replica`` is its command. Nothing outside of this folder imports from it.
"""
