"""What a listing cannot do."""

from __future__ import annotations


class ListingError(ValueError):
    """A filter or field that is none; the message says what was expected and found."""
