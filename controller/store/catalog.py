"""`controller.app.repositories.Catalog` in SQL."""

from collections.abc import Sequence
from typing import Final

import msgspec
import sqlalchemy as sa
from sqlalchemy.exc import IntegrityError

from controller.app.errors import Conflict
from controller.app.records import JobRecord, PipelineRecord, ReleaseRecord
from controller.domain.pipeline import Pipeline
from controller.store.tables import job, pipeline, release, release_document, run
from protocol.units import Instant

_newest = (
    sa.select(pipeline.c.name, sa.func.max(pipeline.c.revision).label("revision"))
    .group_by(pipeline.c.name)
    .subquery("newest")
)
_by_name = pipeline.c.name == sa.bindparam("name")

_job_is = job.c.name == sa.bindparam("b_name")
_WRITTEN: Final = ("pipeline", "operation", "priority", "parameters")

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
JOBS: Final = (
    sa.select(job, run.c.uid.label("active_run"))
    .outerjoin(run, sa.and_(run.c.job_id == job.c.id, run.c.is_active == sa.true()))
    .where(job.c.archived_at.is_(None))
    .order_by(job.c.name)
)
JOB: Final = JOBS.where(job.c.name == sa.bindparam("name"))
ARCHIVED_JOB: Final = sa.select(job.c.id).where(_job_is, job.c.archived_at.is_not(None))
SAVE_JOB: Final = sa.update(job).where(_job_is)
RELEASES: Final = sa.select(*(column for column in release.c if column.name != "id")).order_by(
    release.c.app, release.c.counter, release.c.id
)
RELEASES_OF: Final = RELEASES.where(release.c.app == sa.bindparam("app"))
RELEASE: Final = RELEASES_OF.where(release.c.version == sa.bindparam("version"))
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

    def release(self, app: str, version: str) -> ReleaseRecord | None:
        row = self._connection.execute(RELEASE, {"app": app, "version": version}).mappings().one_or_none()
        return None if row is None else ReleaseRecord(**row)

    def releases(self, app: str | None = None) -> list[ReleaseRecord]:
        statement, values = (RELEASES, {}) if app is None else (RELEASES_OF, {"app": app})
        return [ReleaseRecord(**row) for row in self._connection.execute(statement, values).mappings()]

    def add_releases(self, releases: Sequence[ReleaseRecord]) -> None:
        if releases:
            self._connection.execute(sa.insert(release), [msgspec.structs.asdict(record) for record in releases])

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


def _written(record: JobRecord) -> dict[str, object]:
    return {name: getattr(record, name) for name in _WRITTEN}
