"""Bytes, processes and hosts. Never imports `separation`; another Django project can install it as it is."""
