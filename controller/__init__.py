"""The program that decides which device gets which release, and when."""
