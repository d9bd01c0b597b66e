"""A proxy before the emulator of Cloud Storage, for clients that know no other address than Google's.

TensorFlow's is one: it asks https://www.googleapis.com and https://storage.googleapis.com, whatever it is told. But it
goes through a proxy that the environment names, and trusts the authority that the environment names. This is both.
"""

import contextlib
import datetime
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import urlsplit

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

NAMES = ("www.googleapis.com", "storage.googleapis.com")
# What TensorFlow sends and Go's server refuses; and the address where the emulator, which does not know that it is
# behind TLS, wants the content of an upload.
_ASKED = (b"Transfer-Encoding: identity\r\n", b"")
_ANSWERED = (b"Location: http:", b"Location: https:")


@contextlib.contextmanager
def pretended(emulator: str, folder: Path) -> Iterator[dict[str, str]]:
    """The variables with which a process takes the emulator at an address for Google; the folder is for the proxy."""
    certificate, key = _certificate(folder)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    address = urlsplit(emulator)
    assert address.hostname is not None
    target = (address.hostname, address.port or 80)
    with socket.create_server(("127.0.0.1", 0)) as listening:
        threading.Thread(target=_serve, args=(listening, context, target), daemon=True).start()
        yield {
            "https_proxy": f"http://127.0.0.1:{listening.getsockname()[1]}",
            "CURL_CA_BUNDLE": str(certificate),
            "NO_GCE_CHECK": "true",
        }


def _serve(listening: socket.socket, context: ssl.SSLContext, target: tuple[str, int]) -> None:
    with contextlib.suppress(OSError):  # it is closed at the end
        while True:
            client, _ = listening.accept()
            threading.Thread(target=_speak, args=(client, context, target), daemon=True).start()


def _speak(client: socket.socket, context: ssl.SSLContext, target: tuple[str, int]) -> None:
    with contextlib.suppress(OSError):
        asked = b""
        while b"\r\n\r\n" not in asked:
            asked += client.recv(4096)
        assert asked.startswith(tuple(f"CONNECT {name}:443 ".encode() for name in NAMES)), asked
        client.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
        with context.wrap_socket(client, server_side=True) as inside, socket.create_connection(target) as server:
            back = threading.Thread(target=_pass_on, args=(server.recv, inside, _ANSWERED), daemon=True)
            back.start()
            _pass_on(inside.recv, server, _ASKED)
            back.join()


def _pass_on(receive: Callable[[int], bytes], to: socket.socket, changed: tuple[bytes, bytes]) -> None:
    with contextlib.suppress(OSError):
        while data := receive(65_536):
            to.sendall(data.replace(*changed))
    with contextlib.suppress(OSError):
        to.shutdown(socket.SHUT_RDWR)


def _certificate(folder: Path) -> tuple[Path, Path]:
    """A certificate for Google's names, which is its own authority, and its key."""
    key, now = ec.generate_private_key(ec.SECP256R1()), datetime.datetime.now(datetime.UTC)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "an emulator")])
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name) for name in NAMES]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    paths = folder / "certificate.pem", folder / "key.pem"
    paths[0].write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    paths[1].write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return paths
