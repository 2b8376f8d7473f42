# syntax=docker/dockerfile:1
# Strobe with all that it needs: docker build --tag strobe . && docker run --rm --init strobe doctor
# How it is used, and what was not tried: docs/docker.md

# Any image of a Debian or Ubuntu with Python 3.11 or newer, and its venv module.
ARG BASE=python:3.11-slim
FROM ${BASE}

ENV PATH=/opt/venv/bin:$PATH \
    PIP_DISABLE_PIP_VERSION_CHECK=1 \
    PYTHONUNBUFFERED=1
RUN python3 -m venv /opt/venv

# What is large and seldom changes: the packages that pyproject.toml asks for, in the versions that the tests ran with.
# pip keeps what it has fetched in a cache of the builder's, outside the image.
WORKDIR /build
COPY pyproject.toml constraints.txt ./
# Where torch comes from, if not from where all comes from: the index of its CPU wheels makes a smaller image.
ARG TORCH_INDEX=""
RUN --mount=type=cache,target=/root/.cache/pip \
    if [ -n "$TORCH_INDEX" ]; then \
        pip install --no-deps --index-url "$TORCH_INDEX" --constraint constraints.txt torch torchvision; \
    fi
RUN --mount=type=cache,target=/root/.cache/pip \
    python -c "import tomllib; print(*tomllib.load(open('pyproject.toml', 'rb'))['project']['dependencies'], sep='\n')" \
        > requirements.txt \
    && pip install --requirement requirements.txt --constraint constraints.txt
# Further packages, such as "jupyterlab>=4,<5", which compose.yaml adds for its notebooks.
ARG EXTRA=""
RUN --mount=type=cache,target=/root/.cache/pip \
    if [ -n "$EXTRA" ]; then pip install --constraint constraints.txt "$EXTRA"; fi

# Strobe itself: the step that a change of the source repeats.
COPY README.md LICENSE ./
COPY conf conf
COPY hydra_plugins hydra_plugins
COPY src/strobe src/strobe
RUN --mount=type=cache,target=/root/.cache/pip pip install --no-deps .

# A user of its own, with the numbers of yours, so that what it writes is yours; 0, which is root, is refused.
ARG USER_ID=1000
ARG GROUP_ID=1000
RUN groupadd --non-unique --gid "$GROUP_ID" strobe \
    && useradd --uid "$USER_ID" --gid "$GROUP_ID" --create-home strobe \
    && install --directory --owner "$USER_ID" --group "$GROUP_ID" /data /workspace /workspace/outputs

# Datasets, weights, and the key that signs a run: without it the runs of an earlier container would be a stranger's.
ENV XDG_CACHE_HOME=/data/cache \
    XDG_STATE_HOME=/data/state
USER ${USER_ID}:${GROUP_ID}
WORKDIR /workspace
VOLUME ["/data", "/workspace/outputs"]

HEALTHCHECK --interval=30m --timeout=5m --start-period=5m CMD ["strobe", "doctor"]
ENTRYPOINT ["strobe"]
CMD ["--help"]
