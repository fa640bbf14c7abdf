"""WSGI entry point: `gunicorn stemsite.wsgi`."""

import os
from typing import Any

from django.core.handlers.wsgi import WSGIRequest
from django.core.wsgi import get_wsgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "stemsite.settings")


class Request(WSGIRequest):
    """A request. One whose Content-Type cannot be read has none: Django would raise before anything catches it."""

    def _set_content_type_params(self, meta: dict[str, Any]) -> None:
        try:
            super()._set_content_type_params(meta)  # type: ignore[misc]
        except (LookupError, ValueError):
            self.content_type, self.content_params = "", {}


application = get_wsgi_application()
application.request_class = Request
