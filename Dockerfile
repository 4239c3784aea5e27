# The image of z4j-exporter. `make image` builds it; docs/docker.md says how to run it.

# Any Debian-like base with Python 3.11 or newer does; the released image has this one.
ARG BASE=docker.io/library/python:3.13.11-slim-bookworm

FROM ${BASE} AS build
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1 PIP_ROOT_USER_ACTION=ignore
WORKDIR /src

# pip and the build backend stay in this stage; both are pinned by their hashes. The secrets are for
# who has an index of their own (docs/docker.md); without them pip asks PyPI.
COPY requirements-build.lock ./
RUN --mount=type=secret,id=pip.conf,target=/etc/pip.conf \
    --mount=type=secret,id=ca.crt,target=/run/secrets/ca.crt \
    python3 -m venv /opt/build \
    && /opt/build/bin/python -m pip install --require-hashes -r requirements-build.lock

# Wheels alone: nothing is compiled, so there is no compiler, and no setup.py of others is run.
COPY requirements.lock ./
RUN --mount=type=secret,id=pip.conf,target=/etc/pip.conf \
    --mount=type=secret,id=ca.crt,target=/run/secrets/ca.crt \
    python3 -m venv --without-pip /opt/z4j-exporter \
    && /opt/build/bin/python -m pip --python /opt/z4j-exporter/bin/python install \
        --require-hashes --only-binary :all: -r requirements.lock

COPY pyproject.toml README.md LICENSE ./
COPY z4j_exporter z4j_exporter
RUN /opt/build/bin/python -m pip wheel --no-deps --no-build-isolation --wheel-dir /opt/wheel . \
    && /opt/build/bin/python -m pip --python /opt/z4j-exporter/bin/python install \
        --no-deps /opt/wheel/*.whl
COPY docker/healthcheck.py /opt/z4j-exporter/healthcheck.py

FROM ${BASE}
ARG VERSION=0.1.0
ARG REVISION=unknown
LABEL org.opencontainers.image.title="z4j-exporter" \
      org.opencontainers.image.description="Prometheus and OpenTelemetry exporter for Celery" \
      org.opencontainers.image.source="https://github.com/z4j/z4j-exporter" \
      org.opencontainers.image.documentation="https://github.com/z4j/z4j-exporter/blob/main/docs/docker.md" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"

# The base's own pip is of no use here, and scanners report its flaws. The directory is for the
# journal, the audit log and tokens: group 0 may write too, since OpenShift chooses the user.
RUN install -d -o 65532 -g 0 -m 0770 /var/lib/z4j-exporter \
    && if python3 -m pip --version >/dev/null 2>&1; then \
        python3 -m pip uninstall --yes --quiet --root-user-action ignore pip; \
    fi
COPY --from=build /opt/z4j-exporter /opt/z4j-exporter

# HOME: a user that has no entry in /etc/passwd would have / as its home.
ENV PATH=/opt/z4j-exporter/bin:$PATH \
    HOME=/tmp \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1
WORKDIR /var/lib/z4j-exporter
# A number, so that Kubernetes can see that it is not root.
USER 65532:65532
EXPOSE 9808
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=30s --timeout=5s --start-period=15s --retries=3 \
    CMD ["/opt/z4j-exporter/bin/python", "/opt/z4j-exporter/healthcheck.py"]
ENTRYPOINT ["z4j-exporter"]
CMD ["run"]
