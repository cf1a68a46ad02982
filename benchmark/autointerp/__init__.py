"""Automated interpretability: the examples an explainer sees."""
