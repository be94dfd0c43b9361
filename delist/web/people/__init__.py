"""Who looks at a page, and what keeps strangers and forged forms out.

A route of the console takes ``person: Annotated[Person, Depends(signed_on(Role.REVIEWER))]``;
that also checks the form where the method changes something, so it cannot be forgotten. A public
page's form takes ``dependencies=[Depends(form_guard)]``.
"""

from delist.people import Person, Preferences, Role, SignOn, Theme
from delist.web.people.guards import SignOnNeeded, form_guard, signed_on

__all__ = [
    "Person",
    "Preferences",
    "Role",
    "SignOn",
    "SignOnNeeded",
    "Theme",
    "form_guard",
    "signed_on",
]
