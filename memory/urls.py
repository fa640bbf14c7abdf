"""Addresses of this app outside the admin; include them at the site's root."""

from django.urls import path

from memory.views import metrics

urlpatterns = [path("metrics", metrics, name="metrics")]
