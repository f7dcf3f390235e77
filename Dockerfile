# FTzard on a GPU machine; your clone or workspace is mounted at /app, so code, data, models and
# records stay yours and on your disk.
#
#   docker build -t ftzard --build-arg UID=$(id -u) --build-arg GID=$(id -g) .
#   docker run --rm -it --gpus all --shm-size 2g -e FTZARD_WORKSPACE=/app/reviews \
#       -v "$PWD":/app -p 3000:3000 -p 5000:5000 -p 8888:8888 ftzard
#
# reviews: a workspace that is there already, made with 'ftzard init' outside or in the container.

# CUDA 13.0, as the torch of constraints.txt is built for it: on a driver that is too old for it the
# container refuses to start, where torch would only find no GPU. Ubuntu 24.04 has Python 3.12.
FROM nvidia/cuda:13.0.2-runtime-ubuntu24.04

# git: FTzard commits and pushes what it makes. venv: Ubuntu keeps its own Python closed to pip.
RUN apt-get update \
    && apt-get install -y --no-install-recommends git openssh-client python3 python3-venv \
    && rm -rf /var/lib/apt/lists/*

# You, not root: files written to /app belong to the one who built the image. The base image's user
# `ubuntu` sits on 1000, the usual first UID; an id may also be taken by a system group already.
ARG UID=1000
ARG GID=1000
RUN userdel --remove ubuntu \
    && groupadd --non-unique --gid "$GID" ftzard \
    && useradd --non-unique --uid "$UID" --gid "$GID" --create-home --shell /bin/bash ftzard

# git refuses a repository that belongs to someone else, which a mount may seem to.
RUN git config --system --add safe.directory /app

# Outside /app, which the mount covers. First on the PATH, so `python` and `ftzard` are these.
ENV VIRTUAL_ENV=/opt/venv PATH=/opt/venv/bin:$PATH
RUN python3 -m venv "$VIRTUAL_ENV"

# The packages before the code: a change of the code then leaves this layer, gigabytes of it, alone.
WORKDIR /app
COPY requirements.txt constraints.txt ./
RUN pip install --no-cache-dir -c constraints.txt -r requirements.txt

# An editable install points at /app/ftzard: the code in the image, or yours once it is mounted.
COPY LICENSE pyproject.toml ./
COPY ftzard ftzard
RUN pip install --no-cache-dir --no-deps -e .

# Nothing phones home, idle threads do not spin, torch's compiler is not loaded, and log lines come
# out as they are written.
ENV MLFLOW_DISABLE_TELEMETRY=true \
    DAGSTER_DISABLE_TELEMETRY=1 \
    DVC_NO_ANALYTICS=1 \
    HF_HUB_DISABLE_TELEMETRY=1 \
    OMP_WAIT_POLICY=PASSIVE \
    GOMP_SPINCOUNT=1000 \
    TORCHDYNAMO_DISABLE=1 \
    PYTHONUNBUFFERED=1 \
    # Downloaded bases stay in the mounted workspace: 14 GB should not die with the container.
    HF_HOME=/app/.ftzard/huggingface

USER ftzard
# Dagster, MLflow, Jupyter.
EXPOSE 3000 5000 8888
# 0.0.0.0: inside a container, localhost is reachable from nowhere else.
CMD ["ftzard", "ui", "--host", "0.0.0.0"]
