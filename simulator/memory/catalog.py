"""`controller.app.repositories.Catalog` in memory."""

from collections.abc import Sequence

import msgspec

from controller.app.errors import Conflict
from controller.app.records import ChannelRecord, JobRecord, PipelineRecord, ReleaseRecord
from controller.domain.pipeline import Pipeline
from protocol.units import Instant
from simulator.memory.journal import Journal
from simulator.memory.runs import MemoryRuns


class MemoryCatalog:
    """Pipelines, jobs and releases."""

    def __init__(self, journal: Journal, job_ids: dict[int, str], runs: MemoryRuns) -> None:
        self._journal = journal
        self._runs = runs
        self._job_ids = job_ids
        self._jobs: dict[str, JobRecord] = {}
        self._revisions: dict[tuple[str, int], PipelineRecord] = {}
        self._last_revisions: dict[str, int] = {}
        self._releases: dict[tuple[str, str], ReleaseRecord] = {}
        self._paths: dict[str, ReleaseRecord] = {}
        self._documents: dict[int, bytes] = {}
        self._channels: dict[tuple[str, str, str], ChannelRecord] = {}

    def pipeline(self, name: str, revision: int | None = None) -> PipelineRecord | None:
        found = self._revisions.get((name, self._last_revisions.get(name, 0) if revision is None else revision))
        return None if found is None or (revision is None and found.archived_at is not None) else found

    def pipelines(self) -> list[PipelineRecord]:
        newest = [self._revisions[name, revision] for name, revision in sorted(self._last_revisions.items())]
        return [record for record in newest if record.archived_at is None]

    def revisions(self, name: str, *, before: int | None, limit: int) -> list[PipelineRecord]:
        last = self._last_revisions.get(name, 0)
        first = last if before is None else min(last, before - 1)
        return [self._revisions[name, revision] for revision in range(first, max(0, first - limit), -1)]

    def add_revision(self, name: str, definition: Pipeline, *, author: str, at: Instant) -> PipelineRecord:
        record = PipelineRecord(
            id=len(self._revisions) + 1,
            name=name,
            revision=self._last_revisions.get(name, 0) + 1,
            definition=definition,
            author=author,
            created_at=at,
        )
        self._journal.put(self._revisions, (name, record.revision), record)
        self._journal.put(self._last_revisions, name, record.revision)
        return record

    def archive_pipeline(self, name: str, *, at: Instant) -> None:
        key = name, self._last_revisions[name]
        self._journal.put(self._revisions, key, msgspec.structs.replace(self._revisions[key], archived_at=at))

    def job(self, name: str) -> JobRecord | None:
        job = self._jobs.get(name)
        return None if job is None or job.archived_at is not None else self._with_active_run(job)

    def jobs(self) -> list[JobRecord]:
        jobs = [job for _, job in sorted(self._jobs.items()) if job.archived_at is None]
        return [self._with_active_run(job) for job in jobs]

    def add_job(self, job: JobRecord) -> JobRecord:
        known = self._jobs.get(job.name)
        if known is not None and known.archived_at is None:
            raise Conflict(f"a job is named {job.name!r} already: choose another name")
        if known is not None:
            back = msgspec.structs.replace(job, id=known.id)
            self._journal.put(self._jobs, job.name, back)
            return back
        added = msgspec.structs.replace(job, id=len(self._jobs) + 1)
        self._journal.put(self._jobs, added.name, added)
        self._journal.put(self._job_ids, added.id, added.name)
        return added

    def save_job(self, job: JobRecord) -> None:
        known = self._jobs[job.name]
        kept = {"id": known.id, "created_at": known.created_at, "archived_at": known.archived_at, "active_run": None}
        self._journal.put(self._jobs, job.name, msgspec.structs.replace(job, **kept))

    def archive_job(self, name: str, *, at: Instant) -> None:
        self._journal.put(self._jobs, name, msgspec.structs.replace(self._jobs[name], archived_at=at))

    def startable(self, at: Instant) -> list[JobRecord]:
        rows = sorted(self.jobs(), key=lambda job: job.id)
        return [job for job in rows if self._may_begin(job) or (job.next_at is not None and job.next_at <= at)]

    def next_start(self) -> Instant | None:
        jobs = self.jobs()
        if any(self._may_begin(job) for job in jobs):
            return Instant(0)
        return min((job.next_at for job in jobs if job.next_at is not None), default=None)

    def channels(self, app: str | None = None) -> list[ChannelRecord]:
        found = [record for record in self._channels.values() if app in {None, record.app}]
        return sorted(found, key=lambda record: (record.app, record.channel, -record.at, record.version))

    def add_to_channel(self, record: ChannelRecord) -> None:
        key = record.app, record.channel, record.version
        assert key not in self._channels, f"{record.app} {record.version} is in {record.channel} already"
        self._journal.put(self._channels, key, record)

    def remove_from_channel(self, app: str, channel: str, version: str) -> bool:
        if (app, channel, version) not in self._channels:
            return False
        self._journal.drop(self._channels, (app, channel, version))
        return True

    def release(self, app: str, version: str) -> ReleaseRecord | None:
        return self._releases.get((app, version))

    def releases(self, app: str | None = None) -> list[ReleaseRecord]:
        found = [release for release in self._releases.values() if app in {None, release.app}]
        return sorted(found, key=lambda release: (release.app, release.counter))

    def add_releases(self, releases: Sequence[ReleaseRecord]) -> None:
        for release in releases:
            assert release.path not in self._paths, f"two releases have the path {release.path!r}"
            key = release.app, release.version
            assert key not in self._releases, f"release {release.app} {release.version} exists already"
            self._journal.put(self._paths, release.path, release)
            self._journal.put(self._releases, key, release)

    def save_release(self, release: ReleaseRecord) -> None:
        key = release.app, release.version
        before = self._releases[key]
        said = {name: getattr(release, name) for name in ("state", "state_reason", "state_by", "state_at")}
        self._journal.put(self._releases, key, msgspec.structs.replace(before, **said))

    def release_document(self) -> tuple[int, bytes] | None:
        return max(self._documents.items(), default=None)

    def add_release_document(self, version: int, document: bytes, *, at: Instant) -> None:  # noqa: ARG002
        assert version not in self._documents, f"two release files have the version {version}"
        self._journal.put(self._documents, version, document)

    @staticmethod
    def _may_begin(job: JobRecord) -> bool:
        return job.waiting is not None and job.active_run is None

    def _with_active_run(self, job: JobRecord) -> JobRecord:
        run = self._runs.active_of(job.id)
        return msgspec.structs.replace(job, active_run=None if run is None else run.uid)
