"""The trusted half of each track: what is hidden from methods, and how their answers are scored."""
