"""All URLs of the API process."""

from django.contrib import admin
from django.urls import include, path
from drf_spectacular.views import SpectacularSwaggerView

from apps.core import views

handler500 = "apps.core.views.server_error"

urlpatterns = [
    path("healthz", views.healthz),  # first, because probes ask often
    path("", include("apps.jobs.urls")),
    path("", include("apps.agents.urls")),
    path("", include("apps.billing.urls")),
    path("", include("apps.webhooks.urls")),
    path("", include("apps.accounts.urls")),
    path("readyz", views.readyz),
    path("metrics", views.prometheus),
    path("openapi.yaml", views.openapi_yaml, name="openapi"),
    path("openapi.json", views.openapi_json),
    path("docs", SpectacularSwaggerView.as_view(url_name="openapi")),
    path("admin/", admin.site.urls),
]
