"""What is planned and run: from a table's name and a preset to trainings, and training them."""
