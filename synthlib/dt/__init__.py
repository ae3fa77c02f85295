"""The Decision Transformer: GPT-2's pre-training, the model, fine-tuning and evaluation (paper, section 3)."""
