"""All settings of one configuration file, and that file written out with its explanations.

``reading`` has the whole, ``checks`` what no single setting can say is wrong, ``writing`` the file
with every key; the sections stand in ``deciding``, ``publishing``, ``running`` and ``web``.
"""

from delist.settings.checks import is_private_enough
from delist.settings.deciding import (
    AppealSettings,
    PolicySettings,
    RecrawlSettings,
    RetentionSettings,
    ReviewSettings,
)
from delist.settings.publishing import ConsumerSettings, LedgerSettings, SinkTable
from delist.settings.reading import DelistSettings, load_settings
from delist.settings.running import (
    BackupSettings,
    DatabaseSettings,
    JobSettings,
    MetricsSettings,
    TracingSettings,
)
from delist.settings.web import OidcSettings, WebSettings
from delist.settings.writing import annotated_configuration

__all__ = [
    "AppealSettings",
    "BackupSettings",
    "ConsumerSettings",
    "DatabaseSettings",
    "DelistSettings",
    "JobSettings",
    "LedgerSettings",
    "MetricsSettings",
    "OidcSettings",
    "PolicySettings",
    "RecrawlSettings",
    "RetentionSettings",
    "ReviewSettings",
    "SinkTable",
    "TracingSettings",
    "WebSettings",
    "annotated_configuration",
    "is_private_enough",
    "load_settings",
]
