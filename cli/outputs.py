"""Where a job's files go on this machine."""

import re
import unicodedata
from pathlib import Path, PurePosixPath

from cli.client import Api, Json
from cli.errors import CliError

DEFAULT_FOLDER = Path("atelier-output")
_SLUG = 60  # characters


def slug(text: str) -> str:
    """A folder's name out of a title: `Why lighthouses matter` is `why-lighthouses-matter`."""
    plain = unicodedata.normalize("NFKD", text)
    plain = "".join(c for c in plain if not unicodedata.combining(c)).casefold()
    words = re.sub(r"\W+", "-", plain).strip("-_")
    if len(words) > _SLUG:
        words = words[: _SLUG + 1].rpartition("-")[0] or words[:_SLUG]
    return words or "job"


def default_folder(job: Json) -> Path:
    """`atelier-output/<title>`; with the end of the job's id when another document of that title lies there."""
    result = job.get("result") or {}
    title = str((result.get("summary") or {}).get("title") or job.get("title") or job["pipeline"])
    folder = DEFAULT_FOLDER / slug(title)
    names = [_file_name(output) for output in result.get("outputs") or ()]
    if any((folder / name).exists() for name in names):
        return folder.with_name(f"{folder.name}-{str(job['id'])[-8:]}")
    return folder


def download_outputs(api: Api, job: Json, folder: Path | None) -> list[Path]:
    """Download all that a job made, and return the files' full paths. Raises CliError when it made nothing."""
    outputs = (job.get("result") or {}).get("outputs") or []
    if not outputs:
        raise CliError(
            f"The job has no files to download; it is {str(job['status']).replace('_', ' ')}.",
            f"`atelier show {str(job['id'])[-8:]}` says more.",
        )
    folder = (folder or default_folder(job)).absolute()
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise CliError(f"{folder} cannot be made: {error.strerror}.", "Choose another folder: --out.") from None
    files: list[Path] = []
    for output in outputs:
        target = folder / _file_name(output)
        if target in files:
            target = target.with_stem(f"{target.stem}-{len(files) + 1}")
        api.download(output, target)
        files.append(target)
    return files


def _file_name(output: Json) -> str:
    """The last part of an output's name, and never a path: names come from another machine."""
    name = PurePosixPath(str(output["name"]).replace("\\", "/")).name
    return name if name not in {"", ".", ".."} else "output"
