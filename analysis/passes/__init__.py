"""Judgements, one a file: the docstring is its manual page."""
