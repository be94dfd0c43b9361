"""Reports as HTML pages that load nothing, send nothing, and run one script at most: ours.

The Content-Security-Policy of a page allows the style and the script by their hashes and
nothing else, so that whatever an address or a name in a report holds, it stays text.
"""

from base64 import b64encode
from functools import cache
from hashlib import sha256
from importlib.resources import files

from jinja2 import Environment, PackageLoader, StrictUndefined, select_autoescape
from markupsafe import Markup

from delist.reporting.languages import Language


def render(template: str, words: Language, **values: object) -> str:
    """Write a page in a language.

    Args:
        template: its name in ``delist/templates``.
        values: what the template asks for.
    """
    style, script = _asset("report.css"), _asset("report.js")
    policy = (
        f"default-src 'none'; style-src '{_source(style)}'; script-src '{_source(script)}';"
        " base-uri 'none'; form-action 'none'"
    )
    return (
        _environment(words)
        .get_template(template)
        .render(language=words, style=style, script=script, policy=policy, **values)
    )


def fragment(template: str, words: Language, **values: object) -> Markup:
    """Write a part of a page in a language, for a page of ours that has a frame of its own."""
    text = _environment(words).get_template(template).render(language=words, **values)
    return Markup(text)  # noqa: S704 - written with everything escaped


@cache
def _environment(words: Language) -> Environment:
    environment = Environment(
        loader=PackageLoader("delist"),
        autoescape=select_autoescape(),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.globals["_"] = words.say
    return environment


@cache
def _asset(name: str) -> Markup:
    """Load a part of every page; ours, so it is put in as it is."""
    text = (files("delist.reporting") / name).read_text(encoding="utf-8")
    return Markup(text)  # noqa: S704 - a file of this package


def _source(text: str) -> str:
    """Name a text as a Content-Security-Policy does."""
    return "sha256-" + b64encode(sha256(text.encode()).digest()).decode()
