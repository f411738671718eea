"""What carries packets between engines: loopback in virtual time, faults, tap, UDP sockets."""
