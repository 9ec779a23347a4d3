# A Caddy with the Gin plugin and one Gin app, built with xcaddy.
#
#   docker build -f xcaddy.Dockerfile -t caddy-hello .
#   docker run --rm -p 8080:8080 -p 8443:8443 -p 8443:8443/udp caddy-hello
#
# That serves the demonstration app from a checkout of the plugin. For an app
# in a module of your own, which registers itself (see README.md), copy this
# file and your Caddyfile into the module and name its package:
#
#   docker build -f xcaddy.Dockerfile --build-arg APP=example.com/shop \
#       --build-arg CADDYFILE=Caddyfile -t caddy-shop .

FROM golang:1.26-alpine AS build

ARG XCADDY_VERSION=v0.4.6
RUN go install github.com/caddyserver/xcaddy/cmd/xcaddy@${XCADDY_VERSION}

# The package that registers the app. Its module is the build context.
ARG APP=github.com/caddy-gin/caddy-gin/examples/hello
ARG CADDYFILE=Caddyfile.example
ARG CADDY_VERSION=v2.11.9
# Of no account where the build context is the plugin itself.
ARG PLUGIN_VERSION=latest

WORKDIR /src
COPY . .
ENV CGO_ENABLED=0 GOFLAGS=-buildvcs=false
# xcaddy takes modules, the app may be a package of one: a module that imports
# it stands between.
RUN set -eu; \
    plugin=github.com/caddy-gin/caddy-gin; \
    context=$(go list -m); \
    mkdir /app; \
    printf 'module caddy.local/app\n\ngo 1.26\n' > /app/go.mod; \
    printf 'package app\n\nimport _ "%s"\n' "$APP" > /app/app.go; \
    set -- --with "$context@v0.0.0=/src"; \
    [ "$context" = "$plugin" ] || set -- "$@" --with "$plugin@$PLUGIN_VERSION"; \
    xcaddy build "$CADDY_VERSION" --output /caddy "$@" --with caddy.local/app@v0.0.0=/app; \
    /caddy list-modules | grep '^gin\.apps\.'

# The demonstration binds to loopback, where nobody outside the container would
# reach it.
RUN sed 's#bind ipv4/127\.0\.0\.1$#bind ipv4/#; s#bind dual/localhost$#bind dual/#' "$CADDYFILE" > /Caddyfile && \
    /caddy validate --adapter caddyfile --config /Caddyfile


FROM alpine:3.22

RUN adduser -D -H -u 1000 caddy && \
    mkdir -p /etc/caddy /data /config && chown caddy:caddy /data /config
COPY --from=build /caddy /usr/bin/caddy
COPY --from=build /Caddyfile /etc/caddy/Caddyfile

ENV XDG_DATA_HOME=/data XDG_CONFIG_HOME=/config HEALTH_URL=http://127.0.0.1:8080/ping
VOLUME ["/data", "/config"]
EXPOSE 8080 8443 8443/udp
USER caddy
WORKDIR /data

HEALTHCHECK --interval=30s --timeout=5s --start-period=10s \
    CMD wget -q -O /dev/null "$HEALTH_URL"

CMD ["caddy", "run", "--config", "/etc/caddy/Caddyfile", "--adapter", "caddyfile"]
