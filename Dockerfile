# nsbuild in an image: `docker run ... nsbuild exec /target make`.
#
# BASE is any Debian 12 or later. docs/docker.md says which flags a run needs, and how to make a base
# image without a registry.
ARG BASE=docker.io/library/debian:bookworm-slim

FROM ${BASE} AS build
RUN apt-get update \
    && DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends \
       ca-certificates gcc libc6-dev libcap-dev python3-dev python3-venv
COPY nsbuild /src/nsbuild
COPY seccomp_profiles /src/seccomp_profiles
COPY libfaketime_ext /src/libfaketime_ext
COPY pyproject.toml hatch_build.py README.md LICENSE /src/
RUN python3 -m venv /opt/nsbuild \
    && /opt/nsbuild/bin/pip install --no-cache-dir --disable-pip-version-check /src

FROM ${BASE}
RUN apt-get update \
    && DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends \
       libcap2 libseccomp2 python3 uidmap \
    && rm -rf /var/lib/apt/lists/*
COPY --from=build /opt/nsbuild /opt/nsbuild
RUN ln -s /opt/nsbuild/bin/nsbuild /usr/local/bin/nsbuild
ENTRYPOINT ["nsbuild"]
CMD ["--help"]
