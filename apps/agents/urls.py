from django.urls import path

from apps.agents import live, views
from runner.wire import REPORT_PATH

urlpatterns = [
    path("v1/agents", views.AgentsView.as_view()),
    path("v1/agents/<str:agent_id>", views.AgentView.as_view()),
    path("v1/agents/<str:agent_id>/cdp", views.CdpView.as_view()),
    path("v1/agents/<str:agent_id>/downloads", views.DownloadsView.as_view()),
    path("v1/agents/<str:agent_id>/downloads/<str:name>", views.DownloadView.as_view()),
    path("v1/agents/<str:agent_id>/live", views.LiveView.as_view()),
    path("v1/agents/<str:agent_id>/trust", views.TrustView.as_view()),
    path("v1/agents/<str:agent_id>/detection-signal", views.DetectionSignalView.as_view()),
    path("v1/agents/<str:agent_id>/fingerprint", views.FingerprintView.as_view()),
    path("v1/agents/<str:agent_id>/sessions", views.SessionsView.as_view()),
    path("live/<path:capability>", live.page),
    path(REPORT_PATH.removeprefix("/"), views.runner_report),
]
