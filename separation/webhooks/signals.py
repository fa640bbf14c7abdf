"""A finished job becomes a message for each endpoint that wants it, in the transaction that finished the job."""


def connect() -> None:
    """Called once the apps are ready."""
