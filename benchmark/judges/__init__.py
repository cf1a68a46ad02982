"""Judges: they put examples of a latent into words, and grade what the words say about new text."""
