# Everything that `make test` needs, in one image:
#   docker build -t nanou-deploy . && docker run --rm -it -v "$PWD/work:/work" nanou-deploy demo
FROM debian:bookworm-slim
RUN apt-get update && apt-get install -y --no-install-recommends ca-certificates git make python3 python3-venv sudo \
    && rm -rf /var/lib/apt/lists/*
WORKDIR /opt/nanou-deploy
COPY . .
RUN make setup && rm -rf /root/.cache /var/lib/apt/lists/*
ENV PATH=/opt/nanou-deploy/.venv/bin:$PATH
WORKDIR /work
ENTRYPOINT ["nanou-deploy"]
CMD ["--help"]
