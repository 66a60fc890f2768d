"""Neuron models of the second machine: what a fire unit decides at the end of a time step."""
