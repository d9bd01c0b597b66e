"""A project of its own on a cluster: its image is a layer on that of one commit of Flightdeck, and of no other."""

from __future__ import annotations

from errors import FlightdeckError
from operations.delivery.settings import Settings
from pipeline import stamp
from pipeline.project import CHECKOUT


def require_its_flightdeck(settings: Settings) -> None:
    """Refuses a project that is for another commit of Flightdeck than this one.

    What is compiled here would run there with other code.

    Raises:
        FlightdeckError: it is for another one.
    """
    wanted = settings.delivery.flightdeck
    if settings.project == CHECKOUT or wanted is None:
        return
    commit = stamp.code().commit
    if commit != wanted:
        raise FlightdeckError(
            f"{settings.project} is for Flightdeck {wanted[:12]} (delivery.flightdeck), and {CHECKOUT} is "
            f"{commit[:12] if commit else 'of no known commit'}: check that one out there, or move the project to this "
            "one with: flightdeck upgrade"
        )
