"""A certificate that nobody has signed whom anybody trusts."""

import ssl

import trustme


def self_signed() -> ssl.SSLContext:
    """Make one for 127.0.0.1; return what a server needs to show it."""
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    trustme.CA().issue_cert("127.0.0.1").configure_cert(tls)
    return tls
