"""What befalls the packets of secure-flow, so that every way of recovering is seen once."""

PLAN = """
[[fault]]
from = "client"      # a request in the middle of a WRITE: NAK
action = "drop"
offset = 3

[[fault]]
from = "server"      # a READ response: the requester asks for the rest again
action = "drop"
offset = 8
response = true

[[fault]]
from = "client"      # the first packet of a WRITE behind the last
action = "reorder"
offset = 11
delay_us = 200000

[[fault]]
from = "server"      # the answer to an atomic: the request is sent again, not executed again
action = "drop"
offset = 13
response = true

[[fault]]
from = "server"      # a SEND with nothing behind it: timeout
action = "drop"
offset = 0

[[fault]]
from = "client"
action = "duplicate"
offset = 1

[[fault]]
from = "server"
action = "corrupt"
offset = 3
bit = 300

[[fault]]
from = "server"
action = "ce-mark"
offset = 5
"""
RATES = "[rates]\nseed = 1\ndrop = 0.03\nduplicate = 0.03\nreorder = 0.03\ncorrupt = 0.03\n"
