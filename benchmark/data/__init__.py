"""Text in, token blocks and activation streams out."""
