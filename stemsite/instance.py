"""What an instance keeps in DATA_DIR from its first start, folders and secret key, and that one start holds it; and
its host in addresses."""

import fcntl
import logging
import os
import secrets
from pathlib import Path
from typing import Any

from django.core.exceptions import ImproperlyConfigured

logger = logging.getLogger(__name__)


def prepare_folders(*folders: Path) -> None:
    """Make the folders that do not exist yet; ImproperlyConfigured says which cannot be made and why."""
    for folder in folders:
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise ImproperlyConfigured(f"DATA_DIR cannot be used: {folder}: {error.strerror}.") from error


def hold(data_dir: Path) -> int:
    """Keep every other start out of `data_dir` until this process ends, whatever it execs; the descriptor that does.

    Raises ImproperlyConfigured while another process does. One that was killed holds nothing, whatever the file says.
    """
    try:
        descriptor = os.open(data_dir / "lock", os.O_RDWR | os.O_CREAT, 0o600)
    except OSError as error:
        raise ImproperlyConfigured(f"DATA_DIR cannot be used: {data_dir / 'lock'}: {error.strerror}.") from error
    os.set_inheritable(descriptor, True)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        holder = os.read(descriptor, 20).decode()
        os.close(descriptor)
        raise ImproperlyConfigured(
            f"DATA_DIR {data_dir} is in use by process {holder}; stop that, or choose another with DATA_DIR=…."
        ) from None
    except OSError as error:  # a file system without locks: then nobody is kept out
        logger.warning("%s cannot be locked: %s", data_dir, error.strerror)
    os.truncate(descriptor, 0)
    os.write(descriptor, str(os.getpid()).encode())
    return descriptor


def in_address(host: str) -> str:
    """A host as it stands before a port: an IPv6 address has brackets there."""
    return f"[{host}]" if ":" in host and not host.startswith("[") else host


def file_storage(chosen: dict[str, Any]) -> dict[str, Any]:
    """The storage that was chosen; for S3 this project's own way to it, which holds less in memory."""
    if chosen.get("BACKEND") in ("storages.backends.s3.S3Storage", "storages.backends.s3boto3.S3Boto3Storage"):
        return {**chosen, "BACKEND": "separation.s3.FrugalS3Storage"}
    return chosen


def instance_secret(data_dir: Path) -> str:
    """The key kept in `data_dir/secret_key`, made on first use; safe when several processes start at once."""
    path = data_dir / "secret_key"
    if not path.exists():
        _create(path)
    return path.read_text().strip()


def _create(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f"{path.name}.{secrets.token_hex(8)}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(secrets.token_urlsafe(64))
    try:
        os.link(draft, path)  # fails if another process was first; its key then counts
    except FileExistsError:
        pass
    finally:
        draft.unlink()
