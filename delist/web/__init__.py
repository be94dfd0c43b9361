"""The web side: the HTTP API, and the pages of reviewers and survivors.

``app`` puts everything together. What surrounds every request is ASGI, from the outside in:
``problems`` (nothing unforeseen gets out), ``headers``, ``metrics``, ``bodies`` (how much, how
slowly) and ``tokens`` (who calls, how often). ``api`` has one router for each thing; ``server``
is the process around it.
"""
