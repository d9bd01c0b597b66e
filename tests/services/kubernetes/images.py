"""The images of the tests' own cluster: Flightdeck's, and those in place of what no registry brings here."""

import dataclasses
import hashlib

from tests.services import docker_engine, image
from tests.services.docker_engine import docker
from tests.services.kubernetes.programs import MODULE

TARGETS = ("pause", "mariadb")


@dataclasses.dataclass(frozen=True)
class Images:
    """What the Docker engine at an address has: this checkout's images, and others by their targets."""

    address: str
    flightdeck: str
    server: str
    others: dict[str, str]

    def names(self) -> list[str]:
        """All of them, as containerd calls them."""
        return [f"docker.io/library/{image}" for image in (self.flightdeck, self.server, *self.others.values())]

    def archive(self) -> list[str]:
        """A command that writes them to its standard output."""
        return ["docker", f"--host={self.address}", "save", self.flightdeck, self.server, *self.others.values()]


def build(flightdeck: str | None = None, server: str | None = None) -> Images:
    """Builds them with a Docker engine, which is started if none runs; those of ours that are named are not built."""
    address = docker_engine.start()
    base = image.ensure_base(address)
    for target in TARGETS:
        docker(
            address,
            *("build", "--quiet", "--network=host", f"--build-arg=BASE={base}", f"--target={target}"),
            *(f"--tag={name(target)}", f"--file={MODULE / 'Dockerfile'}", str(MODULE)),
        )
    ours = flightdeck or image.build(address), server or image.build(address, "serve")
    return Images(address, *ours, {target: name(target) for target in TARGETS})


def name(target: str) -> str:
    """The name of one of `TARGETS`; another version of its sources has another."""
    sources = b"".join(path.read_bytes() for path in (MODULE / "Dockerfile", *sorted(MODULE.glob("*.sh"))))
    return f"flightdeck-test-{target}:{hashlib.sha256(sources).hexdigest()[:12]}"
