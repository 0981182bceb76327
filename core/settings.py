"""The settings of every process, from the environment or `.env`. Built once, in an entry point, and passed on."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args

from pydantic import Field, PositiveFloat, PositiveInt, SecretStr, ValidationError, field_validator
from pydantic.fields import FieldInfo
from pydantic_core import PydanticCustomError
from pydantic_settings import BaseSettings, EnvSettingsSource, PydanticBaseSettingsSource, SettingsConfigDict


class Settings(BaseSettings):
    """What a deployment can choose. `.env.example` lists every field; a test compares the two."""

    model_config = SettingsConfigDict(
        env_file=".env",
        env_ignore_empty=True,
        extra="ignore",
        frozen=True,
        # A value that is wrong may be a secret that was put in the wrong place.
        hide_input_in_errors=True,
    )

    atelier_home: Path = Field(default=Path(".atelier"), description="Data of the embedded servers, local artifacts.")
    atelier_mode: Literal["development", "production"] = Field(
        default="development", description="In production nothing starts with missing, default or weak secrets."
    )
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
        default=3600, description="Bytes that no job and no upload refers to are deleted when they are older than this."
    )

    api_host: str = "127.0.0.1"
    api_port: int = Field(default=8000, ge=0, le=65535)
    api_max_body_bytes: PositiveInt = 1_048_576
    api_body_seconds: PositiveFloat = Field(
        default=20.0, description="How long a request's head, and then its body, may take to arrive."
    )
    api_answer_seconds: PositiveFloat = Field(
        default=60.0, description="How long an answer may take to begin; event streams and downloads go on."
    )
    cors_origins: str = Field(
        default="",
        description="Pages that may call the API from a browser, such as https://app.example.com, by commas.",
    )
    trusted_proxies: str = Field(
        default="",
        description="Addresses or networks of the reverse proxies whose X-Forwarded-For is believed, by commas.",
    )

    jwt_secret: SecretStr | None = Field(
        default=None,
        description="Signs access tokens, 32 characters or more; in development derived from DATABASE_URL.",
    )
    jwt_secret_previous: SecretStr | None = Field(
        default=None, description="The one before: still accepted while its tokens live, 30 minutes after a change."
    )
    access_token_minutes: PositiveFloat = 30.0
    refresh_token_days: PositiveFloat = Field(default=30.0, description="A login ends when it is not used for so long.")
    registration: Literal["open", "closed"] | None = Field(
        default=None,
        description="Whether people may register. Not set: open in development, closed in production and `atelier up`.",
    )
    password_hashes_at_once: PositiveInt = Field(
        default=1, description="Passwords that one API process hashes at the same time; others wait for a moment."
    )

    limits: bool = Field(default=True, description="Whether any of the limits below holds; `atelier up` has none.")
    limit_submissions_per_hour: PositiveInt = Field(
        default=100, description="Jobs and other model work that one user may start in an hour."
    )
    limit_all_submissions_per_hour: PositiveInt = Field(default=10_000, description="The same for all users together.")
    limit_jobs_at_once: PositiveInt = Field(
        default=20, description="Jobs of one user that run or are to start; those that wait for a person do not count."
    )
    limit_anonymous_per_minute: PositiveInt = Field(
        default=60, description="Requests without valid credentials from one address, with all to /v1/auth."
    )
    limit_logins_per_minute: PositiveInt = Field(
        default=10, description="Logins and registrations from one address, and password checks of one account."
    )
    limit_account_logins_per_hour: PositiveInt = Field(
        default=30, description="Failed logins of one email from one network; ten times as many from all together."
    )
    limit_deliveries_per_hour: PositiveInt = Field(
        default=60, description="Tests of webhooks and repeated deliveries that one user may ask for in an hour."
    )

    upload_url_minutes: PositiveFloat = Field(
        default=60.0, description="How long after it was given an upload's URL takes the beginning of its bytes."
    )
    upload_expiry_hours: PositiveFloat = Field(
        default=24.0, description="An upload that is not completed by then is forgotten."
    )
    upload_silence_seconds: PositiveFloat = Field(
        default=30.0, description="How long nothing may come of an upload's bytes before they are given up."
    )
    upload_quota_files: PositiveInt = Field(
        default=1_000, description="Files of one user that are kept or on their way."
    )
    upload_quota_bytes: PositiveInt = Field(default=10_000_000_000, description="The bytes of these files.")

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
    review_reminder_days: float = Field(
        default=3.0,
        ge=0,
        le=3650,
        description="How long before that its owner is reminded, but not before half the time is over; 0: never.",
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

    fetch_allowed_hosts: str = Field(
        default="",
        description="What URLs may lead to beside the public internet, by commas: host:port, or networks.",
    )
    fetch_robots: bool = Field(default=True, description="Whether a site's robots.txt is asked and obeyed.")
    fetch_max_bytes: PositiveInt = Field(default=20_000_000, description="The most that a URL may lead to.")
    fetch_seconds: PositiveFloat = Field(default=30.0, description="How long fetching a URL may take, each time.")

    webhook_plain_http: bool = Field(
        default=False,
        description="Whether receivers of webhooks may have http URLs, which anybody on the way can read.",
    )
    webhook_timeout_seconds: float = Field(
        default=15.0, gt=0, le=60, description="How long a receiver may take to answer, each time."
    )
    webhook_first_retry_seconds: PositiveFloat = Field(
        default=5.0, description="The pause after the first try that fails; it doubles with each."
    )
    webhook_longest_retry_seconds: PositiveFloat = 3600.0
    webhook_retry_hours: PositiveFloat = Field(default=24.0, description="When a delivery is given up.")
    webhook_disable_days: float = Field(
        default=3.0,
        ge=0,
        description="A webhook is disabled when a delivery is given up and nothing got through for so long.",
    )

    worker_llm_slots: PositiveInt = Field(default=20, description="Model calls at once in one worker process.")
    worker_llm_per_second: PositiveFloat | None = Field(
        default=None, description="Model calls that all workers together may start in a second; without it, any number."
    )
    worker_render_slots: PositiveInt = Field(default=2, description="Renders and exports at once in one process.")
    worker_web_slots: PositiveInt = Field(
        default=20, description="Fetches of URLs and deliveries of webhooks at once in one process."
    )
    worker_db_slots: PositiveInt = Field(default=40, description="Short database activities at once in one process.")
    worker_drain_seconds: PositiveFloat = Field(
        default=20.0, description="How long a worker that is told to stop lets its activities finish."
    )

    @field_validator("fetch_allowed_hosts")
    @classmethod
    def _understand(cls, value: str) -> str:
        if value:
            # Only then: it brings Temporal's library with it, which most commands do without.
            from core.web.addresses import Allowed

            Allowed(_listed(value))
        return value

    @property
    def allowed_hosts(self) -> tuple[str, ...]:
        """What users' URLs may lead to besides the public internet."""
        return _listed(self.fetch_allowed_hosts)

    @property
    def registration_open(self) -> bool:
        """Whether people can make accounts themselves; else admins do, with `atelier admin create`."""
        if self.registration is None:
            return self.atelier_mode == "development"
        return self.registration == "open"

    @property
    def review_seconds(self) -> int:
        """How long a job waits for a person."""
        return max(1, round(self.review_expiry_days * 86_400))

    @property
    def remind_seconds(self) -> int:
        """How long before that its owner is reminded; 0: never."""
        return min(round(self.review_reminder_days * 86_400), self.review_seconds // 2)

    @property
    def artifacts(self) -> str:
        """Where artifacts are kept, as a URL or a folder."""
        return self.artifacts_url or str(self.atelier_home.absolute() / "artifacts")

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """What is given in code comes first, then files that hold a secret, the environment, and `.env`."""
        return init_settings, _SecretFiles(settings_cls, env_settings, dotenv_settings), env_settings, dotenv_settings

    @field_validator("*", mode="before")
    @classmethod
    def _refuse_unread(cls, value: Any) -> Any:
        if isinstance(value, _Unread):
            raise PydanticCustomError("secret_file", "{reason}", {"reason": value.reason})
        return value


def _listed(value: str) -> tuple[str, ...]:
    return tuple(filter(None, map(str.strip, value.split(","))))


@dataclass(frozen=True)
class _Unread:
    """Stands for a secret whose file would not do."""

    reason: str


class _SecretFiles(PydanticBaseSettingsSource):
    """Secrets whose variable with `_FILE` behind its name says which file holds them."""

    def __init__(self, settings_cls: type[BaseSettings], *named: PydanticBaseSettingsSource) -> None:
        super().__init__(settings_cls)
        self._variables: dict[str, str] = {}
        for source in reversed(named):
            if isinstance(source, EnvSettingsSource):
                self._variables |= {name: value for name, value in source.env_vars.items() if value}

    def get_field_value(self, field: FieldInfo, field_name: str) -> tuple[Any, str, bool]:
        """The secret, or why there is none; None where no file is named."""
        variable = f"{field_name}_file"
        file = self._variables.get(variable)
        if file is None or not _is_secret(field):
            return None, field_name, False
        if field_name in self._variables:
            both = f"{field_name.upper()} and {variable.upper()} are both set; leave one of them out"
            return _Unread(both), field_name, False
        return _read(variable.upper(), Path(file)), field_name, False

    def __call__(self) -> dict[str, Any]:
        """What the files hold, by field."""
        found = {name: self.get_field_value(field, name)[0] for name, field in Settings.model_fields.items()}
        return {name: value for name, value in found.items() if value is not None}


def _is_secret(field: FieldInfo) -> bool:
    return SecretStr in get_args(field.annotation)


def _read(variable: str, file: Path) -> str | _Unread:
    try:
        held = file.read_text(encoding="utf-8").rstrip("\r\n")
    except OSError as error:
        return _Unread(f"{variable} names {file}, which cannot be read: {error.strerror}")
    except ValueError:
        return _Unread(f"{variable} names {file}, which is no text in UTF-8")
    return held or _Unread(f"{variable} names {file}, which is empty")


def file_variables() -> frozenset[str]:
    """The variables that name files with secrets."""
    return frozenset(f"{name.upper()}_FILE" for name, field in Settings.model_fields.items() if _is_secret(field))


def complaints(error: ValidationError) -> list[str]:
    """What is wrong with the settings, a line for each variable; never its value."""
    return [f"{'.'.join(map(str, found['loc'])).upper()}: {found['msg']}" for found in error.errors()]
