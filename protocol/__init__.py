"""What crosses the wire, and what controller and agent must agree on. Pure: no I/O, no clock, no chance."""
