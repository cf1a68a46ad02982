"""Libraries as methods: what the submission of a wrapped library builds on. Imports the api, and the library."""
