"""Where the templates of all reports lie, and how they are filled: every text is escaped."""

from __future__ import annotations

from pathlib import Path

import jinja2
from markupsafe import Markup

from rollouts.terminal import printable

# The page's name in a run's or an evaluation's folder.
REPORT = "report.html"


def environment() -> jinja2.Environment:
    """Where the templates of reports lie; every text is escaped, and what a terminal would act on is made visible."""
    return jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent / "templates"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=lambda value: printable(value) if isinstance(value, str) and not isinstance(value, Markup) else value,
    )
