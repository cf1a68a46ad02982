"""Studies that justify the benchmark's own choices; each is one command and writes its table into the docs."""
