"""The housekeeper of a host, with a real database and files."""

from uuid import uuid4

import pytest
from django.db import connections
from django.db.backends.base.base import BaseDatabaseWrapper

from separation.models import SeparationJob
from separation.services import staging
from separation.services.housekeeping import Chore, Housekeeper, default_chores
from separation.states import Fence

from .conftest import staged

pytestmark = pytest.mark.django_db(transaction=True)


def test_a_slow_chore_leaves_no_connection_open() -> None:
    used: list[BaseDatabaseWrapper] = []

    def look() -> None:
        SeparationJob.objects.count()
        used.append(connections["default"])

    house = Housekeeper([Chore("looking", 1, look, slow=True)])
    house.turn()
    house.join(30)
    assert [each.connection for each in used] == [None]


def test_one_turn_of_everything_sweeps_what_a_lost_worker_left() -> None:
    staging.folder_of(Fence(uuid4(), 1)).mkdir(parents=True)
    house = Housekeeper(default_chores())
    house.turn()
    house.join(60)
    assert staged() == []
