"""Where methods run: `local` forks a worker process, `in_process` calls the same session for debugging."""
