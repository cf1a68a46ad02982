"""How pythia-mini was made, and what is known of it."""
