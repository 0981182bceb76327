# syntax=docker/dockerfile:1
# One image for the API, the workers and the migrations: only the command differs (docker-compose.yml).
# The tag is the locked Python with Debian's current patches; every Python package comes by hash.
ARG PYTHON=python:3.11-slim-trixie

FROM ${PYTHON} AS build
COPY requirements/run.txt /tmp/run.txt
# Wheels only: nothing is compiled, and no package runs code of its own during the build.
RUN python -m venv /opt/venv \
    && /opt/venv/bin/pip install --disable-pip-version-check --no-cache-dir --only-binary :all: \
        --require-hashes -r /tmp/run.txt \
    && /opt/venv/bin/pip uninstall --yes --disable-pip-version-check setuptools pip

FROM ${PYTHON}
# Fixed ids, so that volumes keep their owner from image to image.
RUN groupadd --gid 10001 atelier \
    && useradd --uid 10001 --gid 10001 --no-create-home --home-dir /nonexistent --shell /usr/sbin/nologin atelier \
    && install --directory --owner 10001 --group 10001 --mode 0700 /var/lib/atelier
COPY --from=build /opt/venv /opt/venv

WORKDIR /app
# Owned by root: the processes cannot change their own code.
COPY core core
COPY workflows workflows
COPY activities activities
COPY api api
COPY worker worker
COPY migrations migrations

ENV PATH=/opt/venv/bin:$PATH \
    PYTHONPATH=/app \
    PYTHONUNBUFFERED=1 \
    ATELIER_HOME=/var/lib/atelier
# Compiled here, because the processes may not write beside the code.
RUN python -m compileall -q /app
ENV PYTHONDONTWRITEBYTECODE=1

USER 10001:10001
# Local artifacts lie in ATELIER_HOME; a named volume there takes its owner from the image. There is no VOLUME
# instruction: it would leave a nameless volume behind each migration, and behind each container that uses S3.
EXPOSE 8000
CMD ["python", "-m", "api"]
