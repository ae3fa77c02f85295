"""What is shown: runs as tables, figures, comparisons and verdicts beside the paper's numbers."""
