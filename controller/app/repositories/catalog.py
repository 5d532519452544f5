"""Definitions and releases."""

from collections.abc import Sequence
from typing import Protocol

from controller.app.records import (
    ChannelRecord,
    JobRecord,
    PipelineRecord,
    ReleaseRecord,
)
from controller.domain.pipeline import Pipeline
from protocol.units import Instant


class Catalog(Protocol):
    """Pipelines, jobs and releases."""

    def pipeline(self, name: str, revision: int | None = None) -> PipelineRecord | None:
        """Return a revision, or None; by default the newest of a pipeline that is not archived."""

    def pipelines(self) -> list[PipelineRecord]:
        """Return the newest revision of each that is not archived, by name."""

    def revisions(self, name: str, *, before: int | None, limit: int) -> list[PipelineRecord]:
        """Return up to *limit* revisions below *before*, the newest first; those of an archived pipeline too."""

    def add_revision(self, name: str, definition: Pipeline, *, author: str, at: Instant) -> PipelineRecord:
        """Insert the next revision of a pipeline; that of an archived one brings it back."""

    def archive_pipeline(self, name: str, *, at: Instant) -> None:
        """Archive a pipeline that exists."""

    def job(self, name: str) -> JobRecord | None:
        """Return a job, or None; an archived one is none."""

    def jobs(self) -> list[JobRecord]:
        """Return all jobs that are not archived, by name."""

    def add_job(self, job: JobRecord) -> JobRecord:
        """Insert a job, or bring an archived one of the same name back with what is written in this one.

        Raises:
            controller.app.errors.Conflict: when the name is taken.
        """

    def save_job(self, job: JobRecord) -> None:
        """Store all of a job that exists but its name and when it was made."""

    def archive_job(self, name: str, *, at: Instant) -> None:
        """Archive a job that exists and has no active run."""

    def startable(self, at: Instant) -> list[JobRecord]:
        """Return, in the order of their ids, the jobs that a start is due of; no archived ones.

        Their `next_at` has come, or they have a `waiting` run and no active one.
        """

    def next_start(self) -> Instant | None:
        """Return the earliest `next_at`, or 0 where a waiting run may begin now; no archived job counts."""

    def channels(self, app: str | None = None) -> list[ChannelRecord]:
        """Return which releases are in which channels, by app and channel, the latest first, then by version."""

    def add_to_channel(self, record: ChannelRecord) -> None:
        """Insert a release into a channel that it is not in."""

    def remove_from_channel(self, app: str, channel: str, version: str) -> bool:
        """Take a release out of a channel; say whether it was in it."""

    def release(self, app: str, version: str) -> ReleaseRecord | None:
        """Return a release, or None."""

    def releases(self, app: str | None = None) -> list[ReleaseRecord]:
        """Return releases, by app and counter."""

    def add_releases(self, releases: Sequence[ReleaseRecord]) -> None:
        """Insert newly published releases."""

    def save_release(self, release: ReleaseRecord) -> None:
        """Store the state of a release that exists, and who made it so, when and why."""

    def release_document(self) -> tuple[int, bytes] | None:
        """Return the newest release file and its version."""

    def add_release_document(self, version: int, document: bytes, *, at: Instant) -> None:
        """Insert a release file."""
