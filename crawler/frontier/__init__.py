"""The frontier that crawlers on several machines share, in Redis. Needs the extra ``cluster``."""

from crawler.frontier.frontier import Drawn, Frontier, FrontierGoneError
from crawler.frontier.pacing import SharedPacing
from crawler.frontier.tasks import Kind, Task, key_of

__all__ = ["Drawn", "Frontier", "FrontierGoneError", "Kind", "SharedPacing", "Task", "key_of"]
