# One image for each service: --build-arg SERVICE=training, ai_gateway, health or edge; by itself all of them in one.
# README.md, "Containers", says how it is built and run.
ARG BASE_IMAGE=python:3.12-slim-bookworm

FROM ${BASE_IMAGE} AS build
ARG SERVICE=stack
# What is installed: requirements/LOCK.lock. training-gpu has CuPy and its CUDA; training-ray, Ray.
ARG LOCK=${SERVICE}
WORKDIR /src
COPY requirements/descriptors.lock requirements/${LOCK}.lock requirements/
RUN --mount=type=cache,target=/root/.cache/pip \
    python3 -m venv /build \
    && /build/bin/pip install --quiet --require-hashes -r requirements/descriptors.lock \
    && python3 -m venv --without-pip /opt/venv \
    && /build/bin/pip --python /opt/venv/bin/python install --quiet --require-hashes --only-binary :all: \
       -r requirements/${LOCK}.lock \
    && find /opt/venv -type d -name tests -prune -exec rm -rf {} +
COPY protos protos
COPY gateway gateway
RUN /build/bin/python protos/build.py descriptors
COPY services services
COPY clients/python/mlapi_client mlapi_client
# `mlapi` is where data is, for backups.
# Bytecode is made here: the root is read-only later. PID 1 is the service itself, which signals so reach.
RUN mkdir -p /opt/app /data \
    && cp -r services gateway mlapi_client protos/gen/python/mlapi /opt/app \
    && /opt/venv/bin/python -m compileall -q --invalidation-mode unchecked-hash /opt/app \
    && case "${SERVICE}" in \
         edge | stack) module="gateway.${SERVICE}" ;; \
         training | ai_gateway | health) module="services.${SERVICE}" ;; \
         *) echo "there is no service ${SERVICE}" >&2; exit 1 ;; \
       esac \
    && printf '#!/bin/sh\nexec python -m %s "$@"\n' "$module" > /opt/venv/bin/start \
    && printf '#!/bin/sh\nexec python -c "from mlapi_client.cli import main; main()" "$@"\n' > /opt/venv/bin/mlapi \
    && chmod 755 /opt/venv/bin/start /opt/venv/bin/mlapi \
    && case "${SERVICE}" in health | edge) rm -r /opt/venv/bin/mlapi /opt/app/mlapi_client ;; esac

FROM ${BASE_IMAGE}
ARG SERVICE=stack
COPY --from=build /opt/venv /opt/venv
COPY --from=build /opt/app /opt/app
COPY --from=build --chown=65532:65532 /data /data
# An address that is not loopback is refused without keys, so that a container needs the file of their hashes.
# Kernels are compiled for the processor that they run on, when they are first used, and kept with the data.
ENV SERVICE=${SERVICE} \
    PATH=/opt/venv/bin:/usr/local/bin:/usr/bin:/bin \
    PYTHONPATH=/opt/app \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    MALLOC_ARENA_MAX=2 \
    HOME=/tmp \
    DATA_DIR=/data \
    NUMBA_CACHE_DIR=/data/numba \
    HOST=0.0.0.0 \
    AUTH_MODE=keys \
    API_KEYS_FILE=/etc/mlapi/keys/keys.json
WORKDIR /opt/app
USER 65532:65532
VOLUME /data
EXPOSE 5000
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=5s --start-period=60s --retries=3 CMD ["python", "-m", "services.chassis.probe"]
ENTRYPOINT ["start"]
