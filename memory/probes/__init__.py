"""Readings of hosts, control groups and process trees. Decides nothing."""
