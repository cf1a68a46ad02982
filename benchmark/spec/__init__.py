"""What is to be run: suites, methods, variants, cells."""
