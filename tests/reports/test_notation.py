"""Numbers as they are written."""

from spikewright.reports.notation import by, number, percent, points, span


def test_numbers():
    assert (percent(0.12345), percent(1, 0), percent(None)) == ("12.35 %", "100 %", "-")
    assert (number(1234567.8), number(0.5, 2), number(None)) == ("1,234,568", "0.50", "-")
    assert (points(-0.0123), points(0)) == ("-1.23", "+0.00")
    assert (by([1, 28, 28]), span([3, 3]), span((-1000, 2000))) == (
        "1×28×28",
        "3",
        "-1,000 … 2,000",
    )
