"""The sans-IO RoCEv2 transport: packets, work and time in; packets, events, timers out."""
