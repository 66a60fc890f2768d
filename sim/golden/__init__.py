"""The bit-exact model of the integer network, in NumPy."""
