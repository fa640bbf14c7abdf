"""What is written to the log of requests, and what is not."""

import pytest
from django.test import Client


@pytest.mark.django_db
def test_a_probe_that_is_answered_503_is_no_error_in_the_log(caplog: pytest.LogCaptureFixture) -> None:
    assert Client().get("/readyz").status_code == 503  # no worker runs here
    assert Client().get("/api/v1/nothing/").status_code == 404
    assert [record.getMessage() for record in caplog.records if record.name == "django.request"] == [
        "Not Found: /api/v1/nothing/"
    ]
