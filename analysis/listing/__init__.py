"""Packets for people and for pipes: lines, trees, fields, selections, counts."""
