"""A certificate that nobody but its owner has signed."""

import ssl
import subprocess
from pathlib import Path

COMMAND = (
    "openssl req -x509 -newkey rsa:2048 -nodes -subj /CN=127.0.0.1 -days 2"
    " -addext subjectAltName=IP:127.0.0.1 -out certificate.pem -keyout key.pem"
)


def self_signed(folder: Path) -> ssl.SSLContext:
    """Make one for 127.0.0.1 in a folder; return what a server needs to show it."""
    subprocess.run(COMMAND.split(), cwd=folder, check=True, capture_output=True, timeout=20)
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    tls.load_cert_chain(folder / "certificate.pem", folder / "key.pem")
    return tls
