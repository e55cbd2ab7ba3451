from django.urls import path

from apps.accounts import views

urlpatterns = [
    path("v1/keys", views.KeysView.as_view()),
    path("v1/keys/<str:key_id>", views.KeyView.as_view()),
    path("v1/team/members", views.TeamView.as_view()),
]
