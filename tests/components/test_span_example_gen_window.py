"""Which spans a window means, and which split each of them goes to."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.span_example_gen.errors import SpanError
from components.span_example_gen.window import Window, split_spans

pytestmark = pytest.mark.unit

YEAR = list(range(1, 13))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1:12", YEAR),
        ("oldest:newest", YEAR),
        ("newest-5:newest", [7, 8, 9, 10, 11, 12]),
        ("3:newest", list(range(3, 13))),
        ("oldest:newest-11", [1]),
        ("newest:newest", [12]),
        ("oldest:4", [1, 2, 3, 4]),
        (" 002 : 03 ", [2, 3]),
    ],
)
def test_a_window_means_these_spans(text, expected):
    assert Window.parse(text).resolve(YEAR, "base") == expected


@pytest.mark.parametrize(
    "text", ["", "1", "1:2:3", ":", "1:", ":5", "first:last", "1-5", "-1:5", "newest+1:newest", "oldest-1:3",
             "newest-:newest", "1.5:2", "NEWEST:newest", "²:3"],
)  # fmt: skip
def test_a_malformed_window_is_refused_with_the_form_it_should_have(text):
    with pytest.raises(SpanError, match="is not of the form FIRST:LAST") as caught:
        Window.parse(text)
    assert repr(text) in str(caught.value)


@given(st.text(max_size=20))
def test_any_text_is_either_a_window_or_refused(text):
    try:
        window = Window.parse(text)
    except SpanError:
        return
    assert window.text == text
    assert text.count(":") == 1


@given(oldest=st.integers(0, 10**6), length=st.integers(1, 60), first=st.integers(0, 59), last=st.integers(0, 59))
def test_counting_from_the_newest_is_the_same_as_naming_the_numbers(oldest, length, first, last):
    newest = oldest + length - 1
    forth, back = sorted((first % length, last % length))
    available = list(range(oldest, newest + 1))
    relative = Window.parse(f"newest-{back}:newest-{forth}").resolve(available, "base")
    absolute = Window.parse(f"{newest - back}:{newest - forth}").resolve(available, "base")
    assert relative == absolute == list(range(newest - back, newest - forth + 1))


@given(st.sets(st.integers(1, 30), min_size=1), st.integers(1, 30), st.integers(1, 30))
def test_a_window_is_complete_or_refused(available, first, last):
    wanted = set(range(first, last + 1))
    window = Window.parse(f"{first}:{last}")
    if wanted and wanted <= available:
        assert window.resolve(sorted(available), "base") == sorted(wanted)
    else:
        with pytest.raises(SpanError, match=f"window {first}:{last} of base"):
            window.resolve(sorted(available), "base")


@pytest.mark.parametrize(
    ("text", "available", "message"),
    [
        ("1:12", [1, 2, 3, 4, 6, 7, 8, 9, 10, 11, 12], "span 5 is missing between 4 and 6"),
        ("oldest:newest", [1, 2, 5, 6], "spans 3 and 4 are missing between 2 and 5"),
        ("oldest:newest", [1, 2, 7], "spans 3 to 6 are missing between 2 and 7"),
        ("oldest:newest", [1, 3, 4, 6], "spans 2 and 5 are missing between 1 and 6"),
        ("1:15", YEAR, "it ends at span 15, but the newest span there is 12"),
        ("newest-12:newest", YEAR, "it begins at span 0, but the oldest span there is 1"),
        ("5:3", YEAR, "it runs backwards, from span 5 to span 3"),
        ("1:999999999999", YEAR, "it ends at span 999999999999"),
    ],
)
def test_a_window_that_is_not_there_is_refused_with_the_reason(text, available, message):
    with pytest.raises(SpanError) as caught:
        Window.parse(text).resolve(available, "the/base")
    assert str(caught.value).startswith(f"The window {text} of the/base cannot be ingested: {message}")


def test_a_window_that_is_wrong_twice_names_both_reasons():
    with pytest.raises(SpanError, match="for 2 reasons") as caught:
        Window.parse("1:9").resolve([1, 2, 4, 5], "base")
    assert "ends at span 9" in str(caught.value)
    assert "span 3 is missing" in str(caught.value)


@pytest.mark.parametrize(
    ("eval_spans", "expected"),
    [
        (1, {"train": [3, 4, 5], "eval": [6]}),
        (3, {"train": [3], "eval": [4, 5, 6]}),
        (0, {"all": [3, 4, 5, 6]}),
    ],
)
def test_the_newest_spans_are_for_evaluation(eval_spans, expected):
    assert split_spans([3, 4, 5, 6], eval_spans, "3:6") == expected


@pytest.mark.parametrize("eval_spans", [4, 5])
def test_a_window_without_a_span_for_training_is_refused(eval_spans):
    with pytest.raises(SpanError, match="The window 3:6 leaves no span for training, because it holds 4"):
        split_spans([3, 4, 5, 6], eval_spans, "3:6")


@pytest.mark.parametrize(
    ("text", "left_out", "expected"),
    [
        ("5:8", {7}, [5, 6, 8]),
        ("oldest:newest", {1, 12}, list(range(2, 12))),
        ("newest-2:newest", {11}, [9, 10, 12]),  # three spans that can be used, not three numbers
        ("newest-1:newest", {12, 11}, [9, 10]),
        ("5:12", {12}, list(range(5, 12))),
    ],
)
def test_spans_in_quarantine_are_passed_over(text, left_out, expected):
    assert Window.parse(text).resolve(YEAR, "base", left_out) == expected


@pytest.mark.parametrize(
    ("text", "available", "left_out", "message"),
    [
        ("1:5", [1, 2, 4, 5], {4}, "span 3 is missing between 2 and 4"),
        ("oldest:newest", [], set(), "no span in base; it should hold folders named span-001"),
        ("7:7", YEAR, {7}, "in quarantine"),
        ("oldest:newest", YEAR, set(YEAR), "in quarantine"),
    ],
)
def test_a_gap_nothing_at_all_and_nothing_but_quarantine_are_refused(text, available, left_out, message):
    with pytest.raises(SpanError, match=message):
        Window.parse(text).resolve(available, "base", left_out)
