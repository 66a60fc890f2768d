"""Data sets and training with the methods of the papers."""
