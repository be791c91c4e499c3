"""Django's settings for django-celery-beat on PostgreSQL."""

from urllib.parse import urlsplit

from benchmarks.peers.programs.terms import Terms

_store = urlsplit(Terms.given().store)

SECRET_KEY = "none"
INSTALLED_APPS = ["django_celery_beat"]
USE_TZ = True
DATABASES = {
    "default": {
        "ENGINE": "django.db.backends.postgresql",
        "HOST": _store.hostname,
        "PORT": _store.port,
        "USER": _store.username,
        "NAME": _store.path.strip("/"),
        # Or every look would connect anew.
        "CONN_MAX_AGE": None,
    }
}
