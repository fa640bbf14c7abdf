"""What clients may send: request bodies as the OpenAPI document shows them, and their first checks.

What the options mean is checked by `separation.options`, through the services; nothing here repeats that.
"""

from __future__ import annotations

from typing import Any
from uuid import UUID

from rest_framework import serializers

from separation.api.problems import Problem
from separation.catalog import MODELS
from separation.formats import FORMATS
from separation.options import CLIP_MODES, MAX_OVERLAP, MAX_SEED, MAX_SHIFTS, MODES, PRESETS

LARGEST_BATCH = 50
OWN_FIELDS = frozenset({"track", "force", "webhook_url"})


class OptionsSerializer(serializers.Serializer):
    """The options of a separation; what is left out has its default."""

    model = serializers.ChoiceField(choices=list(MODELS), required=False, allow_null=True)
    stems = serializers.ListField(child=serializers.CharField(), required=False, allow_null=True)
    two_stems = serializers.CharField(required=False, allow_null=True)
    format = serializers.ChoiceField(choices=list(FORMATS), required=False, allow_null=True)
    quality = serializers.DictField(child=serializers.IntegerField(), required=False, allow_null=True)
    preset = serializers.ChoiceField(choices=list(PRESETS), required=False, allow_null=True)
    shifts = serializers.IntegerField(min_value=0, max_value=MAX_SHIFTS, required=False, allow_null=True)
    overlap = serializers.FloatField(min_value=0, max_value=MAX_OVERLAP, required=False, allow_null=True)
    segment = serializers.FloatField(min_value=0.5, max_value=600, required=False, allow_null=True)
    clip_mode = serializers.ChoiceField(choices=list(CLIP_MODES), required=False, allow_null=True)
    mode = serializers.ChoiceField(choices=list(MODES), required=False, allow_null=True)
    seed = serializers.IntegerField(min_value=0, max_value=MAX_SEED, required=False, allow_null=True)


class EstimateRequestSerializer(OptionsSerializer):
    """A track and the options to price."""

    track = serializers.UUIDField()


class JobRequestSerializer(OptionsSerializer):
    """A track and the options to separate it with."""

    track = serializers.UUIDField()
    force = serializers.BooleanField(required=False, help_text="separate even if a finished job could be reused")
    webhook_url = serializers.URLField(required=False, allow_null=True, help_text="told when this job has ended")


class BatchRequestSerializer(serializers.Serializer):
    """Several jobs at once."""

    jobs = serializers.ListField(child=JobRequestSerializer(), min_length=1, max_length=LARGEST_BATCH)


def take_uuid(body: dict[str, Any], field: str) -> UUID:
    """The id in `field`. Raises 422 when it is none."""
    value = body.get(field)
    try:
        return UUID(value)
    except (TypeError, ValueError, AttributeError) as error:
        raise Problem(422, "invalid_option", f"{field} must be an id, as a string.", field=field) from error


def take_flag(body: dict[str, Any], field: str) -> bool:
    """The boolean in `field`, False without it. Raises 422 for anything else."""
    value = body.get(field, False)
    if not isinstance(value, bool):
        raise Problem(422, "invalid_option", f"{field} is true or false.", field=field)
    return value


def options_of(body: dict[str, Any]) -> dict[str, Any]:
    """What is left of a job request for `separation.options`."""
    return {name: value for name, value in body.items() if name not in OWN_FIELDS}
