"""Devices behind an external MQTT broker."""
