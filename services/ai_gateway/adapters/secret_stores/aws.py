"""AWS Secrets Manager."""

from __future__ import annotations

import boto3
from botocore.config import Config

from services.ai_gateway.adapters.secret_stores.references import Reference

_QUICK = Config(connect_timeout=3, read_timeout=5, retries={"total_max_attempts": 2})


def read(reference: Reference) -> str:
    """The current version. An ARN says its region; for a name it is the environment's."""
    arn = reference.path.split(":")
    region = arn[3] if arn[0] == "arn" and len(arn) > 3 else None
    client = boto3.client("secretsmanager", region_name=region, config=_QUICK)
    return str(client.get_secret_value(SecretId=reference.path)["SecretString"])
