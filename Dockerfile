# syntax=docker/dockerfile:1
# The server in an image without a shell. Build it at the top of the repository: docker build -t fuseboard .

FROM rust:1.95-bookworm AS build
WORKDIR /src
# ring and mimalloc are built from C; nothing else is needed, and no protoc.
COPY Cargo.toml Cargo.lock build.rs ./
COPY clients/rust clients/rust
COPY proto proto
COPY src src
# Targets that Cargo.toml names, but that are not built here.
COPY benches benches
COPY tests tests
RUN --mount=type=cache,target=/usr/local/cargo/registry --mount=type=cache,target=/src/target \
    cargo build --locked --release --bin fuseboard && install -D target/release/fuseboard /out/usr/bin/fuseboard
RUN install -d -m 0700 -o 65532 -g 65532 /out/var/lib/fuseboard

FROM gcr.io/distroless/cc-debian12:nonroot
LABEL org.opencontainers.image.title="Fuseboard" \
      org.opencontainers.image.description="A circuit breaker that lives in one place and serves services in any language over gRPC" \
      org.opencontainers.image.licenses="Apache-2.0"
COPY --from=build --chown=65532:65532 /out/ /
# Beyond the container's own loopback it needs TLS (FUSEBOARD_TLS_CERT, FUSEBOARD_TLS_KEY), or
# FUSEBOARD_INSECURE_NETWORK=true where something else protects the network: docs/security.md.
ENV FUSEBOARD_ADDRESS=0.0.0.0:50051 \
    FUSEBOARD_HTTP_ADDRESS=0.0.0.0:8080 \
    FUSEBOARD_DATA_DIR=/var/lib/fuseboard \
    FUSEBOARD_LOG_FORMAT=json
USER 65532:65532
VOLUME /var/lib/fuseboard
EXPOSE 50051 8080
STOPSIGNAL SIGTERM
ENTRYPOINT ["/usr/bin/fuseboard"]
