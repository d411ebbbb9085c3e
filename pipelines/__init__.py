"""In what order: one pipeline a file."""
