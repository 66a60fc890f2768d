"""The networks that users name: ours to train, and their own files."""
