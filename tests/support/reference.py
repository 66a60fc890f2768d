"""A network by the papers' formulas: plain loops over neurons, steps and images, Python integers.

Written from the definitions and not from the golden model: whole numbers by counting, divisions by
fractions, the rounding phase scan by scan, max pooling by its telescoping sum. It is slow on
purpose. `seen` collects what a run met, so that tests can tell what their networks reach.
"""

import itertools
import math
from collections import Counter
from dataclasses import dataclass, field
from fractions import Fraction

import numpy as np

from spikewright.network import INPUT, InputCode, NeuronModel
from spikewright.network.neuron import Digits, Negative, Reset, Rounding, Tie, Window
from spikewright.sim.golden.model import Golden


@dataclass
class LayerRun:
    """Of one layer and frame, for every step ``(C, H, W)``; `potentials` are before firing."""

    currents: list = field(default_factory=list)
    potentials: list = field(default_factory=list)
    membranes: list = field(default_factory=list)
    spikes: list = field(default_factory=list)
    counts: list = field(default_factory=list)
    windows: list = field(default_factory=list)
    events: int = 0
    additions: Counter = field(default_factory=Counter)


# --------------------------------------------- input codes


def isi_spikes(pixel, maximum, steps):
    """Ca-LIF 4.1 with alpha = 1: the times of the spikes of one pixel."""
    if pixel == 0:
        return []
    count = math.floor(steps * Fraction(pixel, maximum))
    return [math.floor(n / Fraction(pixel, maximum)) for n in range(1, count + 1)]


def tsc_pair(intensity, steps):
    """TSC Eq. 1, 2: spikes by time of an intensity 0..1."""
    p = math.floor(abs(intensity) * (steps - 1)) + 1
    return {1: 1, p: -1} if p >= 2 else {}


def xorshift(state):
    """Marsaglia 2003, p. 4: shifts 13, 17, 5, on 32 bits."""
    state ^= (state << 13) % 2**32
    state ^= state >> 17
    state ^= (state << 5) % 2**32
    return state


def encoded(network, frame):
    """The input's spikes ``(C, H, W)`` of each input step."""
    spec, steps = network.input, network.input_steps
    trains = [np.zeros(spec.shape, object) for _ in range(steps)]
    places = list(itertools.product(*map(range, spec.shape)))
    if spec.code is InputCode.BERNOULLI:
        state = spec.seed
        for train in trains:
            for place in places:
                state = xorshift(state)
                train[place] = int(state // 2 ** (32 - spec.bits) < frame[place])
    elif spec.code is InputCode.EVENTS:
        for step, train in enumerate(trains):
            for c, y, x in places:
                train[c, y, x] = int(frame[step * spec.shape[0] + c, y, x])
    elif spec.code is InputCode.ISI:
        for place in places:
            for time in isi_spikes(int(frame[place]), spec.maximum, steps):
                trains[time - 1][place] += 1
    else:
        for place in places:
            pair = tsc_pair(Fraction(int(frame[place]), spec.maximum), steps)
            for time, value in pair.items():
                trains[time - 1][place] += value
    return trains


#  synapses


def taps(network, synapse):
    """For each output position of a group, its source positions with their weights."""
    channels, height, width = network.source_shape(synapse)
    (ph, pw), (sy, sx), (py, px) = synapse.pool.size, synapse.stride, synapse.padding
    outputs, _, kh, kw = synapse.weight.shape
    rows, columns = height // ph, width // pw
    oh, ow = (rows + 2 * py - kh) // sy + 1, (columns + 2 * px - kw) // sx + 1
    found = {}
    for o, oy, ox in itertools.product(range(outputs), range(oh), range(ow)):
        own = found[o, oy, ox] = []
        for c, ky, kx in itertools.product(range(channels), range(kh), range(kw)):
            y, x = oy * sy + ky - py, ox * sx + kx - px
            if not (0 <= y < rows and 0 <= x < columns):
                continue
            weight = int(synapse.weight[o, c, ky, kx]) * 2**synapse.shift
            own += [
                ((c, y * ph + dy, x * pw + dx), weight)
                for dy, dx in itertools.product(range(ph), range(pw))
            ]
    return found


def naf_weight(value):
    """Non-zero digits of the non-adjacent form, by its recurrence."""
    digits = 0
    while value:
        if value % 2:
            value -= 2 - value % 4
            digits += 1
        value //= 2
    return digits


#  neurons


def alphabet(n, smax):
    """HPC's A: 2**floor(log2(min(n, Smax))), 0 for 0."""
    n = min(n, smax)
    return 0 if n == 0 else 2 ** math.floor(math.log2(n))


def decide(spec, u, th, y, seen):
    """n of an ordinary step of IF, HPC, QFFS and Ca-LIF neurons."""
    seen["tie"] += u == th
    if u > th or (u == th and spec.tie is Tie.FIRES):
        n = math.floor(Fraction(u, th))
        if spec.tie is Tie.HOLDS and u == n * th:
            n -= 1
            seen["tie above"] += n > 0
        seen["more than smax"] += n > spec.smax
        n = min(n, spec.smax)
        if spec.zmax is not None:
            seen["at zmax"] += y + n > spec.zmax
            n = min(n, spec.zmax - y)
        return alphabet(n, spec.smax) if spec.digits is Digits.POWER else n
    if spec.negative is Negative.BELOW_ZERO and u < 0:
        n = math.ceil(Fraction(-u, th))
    elif spec.negative is Negative.AT_THRESHOLD and u <= -th:
        seen["negative tie"] += u == -th
        n = math.floor(Fraction(-u, th))
        if spec.tie is Tie.HOLDS and -u == n * th:
            n -= 1
    else:
        return 0
    n = min(n, spec.smax)
    if spec.gated:
        seen["gate"] += n > y
        n = min(n, y)
    seen["negative"] += n > 0
    seen["several negative"] += n > 1
    return -(alphabet(n, spec.smax) if spec.digits is Digits.POWER else n)


def rounded(spec, v, th, y, seen):
    """The rounding phase by unit scans: what it sends in all, and what V is then."""
    sent = 0
    while spec.rounding is Rounding.DRAIN or sent == 0:
        if 2 * v >= th and (spec.zmax is None or y + sent < spec.zmax):
            seen["rounding tie"] += 2 * v == th
            sent, v = sent + 1, v - th
        elif 2 * v < -th and (not spec.gated or y + sent > 0):
            sent, v = sent - 1, v + th
        else:
            break
    seen["rounds up"] += sent > 0
    seen["rounds down"] += sent < 0
    seen["drains several"] += abs(sent) > 1
    return sent, v


def coded(spec, u, th, steps, seen):
    """TSC after its window: clip(floor(U / th), 0, N - 1)."""
    n = math.floor(Fraction(u, th))
    seen["tie"] += u == n * th and n > 0
    if spec.tie is Tie.HOLDS and u == n * th:
        n -= 1
    seen["clipped"] += n > steps - 1
    return max(0, min(n, steps - 1))


#  layers


def fill(shape, value=0):
    array = np.empty(shape, object)
    array[...] = value
    return array


def run_layer(network, index, trains, seen):
    """One layer through all steps. `trains[source]` are the spikes its targets see, by step."""
    layer, spec = network.layers[index], network.layers[index].neuron
    if spec.model is NeuronModel.MAX_POOL:
        return run_max_pool(network, layer, trains, seen)
    run = LayerRun()
    groups = [(synapse.source, taps(network, synapse)) for synapse in layer.synapses]
    final_there = any(
        one.neuron.rounding is not Rounding.NONE or one.neuron.codes for one in network.layers
    )
    per_layer = spec.model is NeuronModel.TSC and spec.window is Window.PER_LAYER
    switches = spec.model is NeuronModel.TSC and spec.window is Window.OVERLAPPED
    pairs = pair_source(network, layer.synapses[0].source)
    direct = network.input.code is InputCode.DIRECT and layer.synapses[0].source == INPUT
    held = pairs or direct
    places = list(itertools.product(*map(range, layer.shape)))
    v = fill(layer.shape)
    y, d = fill(layer.shape), fill(layer.shape)
    active_before, ceased = fill(layer.shape, False), fill(layer.shape, False)
    for place in places:
        v[place] = int(layer.initial[place[0]])
    for t in range(1, network.steps + 1):
        drive = t <= network.input_steps
        final = final_there and t == network.steps
        us, currents, ns = fill(layer.shape), fill(layer.shape), fill(layer.shape)
        for place in places:
            th, bias = int(layer.threshold[place[0]]), int(layer.bias[place[0]])
            arriving = 0
            for source, found in groups:
                spikes = source_spikes(network, trains, source, t)
                if spikes is not None:
                    arriving += sum(w * int(spikes[at]) for at, w in found[place])
            if pairs:
                d[place] += arriving
                current = d[place] if drive else 0
                currents[place] = d[place]
            else:
                current = arriving if drive or not held else 0
                currents[place] = current
            u = v[place] + current + (bias if drive else 0)
            n = 0
            if spec.model is NeuronModel.INTEGRATOR or (per_layer and not final):
                v[place] = u
            elif per_layer:
                n = coded(spec, u, th, network.input_steps, seen)
                v[place] = u - n * th
            elif spec.model is NeuronModel.BURST:
                exact = Fraction(u, th) + Fraction(1, 2)
                seen["tie"] += exact == math.floor(exact)
                seen["silent"] += exact < 1
                seen["clipped"] += exact >= spec.levels + 1
                n = max(0, min(spec.levels, math.floor(exact)))
                u += th // 2
                v[place] = u - n * th
            elif switches:
                seen["tie"] += u == th
                active = u > th or (u == th and spec.tie is Tie.FIRES)
                seen["latched"] += active and ceased[place] and spec.latch
                active = active and not (spec.latch and ceased[place])
                n = int(active) - int(active_before[place])
                ceased[place] = ceased[place] or n < 0
                active_before[place] = active
                v[place] = u - th if active else u
                seen["ceases"] += n < 0
            elif final and spec.rounding is not Rounding.NONE:
                n, v[place] = rounded(spec, u, th, y[place], seen)
                u, v[place] = u + th // 2, v[place] + th // 2
            else:
                n = decide(spec, u, th, y[place], seen)
                v[place] = u - n * th
                if spec.reset is Reset.ZERO and n != 0:
                    v[place] = 0
            us[place], ns[place] = u, n
            if switches:
                y[place] = 1 if active else 2 * (ceased[place] and spec.latch)
            else:
                y[place] += n
        run.currents.append(currents)
        run.potentials.append(us)
        run.membranes.append(v.copy())
        run.spikes.append(ns)
        run.counts.append(y.copy())
    return run


def run_max_pool(network, layer, trains, seen):
    """QFFS 4.5: m(t) = M(t) - M(t-1), M the greatest count of a window."""
    run = LayerRun()
    (synapse,) = layer.synapses
    z = fill(network.source_shape(synapse))
    before = fill(layer.shape)
    windows = {
        (o, y, x): [
            (o, y * synapse.stride[0] * ph + dy, x * synapse.stride[1] * pw + dx)
            for dy in range(ph)
            for dx in range(pw)
        ]
        for o, y, x in itertools.product(*map(range, layer.shape))
        for ph, pw in [synapse.pool.size]
    }
    for spikes in trains[synapse.source]:
        z = z + spikes
        greatest = fill(layer.shape)
        for place, window in windows.items():
            greatest[place] = max(z[at] for at in window)
        m = greatest - before
        seen["falls"] += (m < 0).any()
        seen["not a power"] += any(abs(n) not in (0, 1, 2, 4, 8) for n in m.ravel())
        run.windows.append(z)
        run.potentials.append(m)
        run.currents.append(m)
        run.membranes.append(fill(layer.shape))
        run.spikes.append(m)
        run.counts.append(greatest)
        before = greatest
    return run


def pair_source(network, source):
    if source == INPUT:
        return network.input.code is InputCode.TSC
    return network.layers[source].neuron.model is NeuronModel.TSC


def source_spikes(network, trains, source, t):
    """What a source sends in step t, None if nothing; a direct frame is there always."""
    if source == INPUT and network.input.code is InputCode.DIRECT:
        return trains[INPUT]
    return trains[source][t - 1] if t <= len(trains[source]) else None


def window_of_targets(network, number):
    """The pairs of TSC neurons that send `number`, in the N steps of their targets' window."""
    trains = [fill(number.shape) for _ in range(network.input_steps)]
    for place, n in np.ndenumerate(number):
        if n >= 1:
            trains[0][place] += 1
            trains[n][place] -= 1
    return trains


#  network


def run(network, frame):
    """All layers of one frame: their :class:`LayerRun`, the outputs and the class, and `seen`."""
    seen = Counter()
    direct = network.input.code is InputCode.DIRECT
    trains = {INPUT: frame if direct else encoded(network, frame)}
    runs = []
    for index, layer in enumerate(network.layers):
        this = run_layer(network, index, trains, seen)
        codes = layer.neuron.model is NeuronModel.TSC and layer.neuron.window is Window.PER_LAYER
        trains[index] = window_of_targets(network, this.spikes[-1]) if codes else this.spikes
        for synapse in layer.synapses:
            reached = Counter(at for found in taps(network, synapse).values() for at, _ in found)
            for place in itertools.product(*map(range, network.source_shape(synapse))):
                if synapse.source == INPUT and direct:
                    sent = [naf_weight(int(frame[place]))]
                else:
                    sent = [abs(int(s[place])).bit_count() for s in trains[synapse.source]]
                this.events += sum(sent)
                for step, events in enumerate(sent):
                    this.additions[step] += events * reached[place]
        runs.append(this)
    fires = network.layers[-1].neuron.model is not NeuronModel.INTEGRATOR
    outputs = (runs[-1].counts if fires else runs[-1].membranes)[-1].ravel().tolist()
    return runs, outputs, outputs.index(max(outputs)), seen


#  comparison


def check(network, frames):
    """Assert that the golden model gives what :func:`run` gives, and both within the ranges.

    Returns the golden model's result and the sum of what the runs have `seen`.
    """
    result = Golden(network).run(frames, trace=True)
    total = Counter()
    for n, frame in enumerate(frames):
        runs, outputs, label, seen = run(network, frame)
        total += seen
        assert result.potentials[n].tolist() == outputs
        assert result.classes[n] == label
        firing = iter(result.spike_counts)
        for index, (layer, this) in enumerate(zip(network.layers, runs, strict=True)):
            trace = result.trace[index]
            assert trace.name == layer.name
            counts = this.counts if network.counts(layer) else [fill(layer.shape)] * network.steps
            np.testing.assert_array_equal(trace.spikes[n], integers(this.spikes))
            np.testing.assert_array_equal(trace.counts[n], integers(counts))
            np.testing.assert_array_equal(trace.membranes[n], integers(this.membranes))
            assert result.events[index][n] == this.events
            assert result.synaptic_operations[index][n] == this.additions.total()
            if layer.neuron.fires:
                sent = np.abs(integers(this.spikes))
                codes = layer.neuron.codes
                expected = 2 * (sent[-1] > 0) if codes else sent.sum(0)
                np.testing.assert_array_equal(next(firing)[n], expected)
            check_ranges(network, layer, network.ranges.layers[index], this)
        check_course(network, runs, result.course, n)
    return result, total


def check_course(network, runs, course, n):
    """Outputs, spikes and additions of image n after every step."""
    last = runs[-1].counts if network.layers[-1].neuron.fires else runs[-1].membranes
    np.testing.assert_array_equal(course.outputs[n], [integers(v).ravel() for v in last])
    spikes, additions = ([0] * network.steps for _ in range(2))
    for layer, this in zip(network.layers, runs, strict=True):
        sent = this.spikes
        if layer.neuron.codes:
            sent = window_of_targets(network, this.spikes[-1])
        for step, values in enumerate(sent):
            spikes[step] += np.abs(integers(values)).sum()
        for step in range(network.steps):
            additions[step] += this.additions[step]
    assert course.spikes[n].tolist() == np.cumsum(spikes).tolist()
    assert course.synaptic_operations[n].tolist() == np.cumsum(additions).tolist()


def check_ranges(network, layer, ranges, this):
    """No value of a run leaves what was proven."""

    def within(arrays, bounds, channels=True):
        low, high = bounds
        if channels:
            low, high = low[:, None, None], high[:, None, None]
        for array in arrays:
            assert (array >= low).all(), (layer.name, array, bounds)
            assert (array <= high).all(), (layer.name, array, bounds)

    ordinary = network.steps - any(one.neuron.final for one in network.layers)
    if layer.neuron.model is NeuronModel.MAX_POOL:
        within(this.windows, (-ranges.count, ranges.count), channels=False)
    else:
        within(this.currents[:ordinary], ranges.current)
        within([fill(layer.shape) + layer.initial[:, None, None]], ranges.potential)
        within(this.membranes, ranges.potential)
    within(this.potentials, ranges.potential)
    if layer.neuron.fires:
        within(this.spikes[:ordinary], ranges.spikes, channels=False)
        within(this.spikes[ordinary:], ranges.final_spikes, channels=False)
    if network.counts(layer):
        for counts in this.counts:
            assert (counts <= ranges.count).all(), (layer.name, counts, ranges.count)


def integers(arrays):
    return np.stack(arrays).astype(np.int64)
