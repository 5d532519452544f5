"""Queries as callers write them."""

from controller.app.errors import InvalidRequest
from controller.domain import query as queries
from controller.domain.group import parse_path
from controller.domain.query.tree import Formula, InGroup, all_of
from protocol.errors import InvalidName


def formula_from(query: str | None, group: str | None = None) -> Formula | None:
    """Return what devices must fulfil, or None where nothing was asked for.

    Raises:
        InvalidRequest: when *query* is no query, or *group* no path of one.
    """
    parts: list[Formula] = []
    if query is not None:
        parts.append(parsed(query))
    if group is not None:
        parts.append(InGroup(checked_path(group)))
    return all_of(*parts) if parts else None


def parsed(query: str) -> Formula:
    """Return the tree of a query.

    Raises:
        InvalidRequest: with the line and column of the fault, when it is none.
    """
    try:
        return queries.parse(query)
    except queries.InvalidQuery as error:
        raise InvalidRequest(f"query {error}") from error


def checked_path(path: str) -> str:
    """Return a group's path.

    Raises:
        InvalidRequest: when it is none.
    """
    try:
        return parse_path(path)
    except InvalidName as error:
        raise InvalidRequest(str(error)) from error
