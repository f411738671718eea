"""The pyverbs-shaped API over the userspace engine."""
