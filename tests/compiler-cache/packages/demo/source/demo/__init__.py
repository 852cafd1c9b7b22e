"""Three kernels, which nobody launches."""
