"""`/api/docs/`: the schema as a page to read and try, all of it served from here, no inline script."""

from drf_spectacular.views import SpectacularSwaggerSplitView


class Docs(SpectacularSwaggerSplitView):
    """Swagger UI. The schema is public, and so is this page; what it calls needs an account."""

    url_name = "api-schema"
    template_name = "api/docs.html"
    authentication_classes = []
    permission_classes = []
