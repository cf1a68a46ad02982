"""The untrusted half: everything of the harness that runs in a method's process. Imports the api alone."""
