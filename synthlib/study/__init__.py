"""Planning and running: from the name of a table and a preset to a list of trainings, and the engine that runs them."""
