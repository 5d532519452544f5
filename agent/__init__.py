"""The program on a device: a pure core in a thin shell."""
