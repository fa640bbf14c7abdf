"""The forms of the pages: the first account, and what to make of a file. Owns fields and their choices.

What a separation may ask for is decided in `separation.options`; the form only translates.
"""

from collections.abc import Iterator
from typing import Any

from django import forms
from django.contrib.auth.forms import UserCreationForm
from django.core.exceptions import NON_FIELD_ERRORS, ValidationError
from django.core.files.uploadedfile import UploadedFile

from separation import catalog, setup
from separation.errors import ServiceError
from separation.formats import DEFAULT_FORMAT, FORMATS
from separation.options import DEFAULT_PRESET, PRESETS, SeparationOptions
from separation.services.submission import default_model, parse_options
from separation.templatetags.pages import vocals_first


class SetupForm(UserCreationForm):
    """Code, user name and password of the first account. `is_valid` raises `setup.TooManyGuesses`."""

    code = forms.CharField(
        label="Setup code",
        help_text="It was printed in the console when the server started.",
        widget=forms.TextInput(
            attrs={
                "autocomplete": "one-time-code",
                "autocapitalize": "characters",
                "spellcheck": "false",
                "autofocus": True,
            }
        ),
        max_length=40,
    )
    field_order = ("code", "username", "password1", "password2")

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["username"].widget.attrs.pop("autofocus", None)
        self.fields["username"].help_text = ""
        self.fields["password1"].help_text = "At least 8 characters, and not one that everybody uses."
        self.fields["password2"].label = "Password, once more"
        self.fields["password2"].help_text = ""

    def clean_code(self) -> str:
        code: str = self.cleaned_data["code"]
        if not setup.guess_limit().check(code):
            raise ValidationError("This is not the code that the console shows.", code="wrong_code")
        return code


ALL, TWO, SOME = "all", "two", "some"
FIRST_STEM = "vocals"


class OptionsForm(forms.Form):
    """What to make of a track. `cleaned_data["options"]` is a `SeparationOptions`."""

    model = forms.ChoiceField()
    preset = forms.ChoiceField(initial=DEFAULT_PRESET)
    split = forms.ChoiceField(
        choices=[(ALL, "All stems"), (TWO, "One stem and the rest"), (SOME, "Chosen stems")], initial=ALL
    )
    two_stems = forms.ChoiceField(required=False)
    stems = forms.MultipleChoiceField(required=False)
    output = forms.ChoiceField(label="Files")

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._choices("model", [(name, info.label) for name, info in catalog.MODELS.items()])
        self._choices("preset", [(name, name.capitalize()) for name in PRESETS])
        self._choices("two_stems", [(stem, stem.capitalize()) for stem in _vocals_first()])
        self._choices("stems", [(stem, stem.capitalize()) for stem in _vocals_first()])
        self._choices("output", [(value, label) for _, group in output_groups() for value, label in group])
        self.fields["model"].initial = default_model()
        self.fields["two_stems"].initial = FIRST_STEM
        self.fields["output"].initial = default_output()

    def _choices(self, name: str, choices: list[tuple[str, str]]) -> None:
        field = self.fields[name]
        assert isinstance(field, forms.ChoiceField)
        field.choices = choices

    def clean(self) -> dict[str, Any]:
        data = self.cleaned_data
        if self.errors:
            return data
        if data["split"] == SOME and not data["stems"]:
            raise ValidationError({"stems": "Choose at least one stem."})
        try:
            data["options"] = parse_options(self.request_data())
        except ServiceError as error:
            raise ValidationError({_form_field(error.field): error.message}) from error
        return data

    def request_data(self) -> dict[str, Any]:
        """The options as the API takes them."""
        data = self.cleaned_data
        name, _, quality = data["output"].partition(":")
        asked: dict[str, Any] = {"model": data["model"], "preset": data["preset"], "format": name}
        asked["quality"] = {key: int(value) for key, _, value in [quality.partition("=")]}
        if data["split"] == TWO:
            asked["two_stems"] = data["two_stems"]
        elif data["split"] == SOME:
            asked["stems"] = data["stems"]
        return asked


def fields_of(options: SeparationOptions) -> dict[str, Any]:
    """What the form begins with to ask for these options again."""
    model, audio = catalog.MODELS[options.model], FORMATS[options.format]
    split = TWO if options.two_stems else ALL if set(options.stems) == set(model.sources) else SOME
    setting = audio.qualities[0].name
    return {
        "model": options.model,
        "preset": options.preset,
        "split": split,
        "two_stems": options.two_stems or FIRST_STEM,
        "stems": options.stems if split == SOME else (),
        "output": f"{options.format}:{setting}={options.quality[setting]}",
    }


def _form_field(option: str | None) -> str:
    """The field that an option is chosen with; none of ours stands for the whole form."""
    field = {"quality": "output", "format": "output"}.get(option or "", option or "")
    return field if field in OptionsForm.base_fields else NON_FIELD_ERRORS


def _vocals_first() -> list[str]:
    return vocals_first(catalog.SIX_STEMS)


def output_groups() -> Iterator[tuple[str, list[tuple[str, str]]]]:
    """Formats with their qualities: `("WAV", [("wav:bits=16", "WAV, 16-bit"), …])`."""
    for item in FORMATS.values():
        setting = item.qualities[0]
        yield (
            item.label,
            [
                (f"{item.name}:{setting.name}={value}", f"{item.label}, {setting.labels[value]}")
                for value in setting.values
            ],
        )


def default_output() -> str:
    setting = FORMATS[DEFAULT_FORMAT].qualities[0]
    return f"{DEFAULT_FORMAT}:{setting.name}={setting.default}"


class _FilesInput(forms.ClearableFileInput):
    allow_multiple_selected = True


class _FilesField(forms.FileField):
    """One or more uploaded files. An empty one is let through: the service says what is wrong with it."""

    widget = _FilesInput

    def clean(self, data: Any, initial: Any = None) -> list[UploadedFile]:
        single = super().clean
        return [single(item, initial) for item in data] if data else [single(None, initial)]


class UploadForm(OptionsForm):
    """Files and what to make of them, in one plain post: the way without JavaScript."""

    file = _FilesField(allow_empty_file=True, max_length=255)
