"""`controller.app.repositories.Catalog` in SQL."""

from collections.abc import Sequence
from typing import Final

import msgspec
import sqlalchemy as sa
from sqlalchemy.exc import IntegrityError

from controller.app.errors import Conflict
from controller.app.records import ChannelRecord, JobRecord, PipelineRecord, ReleaseRecord
from controller.domain.pipeline import Pipeline
from controller.domain.states import ReleaseState
from controller.store.tables import channel, job, pipeline, release, release_document, run
from protocol.units import Instant

_newest = (
    sa.select(pipeline.c.name, sa.func.max(pipeline.c.revision).label("revision"))
    .group_by(pipeline.c.name)
    .subquery("newest")
)
_by_name = pipeline.c.name == sa.bindparam("name")

_job_is = job.c.name == sa.bindparam("b_name")
_WRITTEN: Final = ("pipeline", "operation", "priority", "parameters", "triggers", "next_at", "waiting", "hook")

REVISIONS: Final = sa.select(pipeline).where(_by_name).order_by(pipeline.c.revision.desc())
PIPELINE: Final = REVISIONS.limit(1)
REVISION: Final = sa.select(pipeline).where(_by_name, pipeline.c.revision == sa.bindparam("revision"))
PIPELINES: Final = (
    sa.select(pipeline)
    .join(_newest, sa.and_(_newest.c.name == pipeline.c.name, _newest.c.revision == pipeline.c.revision))
    .where(pipeline.c.archived_at.is_(None))
    .order_by(pipeline.c.name)
)
ARCHIVE_PIPELINE: Final = (
    sa.update(pipeline)
    .where(pipeline.c.id == sa.bindparam("b_id"))
    .values(archived_at=sa.bindparam("at", type_=sa.BigInteger))
)
LAST_REVISION: Final = sa.select(sa.func.coalesce(sa.func.max(pipeline.c.revision), 0)).where(_by_name)
LAST_PIPELINE_ID: Final = sa.select(sa.func.coalesce(sa.func.max(pipeline.c.id), 0))
LAST_JOB_ID: Final = sa.select(sa.func.coalesce(sa.func.max(job.c.id), 0))
_is_active_run = sa.and_(run.c.job_id == job.c.id, run.c.is_active == sa.true())
_is_here = job.c.archived_at.is_(None)
JOBS: Final = (
    sa.select(job, run.c.uid.label("active_run")).outerjoin(run, _is_active_run).where(_is_here).order_by(job.c.name)
)
JOB: Final = JOBS.where(job.c.name == sa.bindparam("name"))
ARCHIVED_JOB: Final = sa.select(job.c.id).where(_job_is, job.c.archived_at.is_not(None))
SAVE_JOB: Final = sa.update(job).where(_job_is)
_waits = job.c.waiting.is_not(None)
_is_free = run.c.id.is_(None)
STARTABLE: Final = [
    JOBS.where(job.c.next_at.is_not(None), job.c.next_at <= sa.bindparam("at")),
    JOBS.where(_waits, _is_free),
]
NEXT_AT: Final = sa.select(sa.func.min(job.c.next_at)).where(job.c.next_at.is_not(None), _is_here)
ANY_WAITING: Final = sa.select(job.c.id).outerjoin(run, _is_active_run).where(_waits, _is_free, _is_here).limit(1)
_in_channel = sa.and_(
    channel.c.app == sa.bindparam("app"),
    channel.c.channel == sa.bindparam("channel"),
    channel.c.version == sa.bindparam("version"),
)
CHANNELS: Final = sa.select(*(channel.c[name] for name in ChannelRecord.__struct_fields__)).order_by(
    channel.c.app, channel.c.channel, channel.c.at.desc(), channel.c.version
)
CHANNELS_OF: Final = CHANNELS.where(channel.c.app == sa.bindparam("app"))
REMOVE_FROM_CHANNEL: Final = sa.delete(channel).where(_in_channel)
RELEASES: Final = sa.select(*(column for column in release.c if column.name != "id")).order_by(
    release.c.app, release.c.counter, release.c.id
)
RELEASES_OF: Final = RELEASES.where(release.c.app == sa.bindparam("app"))
RELEASE: Final = RELEASES_OF.where(release.c.version == sa.bindparam("version"))
_STATE: Final = ("state", "state_reason", "state_by", "state_at")
SAVE_RELEASE: Final = (
    sa.update(release)
    .where(release.c.app == sa.bindparam("b_app"), release.c.version == sa.bindparam("b_version"))
    .values({name: sa.bindparam(name) for name in _STATE})
)
DOCUMENT: Final = (
    sa.select(release_document.c.version, release_document.c.document)
    .order_by(release_document.c.version.desc())
    .limit(1)
)


class SqlCatalog:
    """Pipelines, jobs and releases."""

    def __init__(self, connection: sa.Connection) -> None:
        self._connection = connection

    def pipeline(self, name: str, revision: int | None = None) -> PipelineRecord | None:
        statement = PIPELINE if revision is None else REVISION
        values = {"name": name} if revision is None else {"name": name, "revision": revision}
        row = self._connection.execute(statement, values).mappings().one_or_none()
        if row is None or (revision is None and row["archived_at"] is not None):
            return None
        return PipelineRecord(**row)

    def pipelines(self) -> list[PipelineRecord]:
        return [PipelineRecord(**row) for row in self._connection.execute(PIPELINES).mappings()]

    def revisions(self, name: str, *, before: int | None, limit: int) -> list[PipelineRecord]:
        statement = REVISIONS if before is None else REVISIONS.where(pipeline.c.revision < before)
        rows = self._connection.execute(statement.limit(limit), {"name": name}).mappings()
        return [PipelineRecord(**row) for row in rows]

    def add_revision(self, name: str, definition: Pipeline, *, author: str, at: Instant) -> PipelineRecord:
        record = PipelineRecord(
            id=self._connection.execute(LAST_PIPELINE_ID).scalar_one() + 1,
            name=name,
            revision=self._connection.execute(LAST_REVISION, {"name": name}).scalar_one() + 1,
            definition=definition,
            author=author,
            created_at=at,
        )
        self._connection.execute(sa.insert(pipeline), msgspec.structs.asdict(record))
        return record

    def archive_pipeline(self, name: str, *, at: Instant) -> None:
        newest = self._connection.execute(PIPELINE, {"name": name}).mappings().one()
        self._connection.execute(ARCHIVE_PIPELINE, {"b_id": newest["id"], "at": at})

    def job(self, name: str) -> JobRecord | None:
        row = self._connection.execute(JOB, {"name": name}).mappings().one_or_none()
        return None if row is None else JobRecord(**row)

    def jobs(self) -> list[JobRecord]:
        return [JobRecord(**row) for row in self._connection.execute(JOBS).mappings()]

    def add_job(self, job: JobRecord) -> JobRecord:
        archived = self._connection.scalar(ARCHIVED_JOB, {"b_name": job.name})
        if archived is not None:
            back = {"created_at": job.created_at, "archived_at": None}
            self._connection.execute(SAVE_JOB, {"b_name": job.name, **_written(job), **back})
            return msgspec.structs.replace(job, id=archived)
        added = msgspec.structs.replace(job, id=self._connection.execute(LAST_JOB_ID).scalar_one() + 1)
        self._insert_job(added)
        return added

    def save_job(self, job: JobRecord) -> None:
        self._connection.execute(SAVE_JOB, {"b_name": job.name, **_written(job)})

    def archive_job(self, name: str, *, at: Instant) -> None:
        self._connection.execute(SAVE_JOB, {"b_name": name, "archived_at": at})

    def startable(self, at: Instant) -> list[JobRecord]:
        found: dict[int, JobRecord] = {}
        for statement in STARTABLE:
            for row in self._connection.execute(statement, {"at": at}).mappings():
                found[row["id"]] = JobRecord(**row)
        return [found[job_id] for job_id in sorted(found)]

    def next_start(self) -> Instant | None:
        if self._connection.execute(ANY_WAITING).first() is not None:
            return Instant(0)
        return self._connection.execute(NEXT_AT).scalar_one()

    def channels(self, app: str | None = None) -> list[ChannelRecord]:
        statement, values = (CHANNELS, {}) if app is None else (CHANNELS_OF, {"app": app})
        return [ChannelRecord(**row) for row in self._connection.execute(statement, values).mappings()]

    def add_to_channel(self, record: ChannelRecord) -> None:
        self._connection.execute(sa.insert(channel), msgspec.structs.asdict(record))

    def remove_from_channel(self, app: str, channel: str, version: str) -> bool:
        values = {"app": app, "channel": channel, "version": version}
        return self._connection.execute(REMOVE_FROM_CHANNEL, values).rowcount > 0

    def release(self, app: str, version: str) -> ReleaseRecord | None:
        row = self._connection.execute(RELEASE, {"app": app, "version": version}).mappings().one_or_none()
        return None if row is None else _release(row)

    def releases(self, app: str | None = None) -> list[ReleaseRecord]:
        statement, values = (RELEASES, {}) if app is None else (RELEASES_OF, {"app": app})
        return [_release(row) for row in self._connection.execute(statement, values).mappings()]

    def add_releases(self, releases: Sequence[ReleaseRecord]) -> None:
        if releases:
            self._connection.execute(sa.insert(release), [msgspec.structs.asdict(record) for record in releases])

    def save_release(self, release: ReleaseRecord) -> None:
        values = {name: getattr(release, name) for name in _STATE}
        self._connection.execute(SAVE_RELEASE, {"b_app": release.app, "b_version": release.version, **values})

    def release_document(self) -> tuple[int, bytes] | None:
        row = self._connection.execute(DOCUMENT).one_or_none()
        return None if row is None else (row[0], row[1])

    def add_release_document(self, version: int, document: bytes, *, at: Instant) -> None:
        values = {"version": version, "document": document, "created_at": at}
        self._connection.execute(sa.insert(release_document), values)

    def _insert_job(self, added: JobRecord) -> None:
        row = msgspec.structs.asdict(added)
        del row["active_run"]
        try:
            self._connection.execute(sa.insert(job), row)
        except IntegrityError as error:
            raise Conflict(f"a job is named {added.name!r} already: choose another name") from error


def _release(row: sa.RowMapping) -> ReleaseRecord:
    return ReleaseRecord(**{**row, "state": ReleaseState(row["state"])})


def _written(record: JobRecord) -> dict[str, object]:
    return {name: getattr(record, name) for name in _WRITTEN}
