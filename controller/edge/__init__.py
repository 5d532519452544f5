"""The built-in MQTT 5 endpoint: devices connect here over mutual TLS. Not a general broker."""
