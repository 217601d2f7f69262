"""The real gcloud with a configuration of its own, which asks nobody outside this machine who it is or what is new."""

from __future__ import annotations

from pathlib import Path


def gcloud_env(home: Path) -> dict[str, str]:
    """Variables for it; where its services are is for their emulators to add."""
    return {
        "CLOUDSDK_CORE_ACCOUNT": "me@example.com",
        "CLOUDSDK_AUTH_DISABLE_CREDENTIALS": "true",
        "CLOUDSDK_CONFIG": str(home / ".config/gcloud"),
        "CLOUDSDK_CORE_DISABLE_PROMPTS": "1",
        "CLOUDSDK_COMPONENT_MANAGER_DISABLE_UPDATE_CHECK": "1",
        "CLOUDSDK_CORE_DISABLE_USAGE_REPORTING": "1",
        "GCE_METADATA_ROOT": "127.0.0.1:9",  # which is asked whether this is a machine of Google's
    }
