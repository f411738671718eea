"""What the transport reaches on this machine, beside plain sockets measured in the same run."""
