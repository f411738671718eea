"""Judges a capture, its own or a stranger's, and shows what it found (never imports lab)."""
