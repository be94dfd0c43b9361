"""What people who are shown in images can do here themselves, without an account.

::

    statement.py   a report as somebody wrote it, checked
    taking.py      reports are taken in, compared, and erased in time
    reviewing.py   what a reviewer needs of a report
    opening.py     one's own case: opened with two things that only its holder has
    holding.py     what its holder can do: look, ask to look again, withdraw
    sealing.py     how contact and statement are kept

Reports lead to a person, never to an automatic action (``policy.rules.DIRECT_FEED``).
"""
