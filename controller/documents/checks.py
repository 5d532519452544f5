"""Checks of a gate in a file: who is asked, what is expected, and what answers come to.

>>> expected("204").status_min, expected('/status == "up"').equals
(204, '"up"')
"""

import re
from typing import Annotated, Any, ClassVar, Final
from urllib.parse import urlsplit

import msgspec
from pydantic import AfterValidator, BeforeValidator, Field, StringConstraints, WithJsonSchema, model_validator

from controller.documents.fields import Enumerated, LongerSpan, Name, span_field
from controller.documents.part import Part
from controller.documents.units import render_span, shown
from controller.domain.gates.checks import EVERY_MS_MIN, Check, Http, Phase, Prometheus, Source, Webhook

URL_LENGTH_MAX: Final = 2_000
QUERY_LENGTH_MAX: Final = 4_000
ANSWERS_MAX: Final = 1_000
_STATUSES: Final = re.compile(r"([1-5][0-9]{2})(?:\.\.([1-5][0-9]{2}))?")
_POINTED: Final = re.compile(r"((?:/[^/=]*)*?)\s*==\s*(.+)", re.DOTALL)
_EXPECTED: Final = {"type": ["string", "integer"], "examples": ["200..299", 204, '/status == "up"']}
_CHECK: Final = Check(name="", source=Webhook())


class Expected(msgspec.Struct, frozen=True, kw_only=True):
    """What a page must be: its status within a range, and with a pointer the JSON there a value, as JSON text."""

    status_min: int = 200
    status_max: int = 299
    pointer: str | None = None
    equals: str = "null"


def expected(value: object) -> Expected:
    """Return what `expect` says.

    Raises:
        ValueError: when it is neither a range of statuses nor a comparison of JSON.
    """
    text = str(value) if isinstance(value, int) and not isinstance(value, bool) else value
    if isinstance(text, str) and (statuses := _STATUSES.fullmatch(text)):
        low, high = int(statuses[1]), int(statuses[2] or statuses[1])
        if low <= high:
            return Expected(status_min=low, status_max=high)
    if isinstance(text, str) and (pointed := _POINTED.fullmatch(text)):
        return Expected(pointer=pointed[1].rstrip(), equals=_json(pointed[2]))
    raise ValueError(f"expected statuses such as 200..299, or such as '/status == \"up\"', found {shown(value)}")


def _json(text: str) -> str:
    try:
        return msgspec.json.encode(msgspec.json.decode(text)).decode()
    except (msgspec.DecodeError, RecursionError) as error:
        raise ValueError(f'expected JSON after ==, such as "up" in quotes, found {shown(text)}') from error


def _url(url: str) -> str:
    """Return an address that may be asked; what it is refused for repeats nothing of it."""
    try:
        parts = urlsplit(url)
        is_whole = parts.scheme in {"https", "http"} and bool(parts.hostname) and parts.port != 0
    except ValueError as error:
        raise ValueError("expected an address such as https://shop.example/health") from error
    if not is_whole or not url.isascii() or not url.isprintable() or " " in url:
        raise ValueError("expected an address such as https://shop.example/health")
    if "@" in parts.netloc or parts.fragment:
        raise ValueError("an address has no user, no password and no fragment")
    return url


def _every(span_ms: int) -> int:
    if span_ms < EVERY_MS_MIN:
        raise ValueError(f"expected at least {render_span(EVERY_MS_MIN)}")
    return span_ms


Url = Annotated[
    str,
    StringConstraints(max_length=URL_LENGTH_MAX),
    AfterValidator(_url),
    WithJsonSchema({"type": "string", "maxLength": URL_LENGTH_MAX, "examples": ["https://shop.example/health"]}),
]
Expectation = Annotated[Expected, BeforeValidator(expected), WithJsonSchema(_EXPECTED)]
Answers = Annotated[int, Field(ge=1, le=ANSWERS_MAX)]
Number = Annotated[float, Field(allow_inf_nan=False)]


class HttpPart(Part):
    """A page that is asked for. No redirect is followed."""

    url: Url
    """Its address. The controller reaches public addresses alone, unless its operator allows others."""
    expect: Expectation | None = None
    """Its status, as `204`, 200..299 when left out; or what its JSON has at a pointer (RFC 6901), as
    `/status == "up"`."""

    def to_domain(self) -> Http:
        """Return the domain's own."""
        return Http(url=self.url, **msgspec.structs.asdict(self.expect or Expected()))


class PrometheusPart(Part):
    """An instant query of Prometheus: every sample must be below, or above, a number. No sample is no data."""

    url: Url
    """Where Prometheus is, without `/api/v1/query`."""
    query: Annotated[str, StringConstraints(min_length=1, max_length=QUERY_LENGTH_MAX)]
    """What is asked, in PromQL."""
    below: Number | None = None
    """Every sample must be less."""
    above: Number | None = None
    """Every sample must be more."""

    @model_validator(mode="after")
    def _has_one_limit(self) -> "PrometheusPart":
        if (self.below is None) == (self.above is None):
            raise ValueError("expected exactly one of 'below' and 'above'")
        return self


class WebhookPart(Part):
    """A build system that tells by itself, signed as calls of the job's webhook are."""


class CheckPart(Part):
    """What others must say before the stage passes; exactly one of `http`, `prometheus` and `webhook` says who."""

    name: Name
    """What it is called, within its stage."""
    http: HttpPart | None = None
    """A page is asked for."""
    prometheus: PrometheusPart | None = None
    """Prometheus is asked."""
    webhook: WebhookPart | None = None
    """A build system tells by itself: `{}`."""
    every: Annotated[LongerSpan, AfterValidator(_every)] = span_field(_CHECK.every_ms)
    """How often it is asked."""
    needed: Answers = _CHECK.needed
    """How many successes in a row it takes to pass."""
    fails_after: Answers = _CHECK.fails_after
    """How many failures in a row breach the gate; what then happens is said by `on_breach`."""
    no_data_after: LongerSpan = span_field(_CHECK.no_data_after_ms)
    """After how long without an answer the run is paused."""
    at: Annotated[Phase, Enumerated] = _CHECK.at
    """From when on it is asked: `soak`, once the share that must succeed has; `rollout`, once the stage opens."""
    dry_run: bool = False
    """Whether what it finds is only told in the run's timeline."""
    renamed: ClassVar[dict[str, str]] = {"every": "every_ms", "no_data_after": "no_data_after_ms"}
    only_here: ClassVar[frozenset[str]] = frozenset({"http", "prometheus", "webhook"})

    @model_validator(mode="after")
    def _asks_one(self) -> "CheckPart":
        if sum(one is not None for one in (self.http, self.prometheus, self.webhook)) != 1:
            raise ValueError("expected exactly one of 'http', 'prometheus' and 'webhook'")
        return self

    def to_domain(self) -> Check:
        """Return the domain's own."""
        return self.into(Check, source=self._source())

    def _source(self) -> Source:
        if self.http is not None:
            return self.http.to_domain()
        return Webhook() if self.prometheus is None else self.prometheus.into(Prometheus)


def check_document(check: Check) -> dict[str, Any]:
    """Return a check in the shape of its file: what differs from the defaults."""
    document: dict[str, Any] = {"name": check.name, **_source_document(check.source)}
    for name in ("every", "no_data_after"):
        span_ms = getattr(check, f"{name}_ms")
        document |= {} if span_ms == getattr(_CHECK, f"{name}_ms") else {name: render_span(span_ms)}
    for name in ("needed", "fails_after", "dry_run"):
        value = getattr(check, name)
        document |= {} if value == getattr(_CHECK, name) else {name: value}
    return document | ({} if check.at is _CHECK.at else {"at": check.at.value})


def _source_document(source: Source) -> dict[str, Any]:
    match source:
        case Http():
            return {"http": {"url": source.url, **_expect_document(source)}}
        case Prometheus():
            limits = {"below": source.below, "above": source.above}
            known = {name: limit for name, limit in limits.items() if limit is not None}
            return {"prometheus": {"url": source.url, "query": source.query, **known}}
        case Webhook():
            return {"webhook": {}}


def _expect_document(source: Http) -> dict[str, Any]:
    if source.pointer is not None:
        return {"expect": f"{source.pointer} == {source.equals}".strip()}
    statuses = (source.status_min, source.status_max)
    usual = (Expected().status_min, Expected().status_max)
    text = "..".join(map(str, dict.fromkeys(statuses)))
    return {} if statuses == usual else {"expect": text}
