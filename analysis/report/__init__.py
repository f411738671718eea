"""The report: one HTML file that shows what a capture proves."""
