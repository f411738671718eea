"""Runs a scenario from the hosts' making to the last byte of evidence."""
