"""Settings of one Stemsite instance, read from the environment.

Owns every knob and its production default. Owns no behaviour: `values` reads, `memory.checks` and `separation.checks`
say at start what is wrong with a value. The table in README.md lists the ones people change.
"""

from pathlib import Path
from socket import gethostname
from typing import Any

from stemsite.instance import file_storage, instance_secret, prepare_folders
from stemsite.values import cache, database, env, log_level, names, number, storage, switch

BASE_DIR = Path(__file__).resolve().parent.parent

DATA_DIR = Path(env.str("DATA_DIR", default=str(BASE_DIR / "data"))).expanduser().resolve()
MEDIA_ROOT = DATA_DIR / "media"
MEDIA_URL = "/media/"  # nothing is served from here: downloads go through views that check the owner
STAGING_DIR = DATA_DIR / "staging"
MODEL_DIR = DATA_DIR / "models"
LOG_DIR = DATA_DIR / "logs"
FILE_UPLOAD_TEMP_DIR = STAGING_DIR / "multipart"
prepare_folders(DATA_DIR, MEDIA_ROOT, FILE_UPLOAD_TEMP_DIR, MODEL_DIR, DATA_DIR / "static")

DEBUG = switch("DEBUG", False)
SECRET_KEY = env.str("SECRET_KEY", default="") or instance_secret(DATA_DIR)
HOST = env.str("HOST", default="127.0.0.1")
PORT = number("PORT", 8000)
WEB_PROCESSES = number("WEB_PROCESSES", 2)
WEB_THREADS = number("WEB_THREADS", 32)
ALLOWED_HOSTS = names("ALLOWED_HOSTS", default=["localhost", "127.0.0.1", "[::1]"])
CSRF_TRUSTED_ORIGINS = names("CSRF_TRUSTED_ORIGINS", default=[])
HTTPS = switch("HTTPS", False)

INSTALLED_APPS = [
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "rest_framework",
    "drf_spectacular",
    "django_q",
    "memory",
    "separation",
    "drf_spectacular_sidecar",
    "separation.tokens",
    "separation.uploads",
    "separation.api",
    "separation.webhooks",
]

MIDDLEWARE = [
    "stemsite.middleware.ProbesFirst",
    "django.middleware.security.SecurityMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "separation.views.bodies.ShortForms",  # before the check that reads the form
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "stemsite.middleware.ContentSecurityPolicy",
    "separation.views.setup.FirstStart",
]

ROOT_URLCONF = "stemsite.urls"
WSGI_APPLICATION = "stemsite.wsgi.application"
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [BASE_DIR / "templates"],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ],
        },
    }
]

# --- database: SQLite in WAL mode unless DATABASE_URL says otherwise
SQLITE: dict[str, Any] = {"ENGINE": "django.db.backends.sqlite3", "NAME": str(DATA_DIR / "stemsite.sqlite3")}
DATABASES = {"default": database("DATABASE_URL", default=SQLITE)}
if DATABASES["default"]["ENGINE"].endswith("sqlite3"):
    DATABASES["default"]["OPTIONS"] = {
        "transaction_mode": "IMMEDIATE",
        "timeout": 20,
        "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL; PRAGMA foreign_keys=ON;",
    }
else:
    DATABASES["default"]["CONN_HEALTH_CHECKS"] = True
DATABASES["default"]["CONN_MAX_AGE"] = 60  # closing SQLite's last connection costs a checkpoint: 10 ms a request
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
FILE_CACHE = {"BACKEND": "django.core.cache.backends.filebased.FileBasedCache", "LOCATION": str(DATA_DIR / "cache")}
CACHES = {"default": cache("CACHE_URL", default=FILE_CACHE)}

# --- files
FILES = {"BACKEND": "django.core.files.storage.FileSystemStorage"}
STORAGES = {
    "default": file_storage(storage("DEFAULT_STORAGE", default=FILES)),
    "staticfiles": {"BACKEND": "whitenoise.storage.CompressedManifestStaticFilesStorage"},
}
STATIC_URL = "/static/"
STATIC_ROOT = DATA_DIR / "static"
STATICFILES_DIRS = [BASE_DIR / "static"]
FILE_UPLOAD_HANDLERS = ["separation.views.bodies.NoFiles"]  # who takes files says so
DATA_UPLOAD_MAX_MEMORY_SIZE = 2_621_440  # form bodies; uploads stream and are not counted

# --- memory: the six settings of the original system, and what enforces them
MEMORY_LIMIT_MB = number("MEMORY_LIMIT_MB", 2048)
MEMORY_WARNING_THRESHOLD_MB = number("MEMORY_WARNING_THRESHOLD_MB", 1536)
MAX_CONCURRENT_OPERATIONS = number("MAX_CONCURRENT_OPERATIONS", 3)
STREAMING_CHUNK_SIZE = number("STREAMING_CHUNK_SIZE", 262_144)  # measured: tests.benchmarks.chunk_size
PROCESS_MEMORY_LIMIT_MB = number("PROCESS_MEMORY_LIMIT_MB", 4096)
MEMORY_CHECK_INTERVAL = number("MEMORY_CHECK_INTERVAL", 10.0)
PROCESS_POLL_INTERVAL_MS = number("PROCESS_POLL_INTERVAL_MS", 100)
MEMORY_BUDGET_MB = number("MEMORY_BUDGET_MB", 0)  # for all operations of this host together; 0: worked out
MEMORY_BACKFILL_SECONDS = number("MEMORY_BACKFILL_SECONDS", 60.0)  # then nothing overtakes a large job
MEMORY_HISTORY_DAYS = number("MEMORY_HISTORY_DAYS", 30)  # 0: kept
HOST_NAME = env.str("HOST_NAME", default="").strip() or gethostname()
METRICS_TOKEN = env.str("METRICS_TOKEN", default="")

# --- separation
DEFAULT_MODEL = env.str("DEFAULT_MODEL", default="")  # empty: htdemucs when its weights are here, else starter
ENGINE_DEVICE = env.str("ENGINE_DEVICE", default="cpu")
ENGINE_THREADS = number("ENGINE_THREADS", 0)  # 0: all cores for a job alone, shared out when several run
MAX_UPLOAD_BYTES = number("MAX_UPLOAD_BYTES", 20 * 1024**3)
MAX_DURATION_SECONDS = number("MAX_DURATION_SECONDS", 12 * 3600)
JOB_TIMEOUT_SECONDS = number("JOB_TIMEOUT_SECONDS", 24 * 3600)
JOB_LEASE_SECONDS = number("JOB_LEASE_SECONDS", 60)
JOB_STALL_SECONDS = number("JOB_STALL_SECONDS", 600)
JOB_MAX_ATTEMPTS = number("JOB_MAX_ATTEMPTS", 3)
REAP_INTERVAL_SECONDS = number("REAP_INTERVAL_SECONDS", 5)
RETENTION_DAYS_TRACKS = number("RETENTION_DAYS_TRACKS", 0)  # 0: kept until deleted
RETENTION_DAYS_STEMS = number("RETENTION_DAYS_STEMS", 0)
RETENTION_HOURS_UPLOADS = number("RETENTION_HOURS_UPLOADS", 24)
QUOTA_BYTES_PER_USER = number("QUOTA_BYTES_PER_USER", 0)  # 0: no quota
QUOTA_MINUTES_PER_DAY = number("QUOTA_MINUTES_PER_DAY", 0)
QUOTA_QUEUED_JOBS = number("QUOTA_QUEUED_JOBS", 100)

# --- django-q2 (see separation/tasks.py for why each of these)
_slots = MAX_CONCURRENT_OPERATIONS if isinstance(MAX_CONCURRENT_OPERATIONS, int) else 1
Q_CLUSTER = {
    "name": env.str("Q_CLUSTER_NAME", default="stemsite"),
    "orm": "default",
    "broker_class": "separation.broker.HostBroker",
    "workers": max(1, _slots) + 1,  # one is always free to answer the watchdog
    "queue_limit": 1,
    "bulk": 1,
    "poll": 0.5,
    "ack_failures": True,
    "max_attempts": 1,
    "timeout": 6 * 24 * 3600,  # never reached: after an hour a turn ends with its job, whose child has a limit
    "retry": 7 * 24 * 3600,
    "save_limit": 200,
    "catch_up": False,
    "guard_cycle": 5,
    "label": "Background work",
}

# --- who may do what
LOGIN_URL = "login"
CSRF_FAILURE_VIEW = "separation.views.errors.csrf_failed"
LOGIN_REDIRECT_URL = "home"
LOGOUT_REDIRECT_URL = "login"
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": f"django.contrib.auth.password_validation.{name}"}
    for name in (
        "UserAttributeSimilarityValidator",
        "MinimumLengthValidator",
        "CommonPasswordValidator",
        "NumericPasswordValidator",
    )
]
SESSION_COOKIE_HTTPONLY = True
SESSION_COOKIE_SAMESITE = "Lax"
SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = HTTPS
SECURE_SSL_REDIRECT = HTTPS
SECURE_HSTS_SECONDS = 31_536_000 if HTTPS else 0
SECURE_HSTS_INCLUDE_SUBDOMAINS = SECURE_HSTS_PRELOAD = HTTPS
SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https") if HTTPS else None
SECURE_REFERRER_POLICY = "same-origin"
X_FRAME_OPTIONS = "DENY"
SILENCED_SYSTEM_CHECKS = (
    [] if HTTPS else ["security.W004", "security.W008", "security.W012", "security.W016"]
)  # these four need TLS; HTTPS=1 turns them on

# --- uploads, API, webhooks
UPLOAD_SYNC = switch("UPLOAD_SYNC", True)  # fsync before a PATCH is acknowledged
UPLOAD_STALL_SECONDS = number("UPLOAD_STALL_SECONDS", 60.0)  # a client that delivers less than 64 KiB in it is cut off
REQUEST_HEAD_SECONDS = number(
    "REQUEST_HEAD_SECONDS", 30.0
)  # a client that has not sent a request's head in it is let go
ANSWER_STALL_SECONDS = number("ANSWER_STALL_SECONDS", 300.0)  # and one that takes nothing of an answer in it
UPLOAD_LOCK_WAIT_SECONDS = number("UPLOAD_LOCK_WAIT_SECONDS", 10.0)
UPLOAD_MAX_UNFINISHED = number("UPLOAD_MAX_UNFINISHED", 1000)  # per user; 0: no limit
UPLOAD_CREATIONS_PER_MINUTE = number("UPLOAD_CREATIONS_PER_MINUTE", 600)  # per user; 0: no limit
UPLOAD_BYTES_PER_DAY = number("UPLOAD_BYTES_PER_DAY", 0)  # per user; 0: no limit
JOB_CREATIONS_PER_MINUTE = number("JOB_CREATIONS_PER_MINUTE", 120)  # per user; 0: no limit
WEBHOOK_ALLOW_PRIVATE = switch("WEBHOOK_ALLOW_PRIVATE", False)  # deliver to private addresses too
WEBHOOK_TIMEOUT_SECONDS = number("WEBHOOK_TIMEOUT_SECONDS", 10.0)
WEBHOOK_MAX_ATTEMPTS = number("WEBHOOK_MAX_ATTEMPTS", 8)
REST_FRAMEWORK = {
    "DEFAULT_SCHEMA_CLASS": "drf_spectacular.openapi.AutoSchema",
    "DEFAULT_PERMISSION_CLASSES": ["rest_framework.permissions.IsAuthenticated"],
    "EXCEPTION_HANDLER": "separation.api.base.exception_handler",
}
SPECTACULAR_SETTINGS = {
    "TITLE": "Stemsite",
    "VERSION": "1.0.0",
    "OAS_VERSION": "3.1.1",
    "DESCRIPTION": "Music in, stems out. Errors are RFC 9457 problem documents with a stable `code`.",
    "SERVE_INCLUDE_SCHEMA": False,
    "SCHEMA_PATH_PREFIX": r"/api/v[0-9]+",
    "SWAGGER_UI_DIST": "SIDECAR",
    "SWAGGER_UI_FAVICON_HREF": "SIDECAR",
    "REDOC_DIST": "SIDECAR",
    "POSTPROCESSING_HOOKS": ["separation.api.schema.complete"],
    "ENUM_GENERATE_CHOICE_DESCRIPTION": False,
}

LANGUAGE_CODE = "en"
TIME_ZONE = "UTC"
USE_TZ = True
USE_I18N = True

LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {"line": {"()": "stemsite.logs.LineFormatter"}},
    "filters": {"without_probes": {"()": "stemsite.logs.WithoutProbes"}},
    "handlers": {"console": {"class": "logging.StreamHandler", "formatter": "line"}},
    "root": {"handlers": ["console"], "level": log_level("LOG_LEVEL", default="INFO")},
    "loggers": {
        "django-q": {"handlers": ["console"], "level": "WARNING", "propagate": False},
        "django.request": {"filters": ["without_probes"]},
    },
}
