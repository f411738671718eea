"""One HTML file whose policy allows its own scripts and style, by hash, and nothing else."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError
from importlib.metadata import version as installed_version
from pathlib import Path
from typing import Any

from markupsafe import Markup

from analysis.templating import environment, source

POLICY = (
    "default-src 'none'; script-src {scripts}; style-src {style}; "
    "base-uri 'none'; form-action 'none'"
)


def render(template: str, scripts: Sequence[Markup] = (), **values: Any) -> str:
    """The page of `template`: what it says is `values`, escaped; what it runs is `scripts`."""
    style = source("page.css")
    allowed = " ".join(map(digest, scripts)) or "'none'"
    policy = POLICY.format(scripts=allowed, style=digest(style))
    return (
        environment()
        .get_template(template)
        .render(
            **values,
            scripts=scripts,
            style=style,
            policy=Markup(policy),
            version=own_version(),
        )
    )


def write(path: Path, html: str) -> Path:
    """Write a page whole or not at all; raises OSError where that is not possible."""
    part = path.with_name(path.name + ".part")
    try:
        # JSON can hold halves of surrogate pairs, which UTF-8 cannot.
        part.write_text(html, encoding="utf-8", errors="replace")
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)
    return path


def digest(text: str) -> str:
    """A content-security-policy source that allows exactly `text` inline."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


def own_version() -> str:
    """The installed version, or `(not installed)` for a bare source tree."""
    try:
        return installed_version("rocelab")
    except PackageNotFoundError:
        return "(not installed)"
