"""A whole rollout over NATS: MQTT 3.1.1, and nothing acknowledged on its way down to a device."""

from pathlib import Path
from typing import Final

import pytest

from simulator.brokers import Kind
from tests.brokers import needs
from tests.chaos.evidence import read_agent_log, read_database, read_journal
from tests.chaos.history import CHECKS, Evidence, assert_clean
from tests.integration.world import APP, JOB, World, until, world

pytestmark = [pytest.mark.timeout(110), needs(Kind.NATS)]

AGENTS: Final = 4
PIPELINE: Final = f"""
kind: Pipeline
name: {JOB}
stages:
  - name: canary
    targets: {{labels: {{ring: canary}}}}
    gate: {{success: 100%, failures: {{more_than: 100%}}}}
    retry: {{attempts: 5, backoff: 1s}}
  - name: rest
    needs: [canary]
    trigger: manual
    gate: {{success: 100%, failures: {{more_than: 100%}}}}
    retry: {{attempts: 5, backoff: 1s}}
"""


def test_a_run_goes_through_every_stage_though_nats_is_restarted_in_its_midst(tmp_path: Path) -> None:
    with world(tmp_path, broker=Kind.NATS) as w:
        assert w.broker is not None
        w.populate(devices=0, agents=AGENTS)
        w.publish("1.0.0")
        w.define("1.0.0", PIPELINE)
        run = w.operator.start(JOB, version="1.0.0").id
        until(lambda: w.stage(run, "rest") == "awaiting_promotion", why="the canary stage passes")
        assert w.agents[0].health() == (200, "1.0.0")

        w.operator.act(run, "promote", stage="rest")
        w.broker.stop()
        w.broker.start()

        view = w.ended(run)
        assert (view.state, [stage.counters.succeeded for stage in view.stages]) == ("succeeded", [1, AGENTS - 1])
        assert [agent.health() for agent in w.agents] == [(200, "1.0.0")] * AGENTS
        until(lambda: not any(read_journal(agent.folder)[1].open for agent in w.agents), why="reports are acknowledged")
        judge(w)


def judge(w: World) -> None:
    """See that devices and database tell one story."""
    journals = [read_journal(agent.folder) for agent in w.agents]
    entries = [
        entry
        for agent, (durable, _) in zip(w.agents, journals, strict=True)
        for entry in read_agent_log(w.processes.logs / f"{agent.device}.log", durable.name)
    ]
    memories = [memory for _, memory in journals]
    assert {memory.installed[APP] for memory in memories} == {"1.0.0"}
    evidence = Evidence(database=read_database(w.installation.online), entries=entries, memories=memories)
    assert_clean(evidence, checks=CHECKS, repeat="pytest tests/integration/test_nats.py")
