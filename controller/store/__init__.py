"""The database: SQLAlchemy Core behind the ports of `controller.app.repositories`."""
