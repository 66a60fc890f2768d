"""The generated hardware in a simulator, compared with the golden model."""
