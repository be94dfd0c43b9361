"""Those who obey the ledger: search engines, caches, archives, and what each is told.

A consumer is a name and a position in the ledger. It either asks by itself and acknowledges
(``following``), or a sink of ours brings it what is new (``delist.sinks``). What it is told is an
instruction (``instructions``): no feed, no distance, no case, and of an address only a hash under
a key that this consumer alone has (``keys``).
"""

from delist.consumers.following import Followers, Page
from delist.consumers.instructions import Instruction, document
from delist.consumers.keys import ConsumerKey
from delist.consumers.standing import Standing

__all__ = ["ConsumerKey", "Followers", "Instruction", "Page", "Standing", "document"]
