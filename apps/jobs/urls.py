from django.urls import path

from apps.jobs import views
from apps.jobs.auto.views import AutoView
from apps.jobs.pages import views as pages
from apps.jobs.tasks import views as tasks

urlpatterns = [
    path("v1/quick/scrape", pages.ScrapeView.as_view()),
    path("v1/quick/extract", pages.ExtractView.as_view()),
    path("v1/quick/screenshot", pages.ScreenshotView.as_view()),
    path("v1/quick/batch", pages.BatchView.as_view()),
    path("v1/quick/crawl", pages.CrawlView.as_view()),
    path("v1/tasks", tasks.TasksView.as_view()),
    path("v1/auto", AutoView.as_view()),
    path("v1/jobs", views.JobsView.as_view()),
    path("v1/jobs/<str:job_id>", views.JobView.as_view()),
    path("v1/jobs/<str:job_id>/status", views.JobStatusView.as_view()),
    path("v1/jobs/<str:job_id>/result", views.JobResultView.as_view()),
    path("v1/jobs/<str:job_id>/events", views.JobEventsView.as_view()),
    path("v1/jobs/<str:job_id>/cancel", views.JobCancelView.as_view()),
    path("v1/jobs/<str:job_id>/steps/<str:step>/screenshot", tasks.StepScreenshotView.as_view()),
    path("v1/jobs/<str:job_id>/respond", tasks.JobRespondView.as_view()),
]
