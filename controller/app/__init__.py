"""The use cases: one function per intention, one transaction each; everything outside is a port."""
