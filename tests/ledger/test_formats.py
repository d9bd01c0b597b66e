"""Numbers, times and spans as people read them."""

from datetime import UTC, datetime

import pytest

from ledger import formats

pytestmark = pytest.mark.unit


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "-"),
        (0.0, "0"),
        (27020.0, "27,020"),
        (0.69764, "0.6976"),
        (12.3456, "12.35"),
        (1234.56, "1,235"),
        (0.000012345, "1.234e-05"),
        (-3.4e38, "-3.400e+38"),
        (float("nan"), "not a number"),
    ],
)
def test_numbers(value, text):
    assert formats.number(value) == text


def test_other_figures():
    assert formats.percent(0.1234) == "12.3\N{NO-BREAK SPACE}%"
    assert formats.signed(-0.01) == "-0.0100"
    assert [formats.signed(value) for value in (1500.0, 12345.678, -16.5215)] == ["+1,500", "+12,346", "-16.52"]
    assert formats.count(1, "run") == "1 run"
    assert formats.count(1000, "run") == "1,000 runs"
    assert [formats.duration(value) for value in (0.26, 42, 72, 7500)] == ["0.3 s", "42 s", "1 min 12 s", "2 h 05 min"]
    assert [formats.size(value) for value in (12, 2048, 3 * 1024**3)] == ["12 B", "2.0 KiB", "3.0 GiB"]
    assert formats.excerpt("two\nwords") == "two words"
    assert formats.excerpt("0123456789 " * 4) == "0123456789 0123456789 0123456789\N{HORIZONTAL ELLIPSIS}"
    assert formats.excerpt("x" * 41) == "x" * 39 + "\N{HORIZONTAL ELLIPSIS}"
    assert formats.spans([2, 1, 3]) == "1-3"
    assert formats.spans([1, 3]) == "1, 3"
    assert formats.moment(datetime(2013, 7, 1, 9, 30, tzinfo=UTC)) == "2013-07-01 09:30 UTC"
