# The image: one static binary on an empty base, for amd64 and arm64.
#
#   docker build -t ringroad .                                  for this machine
#   docker build --platform linux/arm64 -t ringroad .           for another one: compiled across, nothing is emulated
#   podman build --format docker -t ringroad .                  podman knows a HEALTHCHECK only in this format
#   podman build --format docker --platform linux/arm64 --build-arg TARGETARCH=arm64 -t ringroad .
#
# Both bases are arguments, for those who keep their own; pin them by digest with --build-arg RUST_IMAGE=rust@sha256:…
# Without a network: vendor the crates (`cargo vendor` and the .cargo/config.toml it prints; both are taken along), or
# have them in the CARGO_HOME of your RUST_IMAGE, and say --build-arg CARGO_FLAGS=--offline.
ARG RUST_IMAGE=rust:1.95.0-slim-bookworm
ARG BASE_IMAGE=scratch
# Set by the builder where it knows them; the defaults of their own mean this machine.
ARG BUILDPLATFORM

FROM --platform=$BUILDPLATFORM ${RUST_IMAGE} AS build
ARG TARGETARCH
ARG CARGO_FLAGS=
WORKDIR /src

# What only another architecture needs: its linker and C library, and Rust's own.
# hadolint ignore=DL3008
RUN set -eu; \
    here=$(dpkg --print-architecture); \
    case ${TARGETARCH:-$here} in \
        amd64) cpu=x86_64 cross=x86-64 ;; \
        arm64) cpu=aarch64 cross=aarch64 ;; \
        *) echo "error: TARGETARCH is amd64 or arm64, not ${TARGETARCH:-$here}" >&2; exit 1 ;; \
    esac; \
    echo "$cpu-unknown-linux-gnu" >/target; \
    if [ "${TARGETARCH:-$here}" != "$here" ]; then \
        apt-get update; \
        apt-get install -y --no-install-recommends "gcc-$cross-linux-gnu" "libc6-dev-${TARGETARCH}-cross"; \
        rm -rf /var/lib/apt/lists/*; \
        rustup target add "$cpu-unknown-linux-gnu"; \
    fi

COPY . .
# Linked statically, C library included. The debug information of the release profile stays out.
RUN --mount=type=cache,target=/src/target \
    set -eu; \
    target=$(cat /target); \
    CARGO_TARGET_X86_64_UNKNOWN_LINUX_GNU_LINKER=$(command -v x86_64-linux-gnu-gcc || echo cc); \
    CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_LINKER=$(command -v aarch64-linux-gnu-gcc || echo cc); \
    export CARGO_TARGET_X86_64_UNKNOWN_LINUX_GNU_LINKER CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_LINKER; \
    export CARGO_PROFILE_RELEASE_DEBUG=none CARGO_PROFILE_RELEASE_STRIP=symbols; \
    export RUSTFLAGS="-C target-feature=+crt-static"; \
    # shellcheck disable=SC2086
    cargo build --release --locked --bin ringroad --target "$target" ${CARGO_FLAGS}; \
    install -D -m 0755 "target/$target/release/ringroad" /image/usr/local/bin/ringroad; \
    # The name of the program that charts and scripts of old start.
    ln -s ringroad /image/usr/local/bin/mcrouter; \
    install -D -m 0644 LICENSE /image/usr/share/doc/ringroad/LICENSE

# hadolint ignore=DL3006
FROM ${BASE_IMAGE}
ARG VERSION=0.1.0
ARG REVISION=
LABEL org.opencontainers.image.title="ringroad" \
      org.opencontainers.image.description="A memcached router: one endpoint in front of many memcached servers" \
      org.opencontainers.image.licenses="MIT" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"
COPY --from=build /image/ /
ENV PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \
    RINGROAD_CONFIG=/etc/ringroad/ringroad.toml
# 5000 for clients; 5001 for people and machines, where the configuration has it.
EXPOSE 5000 5001
USER 65532:65532
STOPSIGNAL SIGTERM
# Asks the admin port that RINGROAD_ADMIN says, or else the configuration in RINGROAD_CONFIG. Without one, as in the place of
# mcrouter, start with --no-healthcheck. (Kubernetes does not look at this: the chart has probes.)
HEALTHCHECK --interval=10s --timeout=5s --start-period=5s CMD ["/usr/local/bin/ringroad", "health"]
ENTRYPOINT ["/usr/local/bin/ringroad"]
CMD ["run"]
