"""The command line: parses, calls, prints. No logic. Each module adds its commands to the one app."""
