"""What a reader does who does not believe a number: one cell again, and the smoke suite against what is expected."""
