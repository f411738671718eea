"""What the bytes mean: headers, opcodes, PSNs, ICRC (pure: no I/O, no clock, no dice)."""
