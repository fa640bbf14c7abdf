"""Where the API lives, below /api/. Each address ends with a slash, except files."""

from django.urls import URLPattern, URLResolver, include, path, re_path
from drf_spectacular.views import SpectacularAPIView

from separation.api.docs import Docs
from separation.api.fallback import unknown
from separation.api.views import account, files, jobs, service, tracks

v1: list[URLPattern | URLResolver] = [
    path("", include("separation.uploads.urls")),
    path("tracks/", tracks.TrackList.as_view(), name="api-tracks"),
    path("tracks/<uuid:id>/", tracks.TrackDetail.as_view(), name="api-track"),
    path("jobs/", jobs.JobList.as_view(), name="api-jobs"),
    path("jobs/batch/", jobs.JobBatch.as_view(), name="api-jobs-batch"),
    path("jobs/<uuid:id>/", jobs.JobDetail.as_view(), name="api-job"),
    path("jobs/<uuid:id>/cancel/", jobs.JobCancel.as_view(), name="api-job-cancel"),
    path("jobs/<uuid:id>/retry/", jobs.JobRetry.as_view(), name="api-job-retry"),
    path("jobs/<uuid:id>/link/", service.ZipLink.as_view(), name="api-job-link"),
    path("jobs/<uuid:id>/stems.zip", files.StemsZip.as_view(), name="api-job-zip"),
    path("stems/<uuid:id>/audio", files.StemAudio.as_view(), name="api-stem-audio"),
    path("stems/<uuid:id>/link/", service.StemLink.as_view(), name="api-stem-link"),
    path("estimates/", jobs.Estimates.as_view(), name="api-estimates"),
    path("models/", service.Models.as_view(), name="api-models"),
    path("limits/", service.Limits.as_view(), name="api-limits"),
    path("memory/", service.Memory.as_view(), name="api-memory"),
    path("tokens/", account.Tokens.as_view(), name="api-tokens"),
    path("tokens/<int:id>/", account.TokenDetail.as_view(), name="api-token"),
    path("webhooks/", account.Webhooks.as_view(), name="api-webhooks"),
    path("webhooks/<uuid:id>/", account.WebhookDetail.as_view(), name="api-webhook"),
]

urlpatterns = [
    path("v1/", include(v1)),
    path(
        "schema/",
        SpectacularAPIView.as_view(authentication_classes=[], permission_classes=[]),
        name="api-schema",
    ),
    path("docs/", Docs.as_view(), name="api-docs"),
    path("problems/<slug:code>/", service.problem_meaning, name="api-problem"),
    re_path(r"^(?P<rest>.*)$", unknown),
]
