"""The synthetic data of the paper: Markov chains (3.2), MDPs (4.1), and the text they are compared with."""
