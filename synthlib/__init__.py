"""Generators, models and trainers of the companion to "Pre-training with Synthetic Data Helps Offline RL"."""
