"""Alerts over a real local HTTP server and a real SMTP server, which fail and time out."""

import contextlib
import json
import socket
import threading
import time
from collections.abc import Callable
from email import message_from_bytes
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import SimpleNamespace

import pytest
from aiosmtpd.controller import Controller

from errors import FlightdeckError
from operations.alerts.alert import Alert
from operations.alerts.channels import Log, Mail, Webhook, channels
from operations.alerts.dispatcher import Dispatcher
from operations.alerts.outbox import DeliveryError, Outbox
from operations.alerts.settings import AlertSettings, Email

pytestmark = pytest.mark.unit
ALERT = Alert(
    key="drift of temp",
    severity="critical",
    title="temp has drifted",
    text="The distance of <temp> is 0.4 & its threshold is 0.1.",
    source="monitor",
    facts={"column": "temp", "window": "2013-07"},
)


@pytest.fixture
def listener():
    """A real HTTP server that answers as a test says, a status or after a wait, and keeps what it was sent."""
    answers: list[int | Callable[[], object]] = []
    received: list[dict] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            answer = answers.pop(0) if answers else 200
            if callable(answer):
                answer()
                answer = 200
            if answer == 200:
                received.append(json.loads(body))
            with contextlib.suppress(OSError):  # nobody waited
                self.send_response(answer)
                self.end_headers()

        def log_message(self, *_) -> None:
            """Says nothing on standard error, which may be that of the next test by then."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    address = f"http://127.0.0.1:{server.server_port}/services/T0/secret-token"
    yield SimpleNamespace(answers=answers, received=received, address=address)
    server.shutdown()
    server.server_close()


def test_a_webhook_gets_what_slack_shows(listener):
    Webhook(listener.address, 5).send("id1", ALERT, repeated=2)

    (message,) = listener.received
    assert message["text"] == "critical: temp has drifted"
    kinds = [block["type"] for block in message["blocks"]]
    assert kinds == ["header", "section", "section", "context"]
    text = json.dumps(message)
    assert "&lt;temp&gt; is 0.4 &amp; its" in text
    assert "2 times" in text
    assert "id1" in text


def silence() -> None:
    time.sleep(1.5)


@pytest.mark.parametrize("answer", [500, 404, 302, silence])
def test_a_webhook_that_does_not_take_it_is_an_error_without_the_secret(listener, answer):
    listener.answers += [answer]

    with pytest.raises(DeliveryError) as refused:
        Webhook(listener.address, 0.3).send("id1", ALERT, 0)

    assert "secret-token" not in str(refused.value)


def test_a_webhook_that_nobody_listens_at_is_an_error():
    with pytest.raises(DeliveryError, match="did not answer"):
        Webhook("http://127.0.0.1:9/", 1).send("id1", ALERT, 0)


class Mailbox:
    """Keeps what a real SMTP server was given."""

    def __init__(self) -> None:
        self.messages: list = []
        self.refuse = False

    async def handle_DATA(self, _server, _session, envelope):  # noqa: N802  (aiosmtpd's name)
        if self.refuse:
            return "451 try again later"
        self.messages.append((envelope.rcpt_tos, message_from_bytes(envelope.content)))
        return "250 taken"


@pytest.fixture
def mailbox():
    box = Mailbox()
    with socket.create_server(("127.0.0.1", 0)) as probe:  # the controller wants a number
        box.port = probe.getsockname()[1]
    controller = Controller(box, hostname="127.0.0.1", port=box.port)
    controller.start()
    yield box
    controller.stop()


def letter(port: int, **fields: str) -> Email:
    people = {"sender": "deck@example.org", "recipients": ("a@example.org", "b@example.org")}
    return Email(host="127.0.0.1", port=port, starttls=False, **people, **fields)


def test_a_mail_reaches_every_recipient_and_a_repetition_has_the_same_id(mailbox):
    channel = Mail(letter(mailbox.port), None, 5)
    channel.send("id7", ALERT, 0)
    channel.send("id7", ALERT, 3)

    (recipients, first), (_, second) = mailbox.messages
    assert recipients == ["a@example.org", "b@example.org"]
    assert first["Subject"] == "[critical] temp has drifted"
    assert first["Message-ID"] == second["Message-ID"] == "<id7@flightdeck>"
    assert "threshold is 0.1" in first.get_payload()
    assert "column: temp" in first.get_payload()
    assert "raised again: 3 times" in second.get_payload()


def test_a_mail_server_that_refuses_or_is_away_is_an_error(mailbox):
    mailbox.refuse = True
    with pytest.raises(DeliveryError):
        Mail(letter(mailbox.port), None, 5).send("id7", ALERT, 0)
    with pytest.raises(DeliveryError):
        Mail(letter(9), None, 1).send("id7", ALERT, 0)


def test_a_title_cannot_add_headers(mailbox):
    evil = ALERT.model_copy(update={"title": "one\nBcc: c@example.org"})
    Mail(letter(mailbox.port), None, 5).send("id8", evil, 0)

    ((recipients, message),) = mailbox.messages
    assert recipients == ["a@example.org", "b@example.org"]
    assert message["Bcc"] is None


def test_the_log_has_one_document_per_line(tmp_path):
    log = Log(tmp_path / "alerts" / "alerts.jsonl")
    log.send("id1", ALERT, 0)
    log.send("id2", ALERT, 5)

    lines = [json.loads(line) for line in (tmp_path / "alerts" / "alerts.jsonl").read_text().splitlines()]
    assert [(line["id"], line["repeated"]) for line in lines] == [("id1", 0), ("id2", 5)]
    assert lines[0]["facts"]["column"] == "temp"


def test_secrets_come_from_the_environment_and_are_missed_early(tmp_path):
    log = tmp_path / "alerts.jsonl"
    with pytest.raises(FlightdeckError, match="FLIGHTDECK_ALERTS_WEBHOOK"):
        channels(AlertSettings(webhook=True), log, {})
    with pytest.raises(FlightdeckError, match="FLIGHTDECK_ALERTS_SMTP_PASSWORD"):
        channels(AlertSettings(email=letter(25, username="deck")), log, {})
    reached = channels(AlertSettings(webhook=True), log, {"FLIGHTDECK_ALERTS_WEBHOOK": "https://example.org/hook"})
    assert set(reached) == {"log", "webhook"}


def test_a_service_goes_on_while_its_alerts_are_delivered(listener, tmp_path):
    outbox = Outbox(tmp_path / "outbox.sqlite", ["webhook"], 0)
    enough = threading.Event()
    listener.answers += [lambda: enough.wait(60)]
    dispatcher = Dispatcher(outbox, {"webhook": Webhook(listener.address, 60)})
    before = time.monotonic()
    dispatcher.alert(ALERT)
    raised_in = time.monotonic() - before
    enough.set()

    dispatcher.close(30)

    assert raised_in < 30
    assert len(listener.received) == 1
