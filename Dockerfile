# Stemsite in a container: `docker compose up`. Everything it keeps is in /data.
FROM debian:bookworm-slim

RUN apt-get update \
 && apt-get install -y --no-install-recommends python3-venv \
 && rm -rf /var/lib/apt/lists/*

# The index with PyTorch's CPU builds. PyPI's bring CUDA, several gigabytes: TORCH_INDEX=https://pypi.org/simple
ARG TORCH_INDEX=https://download.pytorch.org/whl/cpu
COPY requirements.txt /app/
RUN python3 -m venv /opt/venv \
 && /opt/venv/bin/pip install --no-cache-dir --extra-index-url "$TORCH_INDEX" -r /app/requirements.txt

COPY . /app
WORKDIR /app
RUN /opt/venv/bin/python -m compileall -q . \
 && useradd --system --uid 10001 --no-create-home stemsite \
 && install -d -o stemsite -g stemsite /data

USER stemsite
ENV PATH=/opt/venv/bin:$PATH DATA_DIR=/data HOME=/data HOST=0.0.0.0
VOLUME /data
EXPOSE 8000
HEALTHCHECK --start-period=60s \
  CMD python -c "import os, urllib.request as web; web.urlopen(f'http://127.0.0.1:{os.environ.get(\"PORT\", 8000)}/healthz', timeout=5)"
CMD ["python", "-m", "stemsite.run"]
