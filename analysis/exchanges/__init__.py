"""What was negotiated, one source a module."""
