"""Float simulator, golden model, and the RTL harness that compares hardware with them."""
