"""The offline data sets, their files and sources, and the environments that policies are evaluated in."""
