"""Makes real RoCEv2 traffic and records it."""
