"""Max pools before and behind activations."""

from torch import nn
from torch.nn import functional

from spikewright.network import (
    ActivationKind,
    FloatNetwork,
    Pool,
    PoolKind,
)
from tests.support.modules import Forward, conv, refusal, traced


def pools(network: FloatNetwork) -> list[Pool]:
    return [layer.synapses[0].pool for layer in network.layers]


def test_max_pools() -> None:
    """Behind an activation or before it, one behind the other, and where rows are left over."""
    none, two = Pool(), Pool((2, 2), PoolKind.MAX)
    last = nn.Conv2d(3, 2, 2)
    for order in ([nn.ReLU(), nn.MaxPool2d(2)], [nn.MaxPool2d(2), nn.ReLU()]):
        network = traced(conv(*order, last), 1, 9, 9)
        assert pools(network) == [none, two]
        assert [layer.shape for layer in network.layers] == [(3, 7, 7), (2, 2, 2)]
    both = [nn.ReLU6(), nn.MaxPool2d((1, 2)), nn.ReLU(), nn.Dropout(), nn.MaxPool2d((3, 1))]
    network = traced(conv(*both, nn.Conv2d(3, 2, 1)), 1, 9, 9)
    assert pools(network) == [none, Pool((3, 2), PoolKind.MAX)]
    assert network.layers[0].activation.kind is ActivationKind.CLIP
    # The greatest means are no means of the greatest: this average becomes weights.
    network = traced(conv(nn.ReLU(), nn.MaxPool2d(2), nn.AvgPool2d(2), last), 1, 14, 14)
    assert pools(network) == [none, two]
    assert network.layers[1].synapses[0].stride == (2, 2)
    network = traced(
        conv(nn.ReLU(), nn.AdaptiveMaxPool2d(1), nn.Flatten(), nn.Linear(3, 2)), 1, 8, 8
    )
    assert pools(network) == [none, Pool((6, 6), PoolKind.MAX)]
    function = Forward(lambda m, x: functional.max_pool2d(x.relu(), 3))
    network = traced(conv(function), 1, 8, 8)
    assert pools(network) == [none, Pool((3, 3), PoolKind.MAX)]
    assert network.layers[-1].activation.kind is ActivationKind.NONE


def test_max_pool_of_the_frame_is_refused() -> None:
    message = refusal(nn.Sequential(nn.MaxPool2d(2), nn.Conv2d(1, 1, 1)), 1, 6, 6)
    assert message == (
        "0 (MaxPool2d): pools the input frame; max pooling compares counts of spikes, so put a "
        "layer with an activation before it"
    )
