"""What the command line does: the words it knows (parser), and what each of them starts."""
