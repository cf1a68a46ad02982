"""Probes: activations into classes that somebody else named."""
