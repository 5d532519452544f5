"""Counts of things in sentences for people."""


def counted(count: int, noun: str, plural: str = "") -> str:
    """Return a count of things in words; the plural is that with an s, unless told otherwise.

    >>> counted(1, "device"), counted(2, "device"), counted(0, "more device"), counted(2, "success", "successes")
    ('1 device', '2 devices', '0 more devices', '2 successes')
    """
    return f"{count} {noun if count == 1 else plural or f'{noun}s'}"


def are(count: int) -> str:
    """Return the verb that follows a count.

    >>> [f"{count} {are(count)} at work" for count in (1, 2)]
    ['1 is at work', '2 are at work']
    """
    return "is" if count == 1 else "are"
