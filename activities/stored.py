"""What activities of all pipelines do with the artifact store: models as JSON, and files for users."""

from typing import TypeVar

from core.artifacts.store import ArtifactStore
from core.contracts.base import ArtifactRef, Contract
from core.contracts.jobs import Output, StepKey
from core.db.ids import artifact_id

Model = TypeVar("Model", bound=Contract)


class Stored:
    """The base of activities that read and write the store. Raises `STORE_UNAVAILABLE` and `ARTIFACT_MISSING`."""

    _store: ArtifactStore

    async def _put(self, owner_id: str, model: Contract) -> ArtifactRef:
        return await self._store.put(owner_id, model.model_dump_json().encode(), "application/json")

    async def _read(self, model: type[Model], ref: ArtifactRef) -> Model:
        return model.model_validate_json(await self._store.get(ref))

    async def _output(self, key: StepKey, name: str, data: bytes, media_type: str) -> Output:
        """A file for the user. Its row is the step's: see `StepArtifact`."""
        ref = await self._store.put(key.owner_id, data, media_type)
        return Output(name=name, artifact_id=artifact_id(key.job_id, key.step, key.revision, name), ref=ref)
