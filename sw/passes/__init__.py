"""From a float network to an integer one, and onto cores: one pass a file."""
