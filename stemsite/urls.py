"""Where each part of the site lives."""

from django.contrib import admin
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.templatetags.static import static
from django.urls import include, path

from separation.api.health import healthz, readyz

admin.site.site_header = admin.site.site_title = "Stemsite"
admin.site.index_title = "Administration"


def favicon(request: HttpRequest) -> HttpResponse:
    """What browsers ask for where a page names no icon: the admin's and the API's."""
    del request
    return redirect(static("favicon.svg"))


urlpatterns = [
    path("admin/", admin.site.urls),
    path("api/", include("separation.api.urls")),
    path("", include("memory.urls")),
    path("favicon.ico", favicon),
    path("healthz", healthz, name="healthz"),
    path("readyz", readyz, name="readyz"),
    path("", include("separation.urls")),
]

handler400 = "separation.api.fallback.bad_request"
handler403 = "separation.api.fallback.permission_denied"
handler404 = "separation.api.fallback.page_not_found"
handler500 = "separation.api.fallback.server_error"
