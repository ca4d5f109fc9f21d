"""Which distribution brings a Python module, where a table can tell."""

from __future__ import annotations

import re
import sys
from functools import cache

__all__ = ["is_known", "normalise", "package_of"]

#: Modules whose distribution has another name.
_RENAMED = {
    "Crypto": "pycryptodome",
    "MySQLdb": "mysqlclient",
    "OpenSSL": "pyOpenSSL",
    "PIL": "Pillow",
    "attr": "attrs",
    "bs4": "beautifulsoup4",
    "cv2": "opencv-python-headless",
    "dateutil": "python-dateutil",
    "docx": "python-docx",
    "dotenv": "python-dotenv",
    "faiss": "faiss-cpu",
    "fitz": "PyMuPDF",
    "flask_cors": "Flask-Cors",
    "git": "GitPython",
    "github": "PyGithub",
    "google.cloud.storage": "google-cloud-storage",
    "google.protobuf": "protobuf",
    "grpc": "grpcio",
    "grpc_health": "grpcio-health-checking",
    "jose": "python-jose",
    "jwt": "PyJWT",
    "kafka": "kafka-python",
    "ldap": "python-ldap",
    "magic": "python-magic",
    "multipart": "python-multipart",
    "opentelemetry": "opentelemetry-api",
    "opentelemetry.sdk": "opentelemetry-sdk",
    "pkg_resources": "setuptools",
    "pptx": "python-pptx",
    "psycopg2": "psycopg2-binary",
    "ruamel": "ruamel.yaml",
    "sentence_transformers": "sentence-transformers",
    "serial": "pyserial",
    "skimage": "scikit-image",
    "sklearn": "scikit-learn",
    "slugify": "python-slugify",
    "socketio": "python-socketio",
    "telegram": "python-telegram-bot",
    "usb": "pyusb",
    "websocket": "websocket-client",
    "yaml": "PyYAML",
    "zmq": "pyzmq",
}
#: Well-known modules whose distribution has their own name, but for ``_`` and ``-``.
_SAME = frozenset(
    """
    accelerate aiofiles aiohttp aiosqlite alembic altair annotated_types anthropic anyio apscheduler
    arrow asgiref asyncpg babel bcrypt bitsandbytes black bokeh boto3 botocore brotli cachetools catboost
    celery certifi cffi chardet charset_normalizer chromadb click cloudpickle colorama cryptography
    cython dask datasets deepspeed diffusers dill distro django dnspython docker duckdb einops
    elasticsearch email_validator evaluate execnet fakeredis fastapi fastavro fastembed filelock fire
    flask frozenlist fsspec gensim gevent gradio greenlet gunicorn h11 h2 h5py hiredis httpcore httptools
    httpx huggingface_hub humanize hydra_core hypothesis idna imageio importlib_metadata inflect jax
    jaxlib jinja2 joblib jsonlines jsonschema kombu kubernetes langchain langchain_core langgraph librosa
    lightgbm litellm llama_cpp_python loguru lxml lz4 mako markdown markdown_it_py markupsafe marshmallow
    matplotlib mcp mistralai mlflow mpmath msgpack msgspec multidict mypy neo4j networkx nltk numba numpy
    ollama onnx onnxruntime openai openpyxl optuna orjson packaging pandas paramiko passlib peewee peft
    pexpect pika platformdirs playwright plotly polars prometheus_client prompt_toolkit protobuf psutil
    psycopg pyarrow pycparser pydantic pydantic_core pydantic_settings pydub pygments pymongo pymysql
    pyparsing pypdf pytest python_json_logger pytz qdrant_client ray redis regex requests rich rsa s3fs
    safetensors scipy seaborn selenium sentencepiece sentry_sdk setuptools shapely simplejson six sniffio
    sounddevice soundfile spacy sqlalchemy sqlmodel starlette statsmodels streamlit structlog sympy
    tabulate tenacity tensorboard tensorflow tiktoken timm tokenizers toml tomli tomlkit toolz torch
    torchaudio torchvision tornado tqdm transformers trio typer typing_extensions tzdata ujson urllib3
    uvicorn uvloop vllm wandb watchdog watchfiles wcwidth weasyprint websockets werkzeug wheel wrapt
    xgboost xxhash yarl zstandard
    """.split()
)


def package_of(module: str) -> str | None:
    """The distribution that brings a module; None for one that belongs to Python itself.

    For a module that no table knows it is the module's own name, which is a guess: see is_known.
    """
    parts = module.split(".")
    for length in range(len(parts), 0, -1):
        renamed = _RENAMED.get(".".join(parts[:length]))
        if renamed is not None:
            return renamed
    top = parts[0]
    if top == "distutils":
        # Part of Python until 3.11, of setuptools since.
        return "setuptools"
    if not top or top in sys.stdlib_module_names:
        return None
    return top.replace("_", "-")


def is_known(package: str) -> bool:
    """Whether a name comes from the tables and not from a text that anybody may have written."""
    return normalise(package) in _known()


def normalise(package: str) -> str:
    """The form in which names of distributions are compared (PEP 503)."""
    return re.sub(r"[-_.]+", "-", package).lower()


@cache
def _known() -> frozenset[str]:
    return frozenset(map(normalise, (*_RENAMED.values(), *_SAME)))
