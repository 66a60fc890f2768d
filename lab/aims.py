"""What was aimed at, and whether the measured figures reach it."""

from collections.abc import Callable, Iterable, Iterator, Mapping

from lab.experiments import EXPERIMENTS
from lab.measured import OWN, SETS, Results, ann, median_epoch, own, percent, row_at

__all__ = ["aims"]

Found = Mapping[str, float | None]
Row = tuple[str, str, str]

_TRAINED = {"QCFS": "qcfs", "NQ": "nq", "HPC": "hpc", "QFFS": "qffs", "Ca-LIF": "calif"}
_TRAINED |= {"ReLU": "relu"}

_EPOCH = 15.0
"""Seconds that the median epoch of LeNet-5 on MNIST may take."""


def aims(results: Results) -> Iterator[Row]:
    """What was aimed at, what was reached, and whether that is enough."""
    for dataset in SETS:
        yield from _lenets(results, dataset)
    losses = {name: _loss_of_four_bits(results, name) for name in OWN}
    known = {name: loss for name, loss in losses.items() if loss is not None}
    best = min(known, key=known.__getitem__, default="any")
    aim = "4-bit weights lose at most 0.5 on both sets, for one method (the set with more)"
    yield _no_loss(aim, 0.5, {best: known.get(best)})
    for aim, least, name in (
        ("MLP 784-128-10 on MNIST, T = 8: 97.5", 0.975, "mlp-mnist-qcfs"),
        ("CIFAR-10, fits the 85F, T = 8: 80", 0.80, "vgg8-cifar10-qcfs"),
    ):
        row = row_at(results.get(name), "IF", 8)
        yield _best(aim, least, {"QCFS": row.get("integer_snn")})
    yield _epochs(results)


def _lenets(results: Results, dataset: str) -> Iterator[Row]:
    """The aims of one data set."""
    title = SETS[dataset]
    usual, two_bits, most = {"mnist": (99.0, 98.8, 0.3), "fashion-mnist": (89.0, 87.5, 1.0)}[
        dataset
    ]
    short = {steps: _integer(results, dataset, steps) for steps in (4, 8)}
    if dataset == "mnist":
        yield _best("MNIST, integer SNN, T = 8: 99.2 for two methods", 0.992, short[8], 2)
        yield _best("MNIST, integer SNN, T = 4: 99.0 for one method", 0.990, short[4])
    else:
        yield _best("Fashion-MNIST, integer SNN, T = 8: 90.0 for one method", 0.900, short[8])
    rows = {name: own(results, dataset, name) for name in OWN}
    losses = {name: row["ann"] - row["integer_snn"] if row else None for name, row in rows.items()}
    where = "(T = 8, QFFS settled, Ca-LIF 128, TSC 256)"
    yield _no_loss(f"{title}: integer SNN {where} within {most} of its ANN", most, losses)
    found = {n: ann(results.get(f"lenet5-{dataset}-{method}")) for n, method in _TRAINED.items()}
    yield _every(
        f"{title}: every ANN at least {usual} (QFFS, 2 bits: {two_bits})",
        found,
        lambda name, share: share - (two_bits if name == "QFFS" else usual) / 100,
        percent,
        "all; the lowest: ",
        min,
    )


def _row(aim: str, reached: Iterable[str], met: bool) -> Row:
    return aim, ", ".join(reached) or "not measured", "yes" if met else "**no**"


def _best(aim: str, least: float, found: Found, number: int = 1) -> Row:
    """The `number` best of what was found reach `least`."""
    known = {name: share for name, share in found.items() if share is not None}
    best = sorted(known.items(), key=lambda item: -item[1])[:number]
    met = len(best) == number and all(share >= least - 1e-9 for _, share in best)
    return _row(aim, (f"{name} {percent(share)}" for name, share in best), met)


def _every(
    aim: str,
    found: Found,
    margin: Callable[[str, float], float],
    text: Callable[[float], str],
    edge: str,
    extreme: Callable[..., tuple[float, str]],
) -> Row:
    """All that there should be are found with a margin; of these the `extreme` is shown."""
    short = {n: v for n, v in found.items() if v is None or margin(n, v) < -1e-9}
    if not short:
        value, name = extreme((v, n) for n, v in found.items())
        return _row(aim, [f"{edge}{name} {text(value)}"], True)
    texts = ("not measured" if v is None else text(v) for v in short.values())
    return _row(aim, map(" ".join, zip(short, texts, strict=True)), False)


def _no_loss(aim: str, most: float, losses: Found) -> Row:
    """All that there should be are found, and lose `most` points at most."""
    edge = "all; the worst: " if len(losses) > 1 else ""
    return _every(aim, losses, lambda _, loss: most - 100 * loss, _change, edge, max)


def _change(loss: float) -> str:
    return f"{'loses' if loss >= 0 else 'gains'} {abs(100 * loss):.2f}"


def _integer(results: Results, dataset: str, steps: int) -> Found:
    """Integer SNN at T, of those methods that have this T."""
    runs = {name: (method, label) for name, (method, label, _) in OWN.items() if name != "QFFS"}
    runs |= {"plain ReLU": ("relu", "ReLU, IF"), "calibrated ReLU": ("relu", "ReLU, calibrated")}
    return {
        name: row_at(results.get(f"lenet5-{dataset}-{method}"), label, steps).get("integer_snn")
        for name, (method, label) in runs.items()
    }


def _loss_of_four_bits(results: Results, title: str) -> float | None:
    """Of the integer SNN against 8 bits, on the set where it is greater."""
    losses = []
    for dataset in SETS:
        wide, narrow = (own(results, dataset, title, width) for width in ("", "-4bit"))
        if not (wide and narrow):
            return None
        losses.append(wide["integer_snn"] - narrow["integer_snn"])
    return max(losses)


def _epochs(results: Results) -> Row:
    names = [name for name in EXPERIMENTS if name.startswith("lenet5-mnist")]
    spent = [median_epoch(results[name]) for name in names if name in results]
    known = [median for median in spent if median is not None]
    shown = [f"{min(known):.1f} to {max(known):.1f} s"] if known else []
    if len(known) < len(names):
        shown.append(f"{len(names) - len(known)} of {len(names)} not measured")
    met = len(known) == len(names) and max(known) <= _EPOCH
    return _row(f"LeNet-5 on MNIST: a median epoch of {_EPOCH:.0f} s", shown, met)
