"""The settings of every process, from the environment or `.env`. Built once, in an entry point, and passed on."""

from pathlib import Path
from typing import Literal

from pydantic import Field, PositiveFloat, PositiveInt, SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict


class Settings(BaseSettings):
    """What a deployment can choose. `.env.example` lists every field; a test compares the two."""

    model_config = SettingsConfigDict(env_file=".env", env_ignore_empty=True, extra="ignore", frozen=True)

    atelier_home: Path = Field(default=Path(".atelier"), description="Data of the embedded servers, local artifacts.")
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    log_format: Literal["json", "console"] = "json"

    database_url: SecretStr | None = Field(
        default=None, description="PostgreSQL 15+; without it `atelier up` starts an embedded one."
    )
    database_pool_size: PositiveInt = 10
    temporal_address: str | None = Field(
        default=None, description="host:port; without it `atelier up` starts an embedded development server."
    )
    temporal_namespace: str = "default"
    temporal_retention_days: PositiveInt = 30
    artifacts_url: str | None = Field(
        default=None,
        description="s3://bucket/prefix, gs://…, az://… or a folder; without it a folder below ATELIER_HOME.",
    )
    artifact_sweep_grace_seconds: PositiveInt = Field(
        default=3600, description="Bytes that no job refers to are deleted when they are older than this."
    )

    api_host: str = "127.0.0.1"
    api_port: int = Field(default=8000, ge=0, le=65535)
    api_max_body_bytes: PositiveInt = 1_048_576
    starter_interval_seconds: PositiveFloat = Field(
        default=2.0, description="How often every API process looks for accepted jobs that nobody started."
    )
    reconciler_interval_seconds: PositiveFloat = Field(
        default=2.0, description="How often jobs are compared with the workflows that ended."
    )
    cancel_grace_seconds: PositiveFloat = Field(
        default=30.0, description="A cancelled job whose workflow has not ended by then is terminated."
    )
    review_expiry_days: float = Field(
        default=30.0, gt=0, le=3650, description="How long a job waits for a person before it fails; retry asks anew."
    )
    event_poll_seconds: PositiveFloat = Field(
        default=5.0, description="How often an event stream reads the table even without a notification."
    )

    anthropic_api_key: SecretStr | None = None
    anthropic_base_url: str | None = None
    anthropic_model: str = "claude-haiku-4-5"
    gemini_api_key: SecretStr | None = None
    gemini_base_url: str | None = None
    gemini_model: str = "gemini-2.5-flash"
    ollama_url: str | None = Field(default=None, description="Of a local Ollama, for example http://127.0.0.1:11434.")
    ollama_model: str = "llama3.2"
    simulator: bool = Field(default=True, description="Answers when no provider has a key. Never beside a real one.")
    simulator_latency_ms: int = Field(default=0, ge=0, le=600_000)
    model_first_token_seconds: PositiveFloat | None = Field(
        default=None, description="How long any model may be silent at first; without it, by the model's class."
    )
    model_between_tokens_seconds: PositiveFloat | None = Field(
        default=None, description="How long any model may be silent between two tokens; without it, by its class."
    )
    model_total_seconds: float = Field(default=600.0, gt=0, le=900)
    cooldown_failures: PositiveInt = Field(
        default=5, description="A provider that fails so often in a row is left alone for a while by all workers."
    )
    cooldown_seconds: PositiveFloat = Field(
        default=30.0, description="For how long at first; it doubles with each probe that fails, up to 10 minutes."
    )
    partial_text_seconds: float = Field(
        default=1.0, ge=0, description="How often text that a model is still writing is told; 0 tells none."
    )
    settle_after_seconds: PositiveFloat = Field(
        default=3600.0,
        description="A call of which nobody knows whether it was billed counts as spent when it is older than this.",
    )

    worker_llm_slots: PositiveInt = Field(default=20, description="Model calls at once in one worker process.")
    worker_llm_per_second: PositiveFloat | None = Field(
        default=None, description="Model calls that all workers together may start in a second; without it, any number."
    )
    worker_render_slots: PositiveInt = Field(default=2, description="Renders and exports at once in one process.")
    worker_db_slots: PositiveInt = Field(default=40, description="Short database activities at once in one process.")
    worker_drain_seconds: PositiveFloat = Field(
        default=20.0, description="How long a worker that is told to stop lets its activities finish."
    )

    @property
    def artifacts(self) -> str:
        """Where artifacts are kept, as a URL or a folder."""
        return self.artifacts_url or str(self.atelier_home.absolute() / "artifacts")
