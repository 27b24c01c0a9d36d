"""The two calls of the Python interface."""
