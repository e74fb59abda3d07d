# earmark's workers on Dataflow, and the launcher of its Flex Template: see docs/dataflow.md; its
# workers on Flink: see docs/flink.md.
#
#   docker build --tag IMAGE .
#   docker build --tag IMAGE --build-arg MODEL=models/my_birds.tflite .

# As in constraints.txt; the Python that most of its versions are for.
ARG BEAM_VERSION=2.77.0
ARG PYTHON_VERSION=3.11

# A program of Google's that is to fit Dataflow, not earmark: so their newest.
ARG LAUNCHER_IMAGE=gcr.io/dataflow-templates-base/python311-template-launcher-base:latest

FROM ${LAUNCHER_IMAGE} AS launcher

FROM apache/beam_python${PYTHON_VERSION}_sdk:${BEAM_VERSION}

# A process for each vCPU is started, and each is to use one. All that it needs is in the image, so
# that no environment is made and nothing installed when a worker starts.
ENV OPENBLAS_NUM_THREADS=1 \
    OMP_NUM_THREADS=1 \
    MKL_NUM_THREADS=1 \
    RUN_PYTHON_SDK_IN_DEFAULT_ENVIRONMENT=1 \
    EARMARK_CACHE=/opt/earmark/models

WORKDIR /opt/earmark/source
COPY constraints.txt pyproject.toml setup.py README.md LICENSE ./
COPY src src
COPY models models
COPY transforms transforms
COPY pipelines pipelines
RUN pip install --no-cache-dir --constraint constraints.txt '.[gcp]'

# Found here by workers that cannot reach the internet: a known model by its name, any other as
# /opt/earmark/models/NAME.tflite.
ARG MODEL=yamnet
RUN mkdir -p "$EARMARK_CACHE" \
    && case "$MODEL" in \
         builtin) ;; \
         *.tflite) cp "$MODEL" "$EARMARK_CACHE/" ;; \
         *) earmark model fetch "$MODEL" ;; \
       esac \
    && chmod -R a+rX "$EARMARK_CACHE" \
    && earmark model info "$MODEL"

COPY --from=launcher /opt/google/dataflow/python_template_launcher /opt/google/dataflow/python_template_launcher
COPY dataflow/launch.py /template/launch.py
COPY scripts/flink/worker_pool.py scripts/flink/sdk_worker.py /opt/earmark/flink/
ENV FLEX_TEMPLATE_PYTHON_PY_FILE=/template/launch.py
WORKDIR /template

# Of a worker; Dataflow starts a template's launcher by its path.
ENTRYPOINT ["/opt/apache/beam/boot"]
