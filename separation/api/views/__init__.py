"""The views of the API: each reads a request, calls a service, shows the result."""
