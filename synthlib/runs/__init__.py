"""The store of trainings, and the loop that advances and saves one. Knows nothing of data sets, physics or
algorithms."""
