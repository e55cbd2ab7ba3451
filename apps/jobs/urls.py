from django.urls import path

from apps.jobs import views

urlpatterns = [
    path("v1/jobs", views.JobsView.as_view()),
    path("v1/jobs/<str:job_id>", views.JobView.as_view()),
    path("v1/jobs/<str:job_id>/status", views.JobStatusView.as_view()),
    path("v1/jobs/<str:job_id>/result", views.JobResultView.as_view()),
    path("v1/jobs/<str:job_id>/events", views.JobEventsView.as_view()),
    path("v1/jobs/<str:job_id>/cancel", views.JobCancelView.as_view()),
    path("v1/jobs/<str:job_id>/respond", views.JobRespondView.as_view()),
]
