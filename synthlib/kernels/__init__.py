"""Fast arithmetic that knows nothing of the paper: matrix products, compiled steps, Adam, generators, stacking."""
