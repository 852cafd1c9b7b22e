"""What the scripts share: the client as the test set it up, contents, and what must fail."""

import hashlib
import os
import sys
from pathlib import Path

from huggingface_hub import HfApi
from huggingface_hub.errors import HfHubHTTPError

WRITE = os.environ["TEST_HUB_WRITE"]
READ = os.environ["TEST_HUB_READ"]
STRANGER = os.environ["TEST_HUB_STRANGER"]
WORK = Path(os.environ["TEST_HUB_WORK"])

api = HfApi(token=WRITE)


def contents(name: str, size: int) -> bytes:
    """Bytes that look like a wheel's, the same in each run; the Rust side makes them the same way."""
    out = bytearray()
    block = 0
    while len(out) < size:
        out += hashlib.sha256(f"{name} {block}".encode()).digest()
        block += 1
    return bytes(out[:size])


def same(got, want, what: str) -> None:
    if got != want:
        sys.exit(f"{what}: got {got!r}, want {want!r}")


def fails(what: str, kind: type, status: int | None, call) -> Exception:
    """Runs a call that must raise just this class, with this status."""
    try:
        call()
    except Exception as error:  # noqa: BLE001: any other class is the finding
        if type(error) is not kind:
            sys.exit(f"{what}: {type(error).__name__} instead of {kind.__name__}: {error}")
        if status is not None:
            same(error.response.status_code, status, what)
        return error
    sys.exit(f"{what}: nothing was raised, {kind.__name__} was to be")


def http_fails(what: str, status: int, call) -> Exception:
    return fails(what, HfHubHTTPError, status, call)
