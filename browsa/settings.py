"""All settings of the Django side. docs/operations.md lists those of the operator."""

from __future__ import annotations

import os
from collections.abc import Mapping
from decimal import Decimal
from pathlib import Path
from typing import Any

import dj_database_url
import django_stubs_ext

from addresses.egress import Countries
from addresses.policy import AllowRule
from apps.billing.offers import Offer
from apps.core import ratelimits
from apps.jobs.tasks.llm.prices import PriceTable
from browsa.environment import (
    Environment,
    allowed_addresses,
    celery_broker,
    credit_currency,
    credit_packs,
    credit_price,
    egress_countries,
    master_keys,
    model_prices,
    rate_limits,
    redis_address,
    runner_address,
    smtp_server,
)

django_stubs_ext.monkeypatch()  # makes Django's generic classes subscriptable, as the type hints need

env = Environment(os.environ)

# --- The operator's settings -------------------------------------------------------------------------------------
BASE_DIR: Path = Path(__file__).resolve().parent.parent
BROWSA_HOME: Path = env.home
BROWSA_PORT: int = env.integer("BROWSA_PORT", 8000, least=1, most=65534)
PUBLIC_URL: str = env.url("BROWSA_PUBLIC_URL", f"http://127.0.0.1:{BROWSA_PORT}", schemes=frozenset({"http", "https"}))
PUBLIC_CDP_URL: str = env.url(
    "BROWSA_PUBLIC_CDP_URL", f"ws://127.0.0.1:{BROWSA_PORT + 1}", schemes=frozenset({"ws", "wss"})
)
RUNNER_URL: str = runner_address(env.text("BROWSA_RUNNER_URL"))
RUNNER_TOKEN: str = env.text("BROWSA_RUNNER_TOKEN")
MASTER_KEYS: dict[str, bytes] = master_keys(env.text("BROWSA_MASTER_KEYS"))
MAX_BURNERS: int = env.integer("BROWSA_MAX_BURNERS", 10, least=0, most=100_000)
RATE_LIMITS: ratelimits.Table | None = rate_limits(env.text("BROWSA_RATE_LIMITS"))
MODEL_PRICES: PriceTable = model_prices(env.text("BROWSA_MODEL_PRICES", "{}"))
SIGNUP_CREDITS: int = env.integer("SIGNUP_CREDITS", 100)
# Credits are sold through Stripe when there is a key. Prices are in the currency's smallest unit.
STRIPE_SECRET_KEY: str = env.text("STRIPE_SECRET_KEY")
STRIPE_WEBHOOK_SECRET: str = env.text("STRIPE_WEBHOOK_SECRET")
STRIPE_API_BASE: str = env.url("STRIPE_API_BASE", "https://api.stripe.com", schemes=frozenset({"http", "https"}))
CREDIT_CURRENCY: str = credit_currency(env.text("CREDIT_CURRENCY", "usd"))
CREDIT_PRICE: Decimal = credit_price(env.text("CREDIT_PRICE", "1"))
CREDIT_PACKS: Mapping[str, Offer] = credit_packs(env.text("CREDIT_PACKS", "{}"))
# How long an identity keeps running when its month can't be paid; the renewal is retried in this time.
RENEWAL_GRACE_DAYS: int = env.integer("RENEWAL_GRACE_DAYS", 3, most=365)
EGRESS_COUNTRIES: Countries = egress_countries(env.text("EGRESS_COUNTRIES", '{"us": "direct"}'))
DEFAULT_COUNTRY: str = next(iter(EGRESS_COUNTRIES))
ALLOW_ADDRESSES: tuple[AllowRule, ...] = allowed_addresses(env.text("BROWSA_ALLOW_ADDRESSES"))

# Threads of one API process, each with its own database connection. Calls that wait for a runner have separate
# threads, so that a full pool of browsers never delays reads.
API_THREADS: int = env.integer("BROWSA_API_THREADS", 16, least=1, most=1000)
API_WAITING_THREADS: int = env.integer("BROWSA_API_WAITING_THREADS", 32, least=1, most=1000)

# How long provisioning waits for a browser. An agent that is still queued after twice this time is abandoned.
LEASE_WAIT_SECONDS: int = env.integer("BROWSA_LEASE_WAIT_SECONDS", 30, least=1, most=120)

# A worker without a heartbeat loses its claim on a job after this time. After JOB_MAX_ATTEMPTS lost claims in a row
# the job fails.
JOB_CLAIM_SECONDS: float = env.integer(
    "BROWSA_JOB_CLAIM_SECONDS", 15, least=1, most=3600, former="BROWSA_JOB_LEASE_SECONDS"
)
JOB_MAX_ATTEMPTS: int = 5
# How many batches and crawls of one workspace run at once.
BULK_JOBS_PER_WORKSPACE: int = env.integer("BROWSA_BULK_JOBS_PER_WORKSPACE", 2, least=1, most=1000)
# How many tasks of one workspace run at once, each with a browser; others wait in the queue.
TASKS_PER_WORKSPACE: int = env.integer("BROWSA_TASKS_PER_WORKSPACE", 10, least=1, most=1000)
# How long a task waits, with its browser, for a human's answer.
INPUT_WAIT_SECONDS: int = env.integer("BROWSA_INPUT_WAIT_SECONDS", 1800, least=5, most=12 * 3600)
# How long the screenshots of tasks' steps are kept.
SCREENSHOT_DAYS: int = env.integer("BROWSA_SCREENSHOT_DAYS", 7, least=1, most=3650)
# The URL of the runner's gateway for workers, if it differs from that for clients.
GATEWAY_URL: str = env.url("BROWSA_GATEWAY_URL", PUBLIC_CDP_URL, schemes=frozenset({"ws", "wss"}))
# How many pages the batches and crawls of a workspace load at once in one worker; the contract says 4 to 8.
PAGES_PER_WORKSPACE: int = env.integer("BROWSA_PAGES_PER_WORKSPACE", 6, least=1, most=64)

# How long events and the log of their deliveries are kept: longer than the schedule of attempts.
WEBHOOK_LOG_DAYS: int = env.integer("BROWSA_WEBHOOK_LOG_DAYS", 30, least=7, most=3650)

MAX_BODY_BYTES: int = 1024 * 1024

# --- Django ------------------------------------------------------------------------------------------------------
SECRET_KEY: str = env.required("BROWSA_SECRET_KEY")
DEBUG: bool = False
ALLOWED_HOSTS: list[str] = ["*"]  # the Host header is not used: URLs are built from PUBLIC_URL
CSRF_TRUSTED_ORIGINS: list[str] = [PUBLIC_URL]
SESSION_COOKIE_SECURE: bool = PUBLIC_URL.startswith("https:")
CSRF_COOKIE_SECURE: bool = SESSION_COOKIE_SECURE
SECURE_CONTENT_TYPE_NOSNIFF: bool = True
ROOT_URLCONF: str = "browsa.urls"
ASGI_APPLICATION: str = "browsa.asgi.application"
APPEND_SLASH: bool = False
USE_TZ: bool = True
TIME_ZONE: str = "UTC"
USE_I18N: bool = False
LANGUAGE_CODE: str = "en-us"
DEFAULT_AUTO_FIELD: str = "django.db.models.BigAutoField"
AUTH_USER_MODEL: str = "accounts.User"
DATA_UPLOAD_MAX_MEMORY_SIZE: int = MAX_BODY_BYTES
STATIC_URL: str = "/static/"
WHITENOISE_USE_FINDERS: bool = True  # static files are served from the installed packages: no collectstatic step

INSTALLED_APPS: list[str] = [
    "unfold",  # the theme; must precede the admin, whose templates it replaces
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "rest_framework",
    "drf_spectacular",
    "drf_spectacular_sidecar",
    "apps.core",
    "apps.accounts",
    "apps.billing",
    "apps.webhooks",
    "apps.agents",
    "apps.jobs",
]

MIDDLEWARE: list[str] = [
    "apps.core.middleware.EnvelopeMiddleware",
    "apps.accounts.admission.AdmissionMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
]

TEMPLATES: list[dict[str, Any]] = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
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

UNFOLD: dict[str, Any] = {"SITE_TITLE": "Browsa", "SITE_HEADER": "Browsa", "SITE_SYMBOL": "fingerprint"}

AUTH_PASSWORD_VALIDATORS: list[dict[str, Any]] = [
    {"NAME": f"django.contrib.auth.password_validation.{name}"}
    for name in ("UserAttributeSimilarityValidator", "MinimumLengthValidator", "CommonPasswordValidator")
]

# --- PostgreSQL, Redis, Celery -----------------------------------------------------------------------------------
DATABASES: dict[str, Any] = {
    "default": dj_database_url.parse(env.required("DATABASE_URL"), conn_max_age=None, conn_health_checks=True)
}
# Must be off behind a pooler in transaction mode.
PREPARED_STATEMENTS: bool = env.switch("BROWSA_PREPARED_STATEMENTS", default=True)
REDIS_URL: str = redis_address(env.required("REDIS_URL"))
CELERY_BROKER_URL: str = celery_broker(REDIS_URL)
CELERY_TASK_DEFAULT_QUEUE: str = "default"

# --- The API -----------------------------------------------------------------------------------------------------
REST_FRAMEWORK: dict[str, Any] = {
    "DEFAULT_AUTHENTICATION_CLASSES": ["apps.accounts.authentication.ApiKeyAuthentication"],
    "DEFAULT_PERMISSION_CLASSES": [],  # the authentication itself refuses requests without a key
    "DEFAULT_RENDERER_CLASSES": ["rest_framework.renderers.JSONRenderer"],
    "DEFAULT_PARSER_CLASSES": ["apps.core.parsers.StrictJSONParser"],
    "DEFAULT_CONTENT_NEGOTIATION_CLASS": "apps.core.parsers.AlwaysJSON",
    "DEFAULT_METADATA_CLASS": None,  # no OPTIONS
    "DEFAULT_SCHEMA_CLASS": "apps.core.openapi.Schema",
    "EXCEPTION_HANDLER": "apps.core.exception_handler.handle",
    "UNAUTHENTICATED_USER": None,
}

SPECTACULAR_SETTINGS: dict[str, Any] = {
    "TITLE": "Browsa",
    "DESCRIPTION": "The identity layer for AI agents: one call leases a real browser with a CDP address.",
    "VERSION": "0.1.0",
    "OAS_VERSION": "3.1.0",
    "SERVERS": [{"url": PUBLIC_URL}],
    "SWAGGER_UI_DIST": "SIDECAR",
    "SWAGGER_UI_FAVICON_HREF": "SIDECAR",
    "REDOC_DIST": "SIDECAR",
    "SERVE_AUTHENTICATION": [],
    "SCHEMA_PATH_PREFIX": "/v1",
    "COMPONENT_SPLIT_REQUEST": True,
    "COMPONENT_SPLIT_PATCH": False,
    "ENUM_GENERATE_CHOICE_DESCRIPTION": False,
    "POSTPROCESSING_HOOKS": [
        "drf_spectacular.hooks.postprocess_schema_enums",
        "apps.core.openapi_components.complete",
        "apps.webhooks.openapi.add_webhooks",
        "apps.jobs.openapi.add_results",
    ],
    "ENUM_NAME_OVERRIDES": {
        "AgentStatus": "apps.agents.models.Agent.Status",
        "JobStatus": "apps.jobs.models.Job.Status",
        "JobKind": "apps.jobs.models.Job.Kind",
        "AgentMode": "apps.agents.models.Agent.Mode",
        "BatchMode": "apps.jobs.pages.serializers.MODES",
        "DownloadState": "apps.agents.serializers.DOWNLOAD_STATES",
        "CheckoutStatus": "apps.billing.models.Checkout.Status",
        "BlockableResource": "apps.jobs.pages.serializers.BLOCKABLE",
        "Framework": "apps.jobs.tasks.serializers.FRAMEWORKS",
        "JobEventType": "apps.jobs.serializers.EVENT_TYPES",
        "LedgerEntryKind": "apps.billing.models.LedgerEntry.Kind",
        "MemberRole": "apps.accounts.models.Membership.Role",
        "OsType": "apps.agents.identity.FAMILIES",
        "WebRtcMode": "apps.agents.fields.WEBRTC_MODES",
        "GeolocationMode": "apps.agents.fields.GEOLOCATION_MODES",
        "Masking": "apps.agents.fields.MASKINGS",
        "TrustBand": "apps.agents.serializers.TRUST_BANDS",
        "TrustInputName": "apps.agents.trust.INPUTS",
        "RoutedToScrape": "apps.jobs.auto.serializers.TO_SCRAPE",
        "RoutedToTask": "apps.jobs.auto.serializers.TO_TASK",
        "WaitUntil": "apps.jobs.pages.serializers.WAIT_UNTIL",
        "WarmupRecipe": "apps.agents.serializers.WARMUP_RECIPES",
        "WebhookDisabledReason": "apps.webhooks.models.Endpoint.Reason",
        "WebhookEventType": "apps.webhooks.models.EVENT_TYPES",
        "WebhookSignature": "apps.webhooks.models.Endpoint.Signature",
        "WebhookStatus": "apps.webhooks.serializers.STATUSES",
        "DeliveryStatus": "apps.webhooks.models.Delivery.Status",
    },
    "TAGS": [
        {"name": "Agents", "description": "Cloud browser identities."},
        {"name": "Quick calls", "description": "Load a page in one call, or many pages as one job."},
        {"name": "Tasks", "description": "Describe work in plain English; an agent does it with your own model."},
        {"name": "Jobs", "description": "Work in the background: wait for it, follow it or cancel it."},
        {"name": "Webhooks", "description": "Receive signed events instead of polling."},
        {"name": "Webhook events", "description": "What Browsa sends to your receivers."},
        {"name": "Credits", "description": "Balance, prices and the ledger."},
        {"name": "API keys", "description": "Mint, list and revoke keys."},
        {"name": "Operations", "description": "Probes and metrics for the operator. They need no key."},
        {"name": "Team", "description": "The members of the workspace."},
    ],
}

# --- Mail to the owners of workspaces. Without a server no mail is sent. ----------------------------------------------
EMAIL_BACKEND: str = f"django.core.mail.backends.{'smtp' if env.text('BROWSA_SMTP_URL') else 'dummy'}.EmailBackend"
_smtp = smtp_server(env.text("BROWSA_SMTP_URL"))
EMAIL_HOST: str = _smtp.host
EMAIL_PORT: int = _smtp.port
EMAIL_HOST_USER: str = _smtp.user
EMAIL_HOST_PASSWORD: str = _smtp.password
EMAIL_USE_SSL: bool = _smtp.tls
EMAIL_USE_TLS: bool = bool(_smtp.user) and not _smtp.tls  # STARTTLS: a password is never sent in the clear
EMAIL_TIMEOUT: int = 10
DEFAULT_FROM_EMAIL: str = env.text("BROWSA_MAIL_FROM", "browsa@localhost")

# --- Logs: one JSON object per line, on stderr ---------------------------------------------------------------------
LOGGING: dict[str, Any] = {
    "version": 1,
    "disable_existing_loggers": False,
    "filters": {"except_unavailable": {"()": "apps.core.logs.ExceptUnavailable"}},
    "formatters": {"json": {"()": "apps.core.logs.JSONFormatter"}},
    "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "json"}},
    "root": {"handlers": ["stderr"], "level": "INFO"},
    "loggers": {
        "django": {"handlers": [], "propagate": True},
        # The access log already has a line for every 4xx and every 503 (/readyz, an unreachable database).
        "django.request": {"level": "ERROR", "filters": ["except_unavailable"]},
        "httpx": {"level": "WARNING"},
        "httpx2": {"level": "WARNING"},
        "celery.worker.strategy": {"level": "WARNING"},
        "celery.app.trace": {"level": "WARNING"},
        "celery.beat": {"level": "WARNING"},
        "uvicorn.access": {"level": "WARNING"},
    },
}
