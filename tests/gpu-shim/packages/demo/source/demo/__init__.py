"""A library with one kernel, which nobody launches."""
