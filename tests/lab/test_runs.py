"""Neurons under currents."""

import numpy as np

from lab.runs import run
from spikewright.network import NeuronSpec


def test_neurons_run_as_the_formula_says():
    drive = np.array([[5], [9], [-7]])
    made = run(NeuronSpec.buffered(2), drive, 4, initial=0, settle=1)
    # U = 5: sends 1, keeps 1; 10: 2, 2; -5: takes two back, 3; 3: nothing.
    assert made.spikes[:, 0].tolist() == [1, 2, -2, 0]
    assert (made.membrane.item(), made.count.item()) == (3, 1)
