"""Subjects: loading, their randomised variants, and reading or replacing what flows through them."""
