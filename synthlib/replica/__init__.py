"""How the embedded replica of D4RL was made: behaviour policies, their selection, collection. Nothing imports from
here."""
