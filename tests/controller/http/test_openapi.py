"""The whole API as its own document describes it, asked in ways that nobody thought of, over the real use cases.

Every answer must match the document: its status is named there, its body and headers have the shape that is told; and
none is a fault of ours. About half of the requests name things that exist, so that they get beyond 404. Requests come
in the same order every time: a world stands behind each operation that changes something, and lives as long as the
examples of that one. Those that only read have one together.
"""

import os
from collections.abc import Mapping
from functools import cache
from http import HTTPStatus
from itertools import count
from typing import Any, Final

import pytest
import schemathesis
from hypothesis import Phase, settings
from hypothesis import strategies as st
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi import checks as conformance

from controller.app import channels, groups, jobs, tokens
from controller.app.access import Role
from controller.domain.pipeline import Operation, Trigger
from controller.http import problems
from controller.http.app import create_app
from protocol.ids import StageName
from tests.controller.app.rig import APP, Rig, stage

EXAMPLES: Final = int(os.environ.get("OPENAPI_EXAMPLES", "12"))

ENDLESS: Final = "/v1/runs/{run}/events/stream"
"""It goes on for a quarter of an hour where the run does; `test_routes.py` looks at it."""


class World:
    """A controller with something of everything, and by which words each thing is known."""

    def __init__(self) -> None:
        self.rig = rig = Rig()
        rig.enrol("d1", "d2", region="eu")
        rig.connect("d1", "d2")
        run = rig.start(stage("first"), stage("second", needs=(StageName("first"),), trigger=Trigger.MANUAL))
        rig.publish("1.1.0", counter=2)
        rig.do(jobs.create, name="idle", pipeline="rollout", operation=Operation(app=APP, version="1.1.0"))
        rig.do(groups.create, path="eu")
        rig.do(channels.add, app=APP, version="1.0.0", channel="stable")
        created = rig.do(tokens.create, name="ann", role=Role.ADMIN, expires_at=None)
        self.headers: Final = {"Authorization": f"Bearer {created.secret}"}
        self.app: Final = create_app(rig.controller, mqtt_host="mqtt.example", mqtt_port=8883)
        self.known: Final[dict[str, str]] = {
            "run": run,
            "device": "d1",
            "job": "job",
            "name": "job",
            "pipeline": "rollout",
            "path": "eu",
            "app": APP,
            "version": "1.0.0",
            "channel": "stable",
            "stage": "second",
            "token": created.id,
        }
        self._keys = count()

    def new_key(self) -> str:
        """Return an Idempotency-Key that no request had."""
        return f"key-{next(self._keys)}"


LOOKING: Final = "/v1/preview"
"""Where a POST changes nothing: a preview is made anew, with another salt, however often it is asked for."""
CHECKS: Final = [
    not_a_server_error,
    conformance.status_code_conformance,
    conformance.content_type_conformance,
    conformance.response_headers_conformance,
    conformance.response_schema_conformance,
]
schema = schemathesis.openapi.from_dict(create_app(Rig().controller, mqtt_host="m", mqtt_port=1).openapi())
world_of = cache(lambda _changes: World())


@pytest.mark.timeout(300)
@schema.exclude(path=ENDLESS).parametrize()
@schema.given(names=st.booleans(), has_key=st.booleans())
@settings(max_examples=EXAMPLES, derandomize=True, phases=[Phase.generate], deadline=None)
def test_answers_are_as_documented(case: schemathesis.Case[Any], names: bool, has_key: bool) -> None:
    world = world_of(case.operation.label if case.method != "GET" else None)
    if names:
        _name_what_exists(case, world.known)
    changes = case.method == "POST" and not case.path.startswith(LOOKING)
    given = {"Idempotency-Key": world.new_key()} if has_key and changes else {}
    answer = _asked(case, world, given)
    case.validate_response(answer, checks=CHECKS)
    _keeps_conventions(case, answer)
    if given and _is_done(answer):
        _is_answered_once(answer, _asked(case, world, given))


def _is_done(answer: schemathesis.Response) -> bool:
    return answer.status_code < HTTPStatus.BAD_REQUEST


def _asked(case: schemathesis.Case[Any], world: World, given: Mapping[str, str]) -> schemathesis.Response:
    return case.call(app=world.app, base_url="http://tidegate", headers={**world.headers, **given})


def _is_answered_once(answer: schemathesis.Response, again: schemathesis.Response) -> None:
    """Check that a request that comes again by its key has the same answer; a secret is shown once."""
    if "secret" in answer.json():
        assert (again.status_code, again.json()["detail"].split("; ")[-1]) == (409, "its secret is shown once")
    else:
        assert (again.status_code, again.content) == (answer.status_code, answer.content)


def _name_what_exists(case: schemathesis.Case[Any], known: Mapping[str, str]) -> None:
    """Have a request name things that there are."""
    names = {**known, "name": "rollout"} if "pipelines" in case.path else known
    case.path_parameters = {name: names.get(name, value) for name, value in (case.path_parameters or {}).items()}
    if isinstance(case.body, dict):
        case.body = {name: names.get(name, value) for name, value in case.body.items()}


def _keeps_conventions(case: schemathesis.Case[Any], answer: schemathesis.Response) -> None:
    """Check what holds for every answer: problems are problem documents, and no edit goes without a condition."""
    media_type = answer.headers.get("content-type", [""])[0]
    if answer.status_code >= HTTPStatus.BAD_REQUEST and case.method != "HEAD":
        assert media_type == problems.MEDIA_TYPE or case.path == "/readyz", f"{answer.status_code} as {media_type}"
    is_edit = "428" in case.operation.definition.raw["responses"]
    is_conditional = {"if-match", "if-none-match"} & {name.lower() for name in case.headers or {}}
    if is_edit and not is_conditional:
        assert not _is_done(answer), "an edit without If-Match and If-None-Match"
