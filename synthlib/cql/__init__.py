"""Conservative Q-learning: the critics' pre-training, the agent and its fine-tuning (paper, section 4)."""
