"""What may be written in stacks/, and what is said of what may not."""
