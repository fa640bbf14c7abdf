"""What the options form shows beside its fields: readiness of models, meaning of presets, groups of formats."""

from pathlib import Path
from typing import Any

from django.conf import settings

from separation import catalog
from separation.forms import OptionsForm, output_groups
from separation.options import PRESETS


def options_context(form: OptionsForm) -> dict[str, Any]:
    """Everything `partials/options.html` needs."""
    return {
        "form": form,
        "models": list(models()),
        "presets": PRESETS.values(),
        "outputs": list(output_groups()),
        "stem_names": [name for name, _ in form.fields["stems"].choices],  # type: ignore[attr-defined]
    }


def models() -> list[dict[str, Any]]:
    """Each model with whether it can be used now, ready ones first."""
    folder = Path(settings.MODEL_DIR)
    rows = [
        {"info": info, "ready": catalog.is_ready(name, folder), "stems": " ".join(info.sources)}
        for name, info in catalog.MODELS.items()
    ]
    return sorted(rows, key=lambda row: not row["ready"])
