"""The Decision Transformer: pre-training of GPT-2, the model, fine-tuning and evaluation (paper, section 3)."""
