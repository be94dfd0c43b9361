"""The queue from crawlers to the indexer: NATS JetStream. Needs the extra ``cluster``.

``messages`` says what a message is, ``sealing`` how it is closed, ``publishing`` and ``taking``
are the two ends, ``connection`` is what they share.
"""
