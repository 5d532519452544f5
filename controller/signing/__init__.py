"""Keys at rest, the two trust roots and the release file, and the tenant's certificate authority."""
