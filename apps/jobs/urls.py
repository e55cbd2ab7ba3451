from django.urls import path

from apps.jobs import quick_views, task_views, views

urlpatterns = [
    path("v1/quick/scrape", quick_views.ScrapeView.as_view()),
    path("v1/quick/extract", quick_views.ExtractView.as_view()),
    path("v1/quick/screenshot", quick_views.ScreenshotView.as_view()),
    path("v1/quick/batch", quick_views.BatchView.as_view()),
    path("v1/quick/crawl", quick_views.CrawlView.as_view()),
    path("v1/tasks", task_views.TasksView.as_view()),
    path("v1/auto", quick_views.AutoView.as_view()),
    path("v1/jobs", views.JobsView.as_view()),
    path("v1/jobs/<str:job_id>", views.JobView.as_view()),
    path("v1/jobs/<str:job_id>/status", views.JobStatusView.as_view()),
    path("v1/jobs/<str:job_id>/result", views.JobResultView.as_view()),
    path("v1/jobs/<str:job_id>/events", views.JobEventsView.as_view()),
    path("v1/jobs/<str:job_id>/cancel", views.JobCancelView.as_view()),
    path("v1/jobs/<str:job_id>/steps/<str:step>/screenshot", task_views.StepScreenshotView.as_view()),
    path("v1/jobs/<str:job_id>/respond", views.JobRespondView.as_view()),
]
