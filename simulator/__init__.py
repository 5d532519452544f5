"""Devices, networks and brokers that do not exist, for rehearsals, tests and load."""
