"""Sink to Elasticsearch: what ``delist.sinks.opensearch`` does, which has the same interface."""

from delist.sinks.opensearch import Settings, open_sink

__all__ = ["Settings", "open_sink"]
