"""`python -m stemsite.announce`: waits until the instance answers, then prints its address and, at the very
first start, the code that opens the setup page."""

import os
import sys
import time
import urllib.error
import urllib.request

import django
from django.conf import settings
from django.core.management import call_command

from stemsite.instance import in_address

PATIENCE_SECONDS = 120


def main() -> int:
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "stemsite.settings")
    django.setup()
    address = f"http://{reachable(settings.HOST)}:{settings.PORT}"
    if not wait_until_ready(f"{address}/readyz", patience=PATIENCE_SECONDS):
        sys.stderr.write(f"Stemsite has not become ready; {address}/readyz says why.\n")
        return 1
    sys.stdout.write(f"\nStemsite is ready: {address}/   (Ctrl-C stops it)\n")
    sys.stdout.flush()
    call_command("setup_code")
    return 0


def reachable(host: str) -> str:
    """The host of an address that this machine can open when the server listens on `host`."""
    here = {"": "127.0.0.1", "0.0.0.0": "127.0.0.1", "[::]": "[::1]"}
    return here.get(in_address(host), in_address(host))


def wait_until_ready(url: str, *, patience: float) -> bool:
    deadline = time.monotonic() + patience
    while time.monotonic() < deadline:
        try:
            with urllib.request.urlopen(url, timeout=5) as answer:
                return answer.status == 200
        except (urllib.error.URLError, ConnectionError, TimeoutError):
            time.sleep(0.5)
    return False


if __name__ == "__main__":
    sys.exit(main())
