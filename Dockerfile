# hrm_rl on CPUs:
#   docker build -t hrm_rl .
#   docker run --rm hrm_rl doctor
#   docker run --rm -v "$PWD:/work" hrm_rl train sudoku-4x4 --out runs/mine
FROM python:3.12-slim

WORKDIR /src
COPY pyproject.toml constraints.txt README.md LICENSE ./
COPY hrm_rl hrm_rl
# The second index has PyTorch's builds without CUDA, which pip prefers.
RUN pip install --no-cache-dir --extra-index-url https://download.pytorch.org/whl/cpu \
    -c constraints.txt ".[plot]" && rm -rf /src

RUN useradd --create-home --uid 1000 reader && mkdir /work && chown reader /work
USER 1000
WORKDIR /work
ENTRYPOINT ["hrm-rl"]
CMD ["--help"]
