"""What the two ends tell each other before the first RDMA packet, inside TLS."""
