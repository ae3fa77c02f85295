# The two commands in a container; no GPU.
#   docker build --tag synthlib .
#   docker run --rm synthlib                          make reproduce-table6
#   docker run --rm synthlib make test
#   docker run --rm --publish 127.0.0.1:8888:8888 synthlib make lab LAB="--ip=0.0.0.0"
# What is trained is kept with --volume "$PWD/outputs:/home/reader/synthlib/outputs", where user 1000 may write.
FROM docker.io/library/debian:12-slim AS system
RUN apt-get update \
    && apt-get install --yes --no-install-recommends ca-certificates git make python3 python3-venv \
    && rm -rf /var/lib/apt/lists/*
RUN useradd --create-home --uid 1000 reader
USER reader
# Made here, since WORKDIR gives a folder that it makes to root (Docker without BuildKit does).
RUN mkdir /home/reader/synthlib

FROM system
WORKDIR /home/reader/synthlib
COPY --chown=reader . .
RUN make install
CMD ["make", "reproduce-table6"]
