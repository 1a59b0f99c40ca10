"""`speech`: text in, audio out; one text, or each line of a file."""
