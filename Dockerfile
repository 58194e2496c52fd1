# Keyward's image: one static binary, no shell, not root.
#
#   docker build -t keyward .
#
# Without access to a registry, `deploy/image-from-binary keyward` builds the last
# stage alone, around a binary that it builds on this machine.
ARG GO_IMAGE=golang:1.27-bookworm

FROM ${GO_IMAGE} AS build
WORKDIR /src
COPY go.mod go.sum ./
RUN go mod download
COPY . .
ARG VERSION
ARG COMMIT
RUN VERSION=${VERSION} COMMIT=${COMMIT} deploy/rootfs /rootfs

FROM scratch AS release
COPY --from=build /rootfs/keyward /keyward
COPY --from=build /rootfs/etc /etc
COPY --from=build --chown=65532:65532 /rootfs/tmp /tmp
COPY --from=build --chown=65532:65532 /rootfs/var/lib/keyward /var/lib/keyward
USER 65532:65532
WORKDIR /var/lib/keyward
EXPOSE 8080
ENTRYPOINT ["/keyward"]
CMD ["serve"]
