"""Values that flow through very deep networks."""

import numpy as np
import torch

from spikewright.network import ActivationKind, InputSpec
from spikewright.sw.frontend.layers import layers_of
from spikewright.sw.frontend.merge import Linear
from spikewright.sw.frontend.site import Site
from spikewright.sw.frontend.values import Value


def test_a_deep_network_needs_no_recursion() -> None:
    """Python nests 1,000 calls: no function may call itself for every layer."""
    site, value = Site("0", "Linear", torch.zeros(1, 1)), Value(torch.zeros(1, 1), (1, 1, 1))
    step = Linear.pointwise(site.where, np.ones(1), np.zeros(1))
    for index in range(1500):
        site = Site(str(index), "Linear", site.out)
        value = site.fires(site.then(value, step), ActivationKind.RELU)
    assert value.branches[0].source is not None
    assert value.branches[0].source.depth == 1499
    layers = layers_of(value, InputSpec((1, 1, 1)))
    assert [layer.synapses[0].source for layer in layers] == [*range(-1, 1499)]
