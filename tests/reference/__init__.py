"""Slow references: they say what sftprep's output must be, and share no code with it."""
