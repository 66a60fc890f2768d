"""A core: it walks, picks, accumulates and packs; its neurons fire in `hw/neuron`."""
