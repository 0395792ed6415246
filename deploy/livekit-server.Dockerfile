# syntax=docker/dockerfile:1
# LiveKit's server, built to send its analytics (livekit-analytics/):
# docker build -f deploy/livekit-server.Dockerfile -t livekit-server-analytics .

FROM golang:1.26-bookworm AS build
WORKDIR /src
COPY livekit-analytics livekit-analytics
ENV CGO_ENABLED=0
RUN --mount=type=cache,target=/go/pkg/mod \
    --mount=type=cache,target=/root/.cache/go-build \
    livekit-analytics/build.sh /livekit-server

# The same base as LiveKit's own image.
FROM alpine:3.22
COPY --from=build /livekit-server /livekit-server
USER 65532:65532
EXPOSE 7880 7881 7882/udp
ENTRYPOINT ["/livekit-server"]
