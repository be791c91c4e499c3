# One image for all our processes; the command decides which it is. See docker-compose.yml.
ARG PYTHON_IMAGE=python:3.11.14-slim-bookworm

FROM ${PYTHON_IMAGE} AS builder
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1
RUN python -m venv /opt/venv
COPY requirements.txt /build/
# Compiled here, since the user that runs it may write nowhere in the image.
RUN /opt/venv/bin/pip install --compile -r /build/requirements.txt
COPY . /app
RUN python -m compileall -q /app && rm /app/requirements.txt

FROM ${PYTHON_IMAGE}
LABEL org.opencontainers.image.title="grpc-scheduler" org.opencontainers.image.licenses="Apache-2.0"
# A fixed number, so that volumes and security policies can name it.
RUN groupadd --gid 10001 scheduler && useradd --uid 10001 --gid scheduler --no-create-home --shell /usr/sbin/nologin scheduler
COPY --from=builder /opt/venv /opt/venv
COPY --from=builder /app /app
ENV PATH=/opt/venv/bin:$PATH PYTHONPATH=/app PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1
ENV BIND_HOST=0.0.0.0 LOG_FORMAT=json
WORKDIR /app
USER 10001:10001
EXPOSE 50054
CMD ["python", "-m", "scheduler_service"]
