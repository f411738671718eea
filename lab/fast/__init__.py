"""What a NIC does in hardware: packets of established connections that come in order, compiled."""
