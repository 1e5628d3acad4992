"""Whom to trust: one answer for every store's driver.

Each driver has an own idea of "the system's certificate authorities", and psycopg's binary wheel looks for them in a
folder that exists nowhere. So the file is found here, and named to each of them.
"""

from __future__ import annotations

import os
import ssl
from pathlib import Path

from kos.topology.model import Tls

_BUNDLES = (
    "/etc/ssl/certs/ca-certificates.crt",  # Debian, Alpine
    "/etc/pki/tls/certs/ca-bundle.crt",  # Fedora, RHEL
    "/etc/ssl/ca-bundle.pem",  # SUSE
    "/etc/ssl/cert.pem",  # macOS, BSD
)


def authorities(tls: Tls | None) -> str | None:
    """The file of certificate authorities to trust: the configured one, else the system's (None: it has none)."""
    if tls and tls.ca:
        return str(tls.ca)
    default = ssl.get_default_verify_paths().cafile
    candidates = [os.environ.get("SSL_CERT_FILE"), default, *_BUNDLES]
    return next((path for path in candidates if path and Path(path).is_file()), None)
