"""The queue from crawlers to the indexer: NATS JetStream. Needs the extra ``cluster``.

``messages`` says what a message is, ``sealing`` how it is closed, ``publishing`` and ``taking``
are the two ends, ``standing`` asks how much is in between, ``connection`` is what they share.
"""
