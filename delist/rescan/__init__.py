"""Re-scans of exported files of hashes, over many processes or many machines (ADR 0047).

``unit`` is the work: one pure function from an Arrow batch and a generation of the signals to
a table of matches. ``work`` does a file with it, ``local``, ``on_ray`` and ``on_spark`` are the
engines that run ``work`` over many, ``running`` is the driver: it keeps the ``manifest`` and takes
in what was found. Needs the extra ``tables``; engines on clusters the extras ``ray``, ``spark``.
"""
