# The environment of the project: for the worker, the service and the command `retrieval`, on a checkout that is mounted. See docs/container.md.
#
#   docker build --tag retrieval .                         for a machine with an NVIDIA GPU
#   docker build --tag retrieval --build-arg DEVICE=cpu .  for one without

ARG PYTHON=3.11
FROM python:${PYTHON}-slim-bookworm
# Debian keeps no old versions of packages; the tag of the image above names the release.
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install --yes --no-install-recommends git make openssh-client \
    && rm -rf /var/lib/apt/lists/*
WORKDIR /srv/retrieval
COPY Makefile requirements.lock ./
# Packages come before the code, so that a changed line of code installs nothing again.
RUN make packages
COPY pyproject.toml README.md ./
COPY cli cli
COPY flows flows
COPY tasks tasks
COPY pipeline pipeline
RUN make setup

ARG DEVICE=cuda
ENV PATH=/srv/retrieval/.venv/bin:$PATH RETRIEVAL_DEVICE=${DEVICE} HOME=/srv/retrieval-home DO_NOT_TRACK=1
# The home is anybody's: compose lets the owner of the checkout run the container.
RUN useradd --uid 1000 --home-dir /srv/retrieval-home retrieval \
    && install --directory --mode 1777 /srv/retrieval-home
USER 1000:1000
WORKDIR /checkout
EXPOSE 8090
CMD ["retrieval", "--help"]
