"""Uploads in the admin: what is on its way in, and what became of the rest. Never edited.

The bytes of a deleted one are a stray of the staging area, which the hourly clean-up removes.
"""

from django.contrib import admin
from django.http import HttpRequest

from memory.admin import FewAtOnce
from separation.uploads.models import Upload


@admin.register(Upload)
class UploadAdmin(FewAtOnce):
    list_display = ["filename", "owner", "state", "offset", "length", "reason", "created_at", "expires_at"]
    list_filter = ["state"]
    search_fields = ["=id", "filename", "owner__username"]
    list_select_related = ["owner"]
    show_full_result_count = False

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Upload | None = None) -> bool:
        return obj is None and super().has_change_permission(request, obj)
