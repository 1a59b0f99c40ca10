# syntax=docker/dockerfile:1

# The builder: makes the wheel and installs it into a virtual environment that is copied whole.
FROM python:3.11-slim AS builder
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1
# Optional features to install, with commas between them: --build-arg EXTRAS=publish
ARG EXTRAS=
WORKDIR /src
COPY pyproject.toml README.md LICENSE ./
COPY receiver receiver
COPY handlers handlers
RUN python -m venv /opt/tts-receiver \
 && /opt/tts-receiver/bin/python -m pip wheel --no-deps --wheel-dir /wheels . \
 && /opt/tts-receiver/bin/python -m pip install "$(echo /wheels/*.whl)${EXTRAS:+[$EXTRAS]}" \
 && /opt/tts-receiver/bin/python -m compileall -q /opt/tts-receiver/lib

# The runtime: no compiler, no package index, no root. Writes to /data and nowhere else.
FROM python:3.11-slim
ARG VERSION=0.1.0
LABEL org.opencontainers.image.title="tts-receiver" \
      org.opencontainers.image.description="A webhook receiver and event processor for text-to-speech services." \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.licenses="Apache-2.0"
COPY --from=builder /opt/tts-receiver /opt/tts-receiver
RUN install -d -o 10001 -g 10001 -m 0750 /data \
 && install -d -m 0755 /etc/tts-receiver
ENV PATH=/opt/tts-receiver/bin:$PATH \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    TTS_RECEIVER_CONFIG=/etc/tts-receiver/receiver.toml \
    TTS_RECEIVER_SERVER__HOST=0.0.0.0 \
    TTS_RECEIVER_STORE__URL=sqlite:////data/receiver.db \
    TTS_RECEIVER_AUDIO__URL=/data/audio
WORKDIR /data
USER 10001:10001
VOLUME ["/data"]
EXPOSE 8080
STOPSIGNAL SIGTERM
# The private listener, from inside: its port is the default 8081.
HEALTHCHECK --interval=10s --timeout=5s --start-period=30s --retries=3 \
  CMD ["python", "-c", "import urllib.request as u; u.build_opener(u.ProxyHandler({})).open('http://127.0.0.1:8081/livez', timeout=3)"]
ENTRYPOINT ["tts-receiver"]
CMD ["serve"]
