"""The addresses of the pages. The API has its own, in `separation.api.urls`."""

from django.contrib.auth import views as auth
from django.urls import path

from separation.views import account, home, jobs, setup, tracks

urlpatterns = [
    path("", home.home, name="home"),
    path("demo/", home.try_demo, name="demo"),
    path("setup/", setup.first_account, name="setup"),
    path("login/", auth.LoginView.as_view(template_name="login.html", redirect_authenticated_user=True), name="login"),
    path("logout/", auth.LogoutView.as_view(), name="logout"),
    path("jobs/", jobs.job_list, name="jobs"),
    path("jobs/<uuid:pk>", jobs.job_page, name="job"),
    path("jobs/<uuid:pk>/", jobs.job_page),
    path("jobs/<uuid:pk>/cancel/", jobs.cancel_job, name="job-cancel"),
    path("jobs/<uuid:pk>/retry/", jobs.retry_job, name="job-retry"),
    path("jobs/<uuid:pk>/delete/", jobs.delete_job, name="job-delete"),
    path("tracks/", tracks.track_list, name="tracks"),
    path("tracks/<uuid:pk>/separate/", tracks.separate_track, name="track-separate"),
    path("tracks/<uuid:pk>/delete/", tracks.delete_track, name="track-delete"),
    path("account/", account.account, name="account"),
    path("account/password/", account.ChangePassword.as_view(), name="password-change"),
    path("account/tokens/", account.make_token, name="token-make"),
    path("account/tokens/<int:pk>/revoke/", account.revoke_token, name="token-revoke"),
]
