"""The Django project: settings, URLs, WSGI. It owns wiring and no behaviour."""
