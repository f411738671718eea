"""Records what two hosts say to each other."""
