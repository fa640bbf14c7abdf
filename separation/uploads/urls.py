"""Where uploads live, below /api/v1/."""

from django.urls import path

from separation.uploads.views import UploadCollection, UploadDetail

urlpatterns = [
    path("uploads/", UploadCollection.as_view(), name="api-uploads"),
    path("uploads/<uuid:id>/", UploadDetail.as_view(), name="api-upload"),
]
