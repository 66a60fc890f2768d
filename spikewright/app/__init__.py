"""What a user calls: the Python interface and the command line."""
