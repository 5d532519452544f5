"""Admitting devices that are ready: what is known of them is looked up here, and `controller.domain.admission` judges.

A stage that asks nothing of its devices costs a look for holds, pins and an upgrade path, which few have.
"""

from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple

import msgspec

from controller.app.records import DeviceRecord, RunRecord, TargetRecord
from controller.app.repositories import Transaction
from controller.app.zones import zone_of
from controller.domain.admission import Applicant, Blocked, BlockReason, Restraints, Rules, judge
from controller.domain.query import Described
from controller.domain.trigger import UTC
from protocol.health import WATCH
from protocol.units import Instant

TIMEZONE: Final = "timezone"
"""The label, or else the fact, that names a device's time zone."""


Kind = tuple[str | None, bool]
"""What tells the rules for devices of one stage apart: the version that they go to, where it is not the run's, and
whether they are held back."""


class Judged(NamedTuple):
    """What became of rows, in their order: those that may go, and those that may not."""

    admitted: list[TargetRecord]
    refused: list[TargetRecord]


class Admitting:
    """One transaction's judgements."""

    def __init__(self, tx: Transaction, at: Instant) -> None:
        self._tx = tx
        self._at = at
        self._rules: dict[tuple[int, int, Kind], Rules] = {}

    def judge(self, record: RunRecord, rows: Sequence[TargetRecord], *, room: int) -> Judged:
        """Judge queued rows of one stage in their order, until *room* of them may go."""
        stage, kinds = rows[0].stage, {_kind(row) for row in rows}
        is_empty = all(self._rules_of(record, stage, kind).is_empty for kind in kinds)
        restrained = self._tx.restraints.of([row.device_id for row in rows])
        if is_empty and not restrained:
            return Judged([*rows[:room]], [])
        asked = [row for row in rows if row.device_id in restrained] if is_empty else rows
        return self._judged(record, rows, self._applicants(record, asked, restrained), room)

    def refused(self, record: RunRecord, rows: Sequence[TargetRecord]) -> dict[int, Blocked]:
        """Return which rows at work, of any stages, might not begin now, by id; each keeps its place at its site."""
        found: dict[int, Blocked] = {}
        for stage, kind in {(row.stage, _kind(row)) for row in rows}:
            mine = [row for row in rows if (row.stage, _kind(row)) == (stage, kind)]
            rules = msgspec.structs.replace(self._rules_of(record, stage, kind), per_site=None)
            restrained = self._tx.restraints.of([row.device_id for row in mine])
            if rules.is_empty and not restrained:
                continue
            applicants = self._applicants(record, mine, restrained)
            judged = {id_: judge(applicant, rules, self._at) for id_, applicant in applicants.items()}
            found |= {id_: blocked for id_, blocked in judged.items() if blocked is not None}
        return found

    def _judged(
        self,
        record: RunRecord,
        rows: Sequence[TargetRecord],
        applicants: Mapping[int, Applicant],
        room: int,
    ) -> Judged:
        sites = {applicant.site for applicant in applicants.values() if applicant.site}
        stage_id = record.stage_ids[rows[0].stage]
        at_site = self._tx.targets.at_site(stage_id, sites) if sites else {}
        judged = Judged([], [])
        for row in rows:
            if len(judged.admitted) == room:
                break
            applicant = applicants.get(row.id)
            if applicant is None:
                judged.admitted.append(row)
                continue
            site = applicant.site
            told = msgspec.structs.replace(applicant, at_site=at_site.get(site, 0))
            blocked = judge(told, self._rules_of(record, row.stage, _kind(row)), self._at)
            if blocked is None:
                at_site[site] = at_site.get(site, 0) + 1
                judged.admitted.append(msgspec.structs.replace(row, site=site))
            else:
                judged.refused.append(_kept_out(row, blocked, site, self._at))
        return judged

    def _rules_of(self, record: RunRecord, stage: int, kind: Kind) -> Rules:
        """Return what is asked of devices of a stage, of one kind; those that are only watched take nobody's place."""
        key = record.id, stage, kind
        if key not in self._rules:
            (wanted, is_control), plan = kind, record.plan
            definition, version = plan.pipeline.stages[stage], wanted or plan.operation.version
            self._rules[key] = Rules(
                app=plan.operation.app,
                version=version,
                requires=(*plan.operation.requires, WATCH) if is_control else plan.operation.requires,
                path=None if plan.goes_back else self._tx.restraints.path(plan.operation.app, version),
                preconditions=definition.preconditions,
                windows=definition.windows,
                per_site=None if is_control else definition.pace.per_site,
            )
        return self._rules[key]

    def _applicants(
        self,
        record: RunRecord,
        rows: Sequence[TargetRecord],
        restrained: Mapping[int, Restraints],
    ) -> dict[int, Applicant]:
        """Return what is known of devices, by the ids of their rows."""
        devices = self._tx.devices.by_names({row.name for row in rows})
        default = record.plan.pipeline.timezone or UTC
        found: dict[int, Applicant] = {}
        for row in rows:
            rules = self._rules_of(record, row.stage, _kind(row))
            restraints = restrained.get(row.device_id, Restraints())
            found[row.id] = self._applicant(devices[row.name], rules, restraints, default)
        return found

    def _applicant(self, device: DeviceRecord, rules: Rules, restraints: Restraints, default: str) -> Applicant:
        zone_name = device.labels.get(TIMEZONE) or device.facts.get(TIMEZONE) or default
        site = rules.per_site
        return Applicant(
            described=self._described(device, with_groups=bool(rules.preconditions)),
            capabilities=frozenset(device.capabilities),
            restraints=restraints,
            zone_name=zone_name,
            zone=zone_of(zone_name) if rules.windows else None,
            site=device.labels.get(site.label, "") if site is not None else "",
        )

    def _described(self, device: DeviceRecord, *, with_groups: bool) -> Described:
        return Described(
            device=device.device,
            model=device.model,
            agent=device.agent,
            labels=device.labels,
            facts=device.facts,
            apps=tuple((one.app, one.version) for one in device.installed),
            groups=frozenset(self._tx.groups.groups_of(device.id)) if with_groups else frozenset(),
        )


def _kind(row: TargetRecord) -> Kind:
    return row.wanted, row.target.is_control


def _kept_out(row: TargetRecord, blocked: Blocked, site: str, at: Instant) -> TargetRecord:
    return msgspec.structs.replace(
        row,
        blocked=blocked.reason,
        block_text=blocked.text,
        check_at=blocked.check_at,
        site=site if blocked.reason is BlockReason.SITE_FULL else row.site,
        updated_at=at,
    )
