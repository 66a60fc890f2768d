"""Amaranth: neuron cores, spike sources and router, host interface, tops."""
