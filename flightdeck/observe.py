"""``flightdeck observe``: Prometheus with our rules, and the alarms of injected faults."""

from __future__ import annotations

import signal
from typing import Annotated, Any

import typer

from flightdeck.console import print_json
from flightdeck.options import Options


def observe(
    options: Options,
    once: Annotated[bool, typer.Option("--once", help="End when the alarms have been seen.")] = False,
) -> None:
    """Start Prometheus with our rules on this machine, break things, and show the alarms.

    A service of its own answers with the newest pushed version. It is asked, then sent rows that the contract refuses,
    then ended; each alarm is printed. Prometheus goes on until Ctrl+C, and nothing is left behind. `make observe`
    fetches Prometheus first. Exit code: 1 if an alarm did not come.
    """
    from operations.observability import trial

    def say(text: str) -> None:
        if not options.as_json:
            typer.echo(text)

    alarms: list[dict[str, Any]] = []
    missing: list[str] = []
    # Like Ctrl+C, so that everything that was started is ended.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        with trial.running(options.settings, say) as tried:
            say(f"Prometheus  {tried.prometheus.url}/alerts")
            for fault, inject in tried.faults.items():
                say(f"\n{inject()}")
                alarm = tried.prometheus.wait_for(fault)
                if alarm is None:
                    missing.append(fault)
                else:
                    alarms.append(alarm)
                    say(_shown(alarm))
            others = [alarm for alarm in tried.prometheus.firing() if alarm["labels"]["alertname"] not in tried.faults]
            alarms += others
            if others:
                say("\nThese fire, too, because of what the workspace holds:")
            for alarm in others:
                say(_shown(alarm))
            if not once and not options.as_json:
                say("\nCtrl+C ends it.")
                signal.pause()
    except KeyboardInterrupt:
        say("Everything that was started has ended.")
    if options.as_json:
        print_json(alarms)
    for name in missing:
        typer.echo(f"{name} did not fire.", err=True)
    if missing:
        raise typer.Exit(1)


def _shown(alarm: dict[str, Any]) -> str:
    labels, texts = alarm["labels"], alarm["annotations"]
    return (
        f"  {labels['severity'].upper()}  {labels['alertname']}: {texts['summary']}\n"
        f"  To do: {texts['description']}\n  More: {texts['runbook']}"
    )
