"""One person's requests that are counted, one after the other.

Where a limit is checked and then used up, two requests at once would both find room. Owns how the second is made to
wait for the first; what is counted is said elsewhere.
"""

from __future__ import annotations

from django.contrib.auth.models import User


def take_turn(owner: User) -> None:
    """Wait until no other transaction has the owner's turn; it is kept to the end of the transaction this is in.

    To come before all that the transaction counts, and locks besides. PostgreSQL locks the owner's row, in a
    way that keeps nobody from inserting what refers to it; SQLite's transactions wait for one another as they begin.
    """
    User.objects.select_for_update(no_key=True).filter(pk=owner.pk).values_list("pk").first()
