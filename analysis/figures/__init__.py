"""Figures of a capture: ladder, PSN over time, opcode counts; on a page or as SVG, PNG, PDF."""
