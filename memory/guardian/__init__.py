"""The small program that stands between the service and one supervised process tree.

It runs as `python -I -S memory/guardian/__main__.py`, without Django or site-packages, so that it starts in
milliseconds and goes on working whatever happens to the service. It owns enforcement; what the end of a
tree means is decided by `memory.processes`.
"""
