"""The built-in language: readable English documents whose latent state is known for every token."""
