"""The HTTP API: one router for each thing. ``docs/security.md`` lists every route."""
