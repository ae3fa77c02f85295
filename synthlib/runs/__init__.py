"""The store of trainings, and the loops that advance and save a training.

Nothing here knows a data set, the physics or an algorithm.
"""
