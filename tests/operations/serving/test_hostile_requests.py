"""Whatever is sent: an answer in time, never a 500, and the same server answers the next request.

Requests that break the document of the API are those of `test_openapi`; here are rows of anything, and any bytes.
"""

import json

import httpx
import pytest
from hypothesis import HealthCheck, Phase, example, given, seed, settings
from hypothesis import strategies as st

from tests.operations.serving import small_model

pytestmark = pytest.mark.component

SECONDS = 20
quick = settings(
    max_examples=150,
    deadline=None,
    database=None,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=list(HealthCheck),
)

anything = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.integers(min_value=-(2**70), max_value=2**70)
    | st.floats()
    | st.text(max_size=20)
    | st.sampled_from(["", "red", "unknown", "NaN", "null", "\x00", "🙂", "é", "x" * 5000]),
    lambda part: st.lists(part, max_size=3) | st.dictionaries(st.text(max_size=5) | st.just("b64"), part, max_size=3),
    max_leaves=6,
)
good = {
    "amount": st.none() | st.floats(width=32, allow_infinity=False, allow_subnormal=False),
    "count": st.none() | st.integers(-(2**63) + 1, 2**63 - 1),
    "colour": st.none() | st.text(max_size=30) | st.sampled_from(["red", "green"]),
}
good_row = st.fixed_dictionaries({}, optional=good)
bad_row = st.dictionaries(st.sampled_from([*small_model.COLUMNS, "other", "b64", ""]), anything, max_size=4)


def post(client: httpx.Client, path: str, document: object) -> httpx.Response:
    # Python writes NaN and Infinity, which the protocol takes, and text of any kind as escapes.
    body = document if isinstance(document, bytes) else json.dumps(document).encode()
    answer = client.post(path, content=body, headers={"content-type": "application/json"}, timeout=SECONDS)
    assert answer.status_code in (200, 400, 404, 413, 422), answer.text
    if answer.status_code != 200:
        assert isinstance(answer.json()["error"], str)
    return answer


@given(rows=st.lists(good_row, min_size=1, max_size=20))
@seed(1)
@quick
def test_rows_of_the_right_types_are_always_predicted(client, rows):
    answer = post(client, "/v1/models/shop:predict", {"instances": rows})

    assert answer.status_code == 200, answer.text
    assert len(answer.json()["predictions"]) == len(rows)
    assert all(0.0 <= value <= 1.0 for (value,) in answer.json()["predictions"])


@given(rows=st.lists(bad_row | good_row, min_size=1, max_size=5))
@seed(2)
@quick
def test_rows_of_anything_are_answered_or_refused(client, rows):
    by_row = post(client, "/v1/models/shop:predict", {"instances": rows})
    names = sorted({name for row in rows for name in row})
    if names:
        columns = {name: [row.get(name) for row in rows] for name in names}
        by_column = post(client, "/v1/models/shop:predict", {"inputs": columns})
        assert "b64" in str(rows) or by_column.status_code == by_row.status_code


@given(body=st.binary(max_size=200) | st.text(alphabet='[]{}":,0123456789eE+-.truefalsnNaInity \\u', max_size=200))
@example(b"[" * 190_000)
@example(b'{"a":' * 30_000)
@example(b'{"instances":[' + b"[" * 900 + b"NaN" + b"]" * 900 + b"]}")
@example(b'{"instances":[' + b'{"amount":' * 900 + b"1" + b"}" * 900 + b"]}")
@example(b'{"instances":[{"count":' + b"9" * 100_000 + b"}]}")
@example(b'{"instances":[{"count":' + b"9" * 100_000 + b"}, NaN]}")
@example(b'{"instances":[{"amount":1' + b"0" * 400 + b".5}, NaN]}")
@example(b'{"instances":[{"amount":1,"amount":2,"amount":"x"}]}')
@example(b'{"instances":[{}],"instances":[{}]}')
@example(b'{"instances":[{"colour":"\\ud800"}]}')
@example(b'{"instances":[{"amount":NaN,"colour":"\\ud800"}]}')
@example(b'{"instances":[{"\\ud800":NaN}]}')
@example(b'{"instances":[{"amount":NaN}],"signature_name":"\\ud800"}')
@example(b'{"instances":[{"amount":NaN}],"prediction_ids":["\\ud800"]}')
@example(b'{"inputs":[{"name":"\\ud800","datatype":"FP32","shape":[1],"data":[NaN]}]}')
@example(b'{"id":"\\ud800","inputs":[{"name":"amount","datatype":"FP32","shape":[1],"data":[NaN]}]}')
@example(b'{"inputs":[{"name":"colour","datatype":"BYTES","shape":[2],"data":["\\ud800", NaN]}]}')
@example(b"\xef\xbb\xbf{}")
@example("{}".encode("utf-16"))
@seed(3)
@quick
def test_bytes_of_any_kind_are_answered_or_refused(client, body):
    body = body if isinstance(body, bytes) else body.encode()
    for path in ("/v1/models/shop:predict", "/v2/models/shop/infer"):
        post(client, path, body)


def test_server_has_not_failed_once_and_still_answers(client, shop):
    assert post(client, "/v1/models/shop:predict", {"instances": [{}]}).json() == {"predictions": [[0.5]]}
    assert 'status="500"' not in client.get("/metrics").text
    assert "Traceback" not in shop.log.read_text()
