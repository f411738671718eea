"""Where the two ends run: network namespaces, loopback addresses, virtual machines."""
